"""The samples of a session, block by block, decoded ahead on as many cores as there are; never the whole session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .session_files import AudioReader
from .sessions import Session


class SessionReader:
    """Opens every file of a session; a context manager. The samples do not depend on the number of cores."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._n_lanes = sum(len(strip.lanes) for strip in session.strips)
        self._stack = ExitStack()
        self._readers: list[tuple[AudioReader, list[tuple[int, int]]]] = []

    def __enter__(self) -> SessionReader:
        lanes_of: dict[object, list[tuple[int, int]]] = {path: [] for path in self._session.files}
        lane = 0
        for strip in self._session.strips:
            for path, channel in strip.lanes:
                lanes_of[path].append((lane, channel))
                lane += 1
        try:
            for path, file in self._session.files.items():
                reader = self._stack.enter_context(AudioReader(file, self._session.sample_rate_hz))
                self._readers.append((reader, lanes_of[path]))
            self._pool = self._stack.enter_context(ThreadPoolExecutor(min(len(self._readers), os.cpu_count() or 1)))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def n_scrubbed(self) -> int:
        """NaN and Inf samples replaced by zero before resampling."""
        return sum(reader.n_scrubbed for reader, _ in self._readers)

    def blocks(self, n_frames: int) -> Iterator[NDArray[np.float32]]:
        """Yield ``(n_frames, n_lanes) float32`` blocks, the last one shorter; short channels end in silence."""
        lengths = [n_frames] * (self._session.n_frames // n_frames)
        if rest := self._session.n_frames % n_frames:
            lengths.append(rest)
        ahead = self._begin(lengths[0])
        for number in range(len(lengths)):
            block, jobs = ahead
            for job in jobs:
                job.result()
            if number + 1 < len(lengths):
                ahead = self._begin(lengths[number + 1])
            yield block

    def _begin(self, n_frames: int) -> tuple[NDArray[np.float32], list[Future[None]]]:
        block = np.zeros((n_frames, self._n_lanes), np.float32)
        return block, [self._pool.submit(_fill, block, reader, lanes) for reader, lanes in self._readers]


def _fill(block: NDArray[np.float32], reader: AudioReader, lanes: list[tuple[int, int]]) -> None:
    audio = reader.read(len(block))
    for lane, channel in lanes:
        block[: len(audio), lane] = audio[:, channel]
