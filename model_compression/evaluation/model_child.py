"""The parent's side of ``model_runner``: sessions out, answers back, and no runtime in this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

TIMEOUT_S_PER_SESSION = 900.0


def answers(
    model: Path, precision: str, inputs: Sequence[dict[str, NDArray[Any]]]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield what the model answers to each of ``inputs``; see ``model_runner``.

    Raises
    ------
    ModelError
        When the child fails, with the line it said.
    """
    with tempfile.TemporaryDirectory(prefix="evenhand-evaluate-") as place:
        folder = Path(place)
        for k, arrays in enumerate(inputs):
            np.savez(folder / f"in_{k:05d}.npz", **arrays)  # type: ignore[arg-type]
        line = [sys.executable, "-m", "model_compression.evaluation.model_runner", str(model), precision, place]
        try:
            done = subprocess.run(
                line, capture_output=True, text=True, check=False, timeout=TIMEOUT_S_PER_SESSION * max(len(inputs), 1)
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"{model}: did not answer in time; try fewer sessions with --sessions") from None
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise ModelError(f"{model}: {precision} could not be run: {said[-1] if said else done.returncode}")
        for k in range(len(inputs)):
            with np.load(folder / f"out_{k:05d}.npz") as told:
                yield dict(told)
