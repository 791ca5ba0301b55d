"""A process of its own for one of the box's runtimes: reads a request, runs a model tick by tick, writes what came out.

TensorFlow must not share a process with tflite_runtime (``vector::reserve``), and 2.14 may die on a bad file: so
nothing of
training is imported here, and whoever asks survives. Run as ``python -m model_compression.conversion.runtime_child
REQUEST``.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nets.delays import DelayLines, Feed, roll

MODULES = {"tflite_runtime": "tflite_runtime.interpreter", "ai_edge_litert": "ai_edge_litert.interpreter"}


class Model:
    """One model in one interpreter, inputs and outputs by name."""

    def __init__(self, runtime: str, content: bytes, shapes: dict[str, tuple[int, ...]]) -> None:
        interpreter = importlib.import_module(MODULES[runtime]).Interpreter(model_content=content, num_threads=1)
        self.inputs = {d["name"]: d["index"] for d in interpreter.get_input_details()}
        for name, shape in shapes.items():
            interpreter.resize_tensor_input(self.inputs[name], shape, strict=True)
        interpreter.allocate_tensors()
        self.outputs = {d["name"]: d["index"] for d in interpreter.get_output_details()}
        self.interpreter = interpreter
        self.us: list[float] = []

    def delegated_parts(self) -> int:
        """Pieces of the graph that a delegate took over; 0 where there is none."""
        return sum(operator["op_name"] == "DELEGATE" for operator in self.interpreter._get_ops_details())

    def tick(self, feed: Feed) -> Feed:
        """Run once; the time of ``invoke`` is kept, in microseconds of this thread."""
        for name, index in self.inputs.items():
            self.interpreter.set_tensor(index, feed[name])
        begin = time.thread_time_ns()
        self.interpreter.invoke()
        self.us.append((time.thread_time_ns() - begin) / 1000.0)
        return {name: self.interpreter.get_tensor(index) for name, index in self.outputs.items()}


def main(path: str) -> int:
    """Do what the request says: each stream from a fresh state, one after the other."""
    request = json.loads(Path(path).read_text())
    content = Path(request["model"]).read_bytes()
    with np.load(request["feeds"]) as stored:
        streams: dict[str, Feed] = {}
        for key in stored.files:
            stream, name = key.split("/")
            streams.setdefault(stream, {})[name] = stored[key]
    answers: dict[str, NDArray[Any]] = {}
    for stream, feeds in streams.items():
        outputs, stats = _streamed(request, content, feeds)
        answers |= {f"{stream}/{name}": value for name, value in outputs.items()}
        answers[f"{stream}/"] = np.array(json.dumps(stats))
    np.savez(request["out"], **answers)
    return 0


def _streamed(request: dict[str, Any], content: bytes, feeds: Feed) -> tuple[Feed, dict[str, Any]]:
    delays, width = tuple(request["delays_ticks"]), request["tap_width"]
    n_rows = feeds["x"].shape[1] if "x" in feeds else 1
    shapes = {name: values.shape[1:] for name, values in feeds.items()}
    shapes |= {f"tap_{k}": (n_rows, width) for k in range(len(delays))}
    model = Model(request["runtime"], content, shapes)
    n_ticks = len(next(iter(feeds.values())))
    inputs = ({name: values[t] for name, values in feeds.items()} for t in range(n_ticks))
    kept: dict[str, list[NDArray[Any]]] = {}
    for _, out in roll(model.tick, DelayLines(delays, n_rows, width), inputs):
        for name, value in out.items():
            if not name.startswith("new_"):
                kept.setdefault(name, []).append(value)
    times = np.array(model.us[min(10, n_ticks // 2) :])
    stats = {
        "median_us": float(np.median(times)),
        "p99_us": float(np.quantile(times, 0.99)),
        "max_rss_kb": _max_rss_kb(),
        "delegated_parts": model.delegated_parts(),
    }
    return {name: np.stack(rows) for name, rows in kept.items()}, stats


def _max_rss_kb() -> int:
    """Peak memory since this program began (``ru_maxrss`` would count what the parent held when it forked)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
