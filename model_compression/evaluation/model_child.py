"""The parent's side of ``model_runner``: sessions out, answers back, and no runtime in this process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

TIMEOUT_S_PER_SESSION = 900.0
CHUNK = 8  # sessions in one child: what is on disk at a time
Inputs = dict[str, NDArray[Any]]
T = TypeVar("T")
R = TypeVar("R")


def answers(model: Path, precision: str, inputs: Iterable[Inputs], *, jobs: int = 1) -> Iterator[Inputs]:
    """Yield what the model answers to each of ``inputs``, in their order, from ``jobs`` children; see ``model_runner``.

    Raises
    ------
    ModelError
        When a child fails, with the line it said.
    """
    stream = iter(inputs)
    chunks = iter(lambda: tuple(islice(stream, CHUNK)), ())
    for told in in_order(lambda chunk: _told(model, precision, chunk), chunks, jobs):
        yield from told


def in_order(work: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Yield ``work`` of each item in their order, ``jobs`` at a time; items are taken as they are needed."""
    with ThreadPoolExecutor(jobs) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def cores() -> int:
    """Return how many this process may use."""
    return len(os.sched_getaffinity(0))


def _told(model: Path, precision: str, inputs: tuple[Inputs, ...]) -> list[Inputs]:
    with tempfile.TemporaryDirectory(prefix="evenhand-evaluate-") as place:
        folder = Path(place)
        for k, arrays in enumerate(inputs):
            np.savez(folder / f"in_{k:05d}.npz", **arrays)  # type: ignore[arg-type]
        line = [sys.executable, "-m", "model_compression.evaluation.model_runner", str(model), precision, place]
        run_child(line, f"{model}: {precision}", TIMEOUT_S_PER_SESSION * len(inputs))
        told = []
        for k in range(len(inputs)):
            with np.load(folder / f"out_{k:05d}.npz") as file:
                told.append(dict(file))
        return told


def run_child(line: list[str], what: str, timeout_s: float) -> str:
    """Return what a child printed.

    Raises
    ------
    ModelError
        When it fails, with its last line, or takes too long.
    """
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{what} did not answer in time; try fewer sessions with --sessions") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise ModelError(f"{what} could not be run: {said[-1] if said else done.returncode}")
    return done.stdout
