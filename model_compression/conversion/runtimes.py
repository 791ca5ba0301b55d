"""Running a TFLite file on the box's runtimes, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..nets.delays import Feed
from .runtime_child import MODULES

RUNTIMES = tuple(MODULES)
TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came out of a model, tick by tick, and what it cost."""

    outputs: dict[str, NDArray[np.float32]]
    median_us: float
    p99_us: float
    max_rss_kb: int
    delegated_parts: int


def run_model(
    runtime: str,
    model: bytes,
    streams: dict[str, Feed],
    *,
    delays_ticks: tuple[int, ...] = (),
    tap_width: int = 1,
) -> dict[str, Ran]:
    """Run a model over streams of feeds, each ``(n_ticks, ...)`` and each with its delay lines starting from zero.

    Raises
    ------
    ModelError
        The runtime refused the model, died of it, or hung.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(model)
        np.savez(folder / "feeds.npz", **{f"{s}/{k}": v for s, feeds in streams.items() for k, v in feeds.items()})
        request = {
            "runtime": runtime,
            "model": str(folder / "model.tflite"),
            "feeds": str(folder / "feeds.npz"),
            "delays_ticks": delays_ticks,
            "tap_width": tap_width,
            "out": str(folder / "out.npz"),
        }
        (folder / "request.json").write_text(json.dumps(request))
        command = [sys.executable, "-m", "model_compression.conversion.runtime_child", str(folder / "request.json")]
        environment = {
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        }
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"{runtime}: the model hangs; it must not ship") from None
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
            raise ModelError(f"{runtime}: does not run the model: {last[0]}")
        with np.load(folder / "out.npz") as answers:
            return {stream: _ran(stream, answers) for stream in streams}


def _ran(stream: str, answers: Any) -> Ran:
    stats: dict[str, Any] = json.loads(str(answers[f"{stream}/"]))
    mine = [key for key in answers.files if key.startswith(f"{stream}/") and key != f"{stream}/"]
    return Ran(outputs={key.split("/")[1]: answers[key] for key in mine}, **stats)
