"""One network of a model in a TFLite runtime, with its delay lines. For child processes, never beside TensorFlow."""

from __future__ import annotations

import importlib
from collections import deque
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .model_files import ModelFiles

RUNTIMES = ("ai_edge_litert", "tflite_runtime")


class Network:
    """One network with its delay lines."""

    def __init__(
        self, model: ModelFiles, name: str, precision: str, n_channels: int = 0, runtime: str | None = None
    ) -> None:
        table = model.net(name, precision, n_channels)
        self.n_slots = table.get("n_channels", 0) or n_channels or 1
        self._content = model.files[table["file"]]
        self._interpreter = _interpreter_module(runtime).Interpreter(model_content=self._content, num_threads=1)
        places = {d["name"]: d["index"] for d in self._interpreter.get_input_details()}
        self._inputs = {row["name"]: places[row["tensor"]] for row in table["inputs"]}
        self.shapes = {
            row["name"]: tuple(self.n_slots if n < 0 else n for n in row["shape"]) for row in table["inputs"]
        }
        for row in table["inputs"]:
            if -1 in row["shape"] and not table.get("n_channels", 0):
                self._interpreter.resize_tensor_input(self._inputs[row["name"]], self.shapes[row["name"]], strict=True)
        self._interpreter.allocate_tensors()
        places = {d["name"]: d["index"] for d in self._interpreter.get_output_details()}
        self._outputs = {row["name"]: places[row["tensor"]] for row in table["outputs"]}
        self._states = [(row["input"], row["output"]) for row in table.get("states", [])]
        self._delays = {row["input"]: int(row["delay_ticks"]) for row in table.get("states", [])}
        self.forget()

    def forget(self) -> None:
        """Begin anew: every delay line full of zeros."""
        self._lines = {
            name: deque([np.zeros(self.shapes[name], np.float32)] * n_ticks, n_ticks)
            for name, n_ticks in self._delays.items()
        }

    def run(self, inputs: dict[str, NDArray[np.floating]]) -> dict[str, NDArray[np.float32]]:
        """Go one tick on; rows are padded with zeros to the channels of the network."""
        for name, value in inputs.items():
            if name in self._inputs:
                self._interpreter.set_tensor(self._inputs[name], _padded(value, self.shapes[name]))
        for name, line in self._lines.items():
            self._interpreter.set_tensor(self._inputs[name], line[0])
        self._interpreter.invoke()
        for given, told in self._states:
            self._lines[given].append(self._interpreter.get_tensor(self._outputs[told]))
        return {name: self._interpreter.get_tensor(at) for name, at in self._outputs.items()}


def _padded(value: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.float32]:
    full = np.zeros(shape, np.float32)
    full[: len(value)] = value
    return full


def installed_runtimes() -> list[str]:
    """Return the TFLite runtimes that this machine has, the preferred one first."""
    return [name for name in RUNTIMES if find_spec(name)]


def _interpreter_module(runtime: str | None) -> Any:
    names = [runtime] if runtime else installed_runtimes()
    if names:
        return importlib.import_module(f"{names[0]}.interpreter")
    raise ModelError(f"no TFLite runtime is installed; install {RUNTIMES[0].replace('_', '-')}")
