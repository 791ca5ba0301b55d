"""What other networks say about each session, computed once and kept in the run: inputs and teachers' words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nets.evidence import log_softmax
from .files import read_arrays

EVIDENCE_STRIDE_TICKS = 16  # between two runs of the role network on a channel, 0.32 s: about what a full box does


class Context:
    """Files ``NAME_NNNNN.npz`` beside the sessions of one split; a name is one kind of knowledge."""

    def __init__(self, folder: Path, names: tuple[str, ...], *, temperature: float) -> None:
        self.folder, self.names, self.temperature = folder, names, temperature
        self._facts: dict[int, dict[str, NDArray[Any]]] = {}

    def of(self, number: int) -> dict[str, NDArray[Any]]:
        """Everything kept about a session."""
        if number not in self._facts:
            facts: dict[str, NDArray[Any]] = {}
            for name in self.names:
                facts |= read_arrays(self.path(name, number))
            self._facts[number] = facts
        return self._facts[number]

    def know(self, number: int, facts: dict[str, NDArray[Any]]) -> None:
        """Use facts that are in no file."""
        self._facts[number] = facts

    def path(self, name: str, number: int) -> Path:
        """Where one kind of knowledge about a session lies."""
        return self.folder / f"{name}_{number:05d}.npz"

    def role_prob(self, number: int, ticks: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what the role network had made of each channel by then, ``(n, n_channels, 21)``."""
        return np.exp(log_softmax(self.role_log_prob(number, ticks) / self.temperature)).astype(np.float32)

    def role_log_prob(self, number: int, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the same before the temperature: mean log-probabilities, ``(n, n_channels, 21)``."""
        grid = self.of(number)["role_log_prob"]
        return grid[np.minimum(ticks // EVIDENCE_STRIDE_TICKS, len(grid) - 1)].astype(np.float64)

    def mix_teacher(self, number: int, ticks: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the mix teacher's word, ``(n, n_channels, 44)``."""
        facts = self.of(number)
        grid = facts["mix_teacher"]
        return grid[np.minimum(ticks // int(facts["mix_teacher_stride"]), len(grid) - 1)].astype(np.float32)
