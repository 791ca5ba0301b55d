"""Plays inputs through the networks of a run in one TFLite runtime: in a process of its own, away from TensorFlow.

``python -m model_compression.golden JOB.json OUT.npz``: the job names runtime, folder, networks and the files of their
inputs; the outputs come back as ``NET_FILE:OUTPUT``, shape ``(n_ticks, *shape)``.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .run_layout import find

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
TIME_LIMIT_S = 120.0


def shape_of(tensor: Mapping[str, Any], n_channels: int) -> tuple[int, ...]:
    """Return a tensor's shape with ``n_channels`` in the place of -1."""
    return tuple(n_channels if n < 0 else n for n in tensor["shape"])


def outputs_in(
    runtime: str, folder: Path, nets: Sequence[Mapping[str, Any]], given: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Return what ``runtime`` gives for the inputs ``FILE:TENSOR``, each ``(n_ticks, *shape)``.

    Raises
    ------
    ModelError
        When the runtime crashed, hung, or took a file for none.
    """
    with tempfile.TemporaryDirectory() as place:
        job, inputs, out = Path(place) / "job.json", Path(place) / "in.npz", Path(place) / "out.npz"
        np.savez(inputs, **given)  # type: ignore[arg-type]  # names with a colon are names as well
        job.write_text(json.dumps({"runtime": runtime, "folder": str(folder), "nets": list(nets)}), encoding="utf-8")
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "model_compression.golden", str(job), str(inputs), str(out)]
        try:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"{runtime}: still at it after {TIME_LIMIT_S:.0f} s; a network hangs") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["said nothing"])[-1]
            raise ModelError(f"{runtime}: does not run the networks (status {done.returncode}): {last[:200]}")
        with np.load(out) as told:
            return {name: told[name] for name in told.files}


def _played(
    runtime: str, folder: Path, net: Mapping[str, Any], given: Mapping[str, NDArray[np.float32]], n_channels: int
) -> dict[str, NDArray[np.float32]]:
    module = importlib.import_module(f"{runtime}.interpreter")
    interpreter = module.Interpreter(model_content=find(folder, net["file"]).read_bytes(), num_threads=1)
    at = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    tensors = {t["name"]: t for t in (*net["inputs"], *net["outputs"])}
    for tensor in net["inputs"]:
        if -1 in tensor["shape"] and not net.get("n_channels"):
            interpreter.resize_tensor_input(at[tensor["tensor"]], shape_of(tensor, n_channels), strict=True)
    interpreter.allocate_tensors()
    at |= {d["name"]: d["index"] for d in interpreter.get_output_details()}
    states = net.get("states", [])
    lines = {
        s["input"]: deque([np.zeros(shape_of(tensors[s["input"]], n_channels), np.float32)] * s["delay_ticks"],
                          s["delay_ticks"])
        for s in states
    }  # fmt: skip
    kept = {s["output"] for s in states}
    told: dict[str, list[NDArray[np.float32]]] = {t["name"]: [] for t in net["outputs"] if t["name"] not in kept}
    for tick in range(len(next(iter(given.values())))):
        for name, values in given.items():
            interpreter.set_tensor(at[tensors[name]["tensor"]], values[tick])
        for name, line in lines.items():
            interpreter.set_tensor(at[tensors[name]["tensor"]], line[0])
        interpreter.invoke()
        for state in states:
            lines[state["input"]].append(interpreter.get_tensor(at[tensors[state["output"]]["tensor"]]))
        for name, rows in told.items():
            rows.append(interpreter.get_tensor(at[tensors[name]["tensor"]]))
    return {name: np.stack(rows) for name, rows in told.items()}


def main(argv: list[str]) -> int:
    """Do one job."""
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    with np.load(argv[1]) as held:
        inputs = {name: held[name] for name in held.files}
    told: dict[str, NDArray[np.float32]] = {}
    for net in job["nets"]:
        prefix = f"{net['file']}:"
        given = {name.removeprefix(prefix): v for name, v in inputs.items() if name.startswith(prefix)}
        n_channels = next(
            (given[t["name"]].shape[1] for t in net["inputs"] if t["name"] in given and t["shape"][0] < 0), 1
        )
        played = _played(job["runtime"], Path(job["folder"]), net, given, n_channels)
        told |= {prefix + name: values for name, values in played.items()}
    np.savez(argv[2], **told)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
