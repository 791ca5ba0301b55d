"""The one training loop: steps, lines of metrics, checkpoints to go on from, and how long it will still take."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import ModelError
from .adam import Adam, learning_rate_at
from .batches import Batches
from .files import read_arrays, write_arrays, write_text
from .losses import Losses, TaskWeights
from .recipe import Stage
from .weights import set_weights, weights_of

Check = Callable[[], dict[str, float]]


def settle(threads: int) -> None:
    """Make TensorFlow quiet and deterministic; call before anything runs in it.

    More than one thread is deterministic as well: only sums within one operation are shared out, in a fixed way.
    TensorFlow's rewriting of graphs is not (of one graph it made two in 40 runs, and weights that differ in their
    last bits), and makes nothing of ours faster.
    """
    tf.get_logger().setLevel("ERROR")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # it runs already, in this process, for an earlier network
        pass
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def fit(
    name: str,
    net: tf.Module,
    losses_of: Callable[[dict[str, Any]], Losses],
    batches: Batches,
    stage: Stage,
    folder: Path,
    *,
    tasks: tuple[str, ...],
    variables: list[tf.Variable] | None = None,
    check: Check | None = None,
    is_quiet: bool = False,
) -> None:
    """Train ``net`` and leave ``weights.npz`` and ``metrics.jsonl`` in ``folder``; goes on from a checkpoint there.

    Parameters
    ----------
    losses_of
        Losses by task, of a batch as tensors.
    variables
        What may change; all that is trainable if None.
    check
        Figures on the valid split, for the lines of metrics.
    """
    if (folder / "weights.npz").exists():
        set_weights(net, read_arrays(folder / "weights.npz"), source=str(folder / "weights.npz"))
        return
    weights = TaskWeights(tasks)
    trained = [*(net.trainable_variables if variables is None else variables), weights.s]
    adam = Adam(trained, weight_decay=stage.weight_decay)
    state = _State(net, weights, adam)
    step, lines = _resumed(folder, state)

    @tf.function(autograph=False)
    def train_step(batch: dict[str, Any], learning_rate: Any) -> tuple[Any, Any, Losses]:
        with tf.GradientTape() as tape:
            losses = losses_of(batch)
            total = weights.total(losses)
        norm = adam.apply(tape.gradient(total, trained), learning_rate)
        return total, norm, losses

    sums: dict[str, float] = {}
    begin, began_at = time.monotonic(), step
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(batches, step)
        while step < stage.steps:
            batch = {key: tf.constant(value) for key, value in coming.result().items()}
            coming = pool.submit(batches, min(step + 1, stage.steps - 1))
            rate = learning_rate_at(step, stage.steps, stage.learning_rate)
            total, norm, losses = train_step(batch, tf.constant(rate))
            if not np.isfinite(float(total)):
                raise ModelError(f"{name}: the loss is not finite at step {step}; lower learning_rate in the recipe")
            for key, value in {"loss": total, "gradient_norm": norm, **losses}.items():
                sums[key] = sums.get(key, 0.0) + float(value)
            step += 1
            if step % stage.report_every == 0 or step == stage.steps:
                n = (step - 1) % stage.report_every + 1
                line = {"step": step, "learning_rate": rate, **{k: v / n for k, v in sums.items()}}
                line |= check() if check else {}
                lines.append(json.dumps({k: round(v, 6) for k, v in line.items()}))
                sums = {}
                _keep(folder, state, step, lines)
                if not is_quiet:
                    _say(name, line, stage, (time.monotonic() - begin) / (step - began_at))
    write_arrays(folder / "weights.npz", weights_of(net))
    (folder / "checkpoint.npz").unlink(missing_ok=True)
    if not is_quiet:
        print(file=sys.stderr)


class _State(tf.Module):
    """Everything that a stopped training needs."""

    def __init__(self, net: tf.Module, weights: TaskWeights, adam: Adam) -> None:
        super().__init__("state")
        self.net, self.tasks = net, weights
        self.first, self.second, self.count = adam.first, adam.second, adam.count


def _keep(folder: Path, state: _State, step: int, lines: list[str]) -> None:
    arrays = weights_of(state)
    write_arrays(folder / "checkpoint.npz", {**arrays, "step": np.array(step), "lines": np.array(lines)})
    write_text(folder / "metrics.jsonl", "".join(f"{line}\n" for line in lines))


def _resumed(folder: Path, state: _State) -> tuple[int, list[str]]:
    path = folder / "checkpoint.npz"
    if not path.exists():
        return 0, []
    arrays = read_arrays(path)
    set_weights(state, arrays, source=str(path))
    return int(arrays["step"]), [str(line) for line in arrays["lines"]]


def _say(name: str, line: dict[str, float], stage: Stage, s_per_step: float) -> None:
    left_s = round(s_per_step * (stage.steps - line["step"]))
    text = f"{name}  {line['step']:.0f}/{stage.steps}  loss {line['loss']:.3f}  {left_s // 60}:{left_s % 60:02d} left"
    print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)
