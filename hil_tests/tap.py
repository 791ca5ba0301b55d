"""Remembers the last seconds of what went into a box and came out: the evidence when a test fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from .board import AudioPort, Heard

KEPT_S = 4.0


class Tap:
    """An ``AudioPort`` that keeps the end of everything that passes through another one."""

    def __init__(self, port: AudioPort) -> None:
        self._port = port
        self._kept: deque[tuple[NDArray[np.float32], NDArray[np.float32]]] = deque()
        self._n_kept = 0

    @property
    def sample_rate_hz(self) -> int:
        """Frames a second."""
        return self._port.sample_rate_hz

    @property
    def n_inputs(self) -> int:
        """How many inputs of the box are wired."""
        return self._port.n_inputs

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each column of ``Heard.sound`` is."""
        return self._port.output_names

    def stream(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Heard]:
        """Play ``blocks``, as the one stream that they are, and yield what was heard in the very same frames."""
        played: deque[NDArray[np.float32]] = deque()

        def noted() -> Iterator[NDArray[np.float32]]:
            for block in blocks:
                played.append(block)
                yield block

        for heard in self._port.stream(noted()):
            self._keep(_taken(played, len(heard.sound)), heard.sound)
            yield heard

    def last(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the end of what was played, (n_frames, n_inputs), and of what was heard, (n_frames, n_outputs)."""
        if not self._kept:
            return np.zeros((0, self.n_inputs), np.float32), np.zeros((0, len(self.output_names)), np.float32)
        played, heard = zip(*self._kept, strict=True)
        return np.concatenate(played), np.concatenate(heard)

    def forget(self) -> None:
        """Forget it all: another test begins."""
        self._kept.clear()
        self._n_kept = 0

    def _keep(self, played: NDArray[np.float32], heard: NDArray[np.float32]) -> None:
        self._kept.append((played, heard))
        self._n_kept += len(heard)
        while self._n_kept - len(self._kept[0][1]) > KEPT_S * self.sample_rate_hz:
            self._n_kept -= len(self._kept.popleft()[1])


def _taken(blocks: deque[NDArray[np.float32]], n_frames: int) -> NDArray[np.float32]:
    """Take the first ``n_frames`` out of ``blocks``."""
    parts = []
    while n_frames > 0:
        block = blocks.popleft()
        parts.append(block[:n_frames])
        if len(block) > n_frames:
            blocks.appendleft(block[n_frames:])
        n_frames -= len(parts[-1])
    return np.concatenate(parts)
