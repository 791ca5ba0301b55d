"""What else a box does while it mixes: garbage and chores in an interpreter, busy processes, a stand-in for the models.

``python -m firmware.bench.service.load busy|models`` is one such process. NumPy is imported where the models run: the
engine process has none, beside its audio thread only garbage and chores run.
"""

from __future__ import annotations

import argparse
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from firmware.system.parent import end_with_parent

N_GARBAGE_CYCLES = 20_000
N_CHORE_THREADS, N_BUSY_PROCESSES = 2, 2
# One pass over 32 channels takes about half a millisecond on a current core; the models run once a tick.
MODEL_CHANNELS, MODEL_SIZES, MODEL_TICK_S = 32, (256, 640, 512, 64), 0.02
TEXT = (
    f"a thread collects garbage and {N_CHORE_THREADS} parse JSON in the loop's interpreter; beside it "
    f"{N_BUSY_PROCESSES} busy processes and a network of {'-'.join(map(str, MODEL_SIZES))} units over "
    f"{MODEL_CHANNELS} channels every {MODEL_TICK_S * 1000:.0f} ms"
)


def make_garbage() -> None:
    """Make rings of objects that only the collector can free, and let it, for ever."""
    while True:
        before: list[Any] = []
        for _ in range(N_GARBAGE_CYCLES):
            before = [before]
        ring = before
        while before:
            before = before[0]
        before.append(ring)
        del before, ring
        gc.collect()


def do_chores() -> None:
    """Write and read JSON and add numbers, for ever."""
    record = {"channels": [{"name": f"In {ch}", "gain_db": ch / 7, "sends": [0.25] * 8} for ch in range(32)]}
    while True:
        record = json.loads(json.dumps(record))
        sum(i * i for i in range(5000))


def be_busy() -> None:
    """Burn a processor, for ever."""
    while True:
        sum(range(100_000))


def model_passes() -> Iterator[float]:
    """Run the stand-in once for each step; yield how many milliseconds it took."""
    import numpy as np

    noise = np.random.default_rng(1)
    layers = [noise.standard_normal(shape, np.float32) / 16 for shape in pairwise(MODEL_SIZES)]
    features = noise.standard_normal((MODEL_CHANNELS, MODEL_SIZES[0]), np.float32)
    while True:
        start_s = time.perf_counter()
        x = features
        for layer in layers:
            x = np.maximum(x @ layer, 0.0)
        yield 1000 * (time.perf_counter() - start_s)


def run_models() -> None:
    """Run the stand-in once a tick, for ever."""
    next_s = time.monotonic()
    for _ in model_passes():
        next_s = max(next_s + MODEL_TICK_S, time.monotonic())
        time.sleep(max(next_s - time.monotonic(), 0.0))


def start_beside_loop(*, has_models: bool) -> None:
    """Start the threads that share the interpreter with a loop; they end with the process."""
    targets: list[Callable[[], None]] = [make_garbage, *[do_chores] * N_CHORE_THREADS]
    for target in [*targets, run_models] if has_models else targets:
        threading.Thread(target=target, daemon=True).start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m firmware.bench.service.load", description=__doc__)
    parser.add_argument("kind", choices=("busy", "models"))
    parser.add_argument("--parent", type=int, metavar="PID", required=True, help="end when this process is gone")
    options = parser.parse_args()
    end_with_parent(options.parent)
    be_busy() if options.kind == "busy" else run_models()
