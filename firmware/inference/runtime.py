"""One small face over tflite-runtime 2.14 and ai-edge-litert: one thread, models from bytes, tensors by name.

A file that was not verified must not come here: 2.14 crashes on damaged ones. One thread owns an interpreter. Nothing
here may run beside TensorFlow: imported first, it breaks 2.14.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.errors import EvenhandError

from .net_spec import NetSpec

# Import name and distribution. In this order where nobody measures: the first one's int8 is fast everywhere.
RUNTIMES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}
NUMPY_MAJOR_OF = {"tflite_runtime": 1}  # built against NumPy 1: under 2 it imports, and dies at the first interpreter


def installed() -> dict[str, str]:
    """Return the runtimes that are installed and fit this NumPy, with their versions; nothing heavy is loaded."""
    found = {}
    numpy_major = int(np.__version__.partition(".")[0])
    for name, distribution in RUNTIMES.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            continue
        if NUMPY_MAJOR_OF.get(name, numpy_major) != numpy_major:
            del found[name]
    return found


States = Mapping[str, tuple[NDArray[np.float32], ...]]  # delay lines by input, oldest first


class Network:
    """A loaded network; states are kept here.

    Parameters
    ----------
    runtime
        One of ``RUNTIMES``.
    n_channels
        What stands for -1 in its shapes.

    Raises
    ------
    EvenhandError
        When the runtime is missing or cannot load the file, or its tensors are not those of ``spec``.
    """

    def __init__(self, spec: NetSpec, content: bytes, *, runtime: str, n_channels: int = 1) -> None:
        self.spec = spec
        self._model = content  # the runtime reads from these very bytes as long as it lives
        with _quiet():
            self._interpreter = _interpreter(runtime, content, spec.file)
            self._prepare(runtime, n_channels)
        outputs = self._interpreter.get_output_details()
        self._outputs = self._places(outputs, [(t.name, t.tensor) for t in spec.outputs])
        self._check_shapes(n_channels)
        self._told_as_state = {state.output for state in spec.states}
        self._zeros = {s.input: np.zeros(spec.tensor(s.input).shape_for(n_channels), np.float32) for s in spec.states}
        self._lines: dict[str, deque[NDArray[np.float32]]] = {}
        self.reset()

    def _prepare(self, runtime: str, n_channels: int) -> None:
        spec = self.spec
        self._inputs = self._places(self._interpreter.get_input_details(), [(t.name, t.tensor) for t in spec.inputs])
        for tensor in spec.inputs:
            shape = tensor.shape_for(n_channels)
            if -1 in tensor.shape and not spec.n_channels:
                self._interpreter.resize_tensor_input(self._inputs[tensor.name], shape, strict=True)
        try:
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise EvenhandError(f"{spec.file}: {runtime} cannot run it ({_short(error)})") from None

    def _places(self, details: list[dict[str, Any]], names: list[tuple[str, str]]) -> dict[str, int]:
        at = {d["name"]: d["index"] for d in details if d["dtype"] == np.float32}
        missing = [tensor for _, tensor in names if tensor not in at]
        if missing or len(details) != len(names):
            raise EvenhandError(f"{self.spec.file}: has no float tensor {', '.join(missing)[:100]}, or others")
        return {name: at[tensor] for name, tensor in names}

    def _check_shapes(self, n_channels: int) -> None:
        now = {d["index"]: tuple(d["shape"]) for d in self._interpreter.get_input_details()}
        for tensor in self.spec.inputs:
            if now[self._inputs[tensor.name]] != tensor.shape_for(n_channels):
                raise EvenhandError(f"{self.spec.file}: {tensor.name} is not of the shape that model.toml says")

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Go one tick on and return the outputs that are no states."""
        interpreter = self._interpreter
        for name, value in inputs.items():
            interpreter.set_tensor(self._inputs[name], np.ascontiguousarray(value, np.float32))
        for name, line in self._lines.items():
            interpreter.set_tensor(self._inputs[name], line[0])
        interpreter.invoke()
        for state in self.spec.states:  # a full line drops its oldest
            self._lines[state.input].append(interpreter.get_tensor(self._outputs[state.output]))
        return {n: interpreter.get_tensor(at) for n, at in self._outputs.items() if n not in self._told_as_state}

    @property
    def states(self) -> States:
        """Return what it keeps from tick to tick; the arrays are never written again."""
        return {name: tuple(line) for name, line in self._lines.items()}

    def set_states(self, states: States) -> None:
        """Go on from ``states``."""
        self._lines = {name: deque(line, len(line)) for name, line in states.items()}

    def is_finite(self) -> bool:
        """Whether all that it has just remembered is numbers."""
        return all(bool(np.isfinite(line[-1]).all()) for line in self._lines.values())

    def reset(self) -> None:
        """Forget everything."""
        self._lines = {s.input: deque([self._zeros[s.input]] * s.delay_ticks, s.delay_ticks) for s in self.spec.states}

    def reset_channel(self, ch: int) -> None:
        """Forget one channel of the states that have channels."""
        for name, line in self._lines.items():
            if self.spec.tensor(name).shape[0] < 0:
                self._lines[name] = deque((_without(value, ch) for value in line), line.maxlen)


def _without(value: NDArray[np.float32], ch: int) -> NDArray[np.float32]:
    fresh = value.copy()
    fresh[ch] = 0.0
    return fresh


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a runtime prints of itself off standard error; what it refuses, it raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _interpreter(runtime: str, content: bytes, file: str) -> Any:
    try:
        module = importlib.import_module(f"{runtime}.interpreter")
        return module.Interpreter(model_content=content, num_threads=1)
    except ImportError as error:
        raise EvenhandError(f"{runtime}: cannot be loaded ({_short(error)})") from None
    except (ValueError, RuntimeError, SystemError) as error:
        raise EvenhandError(f"{file}: {runtime} does not take it ({_short(error)})") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
