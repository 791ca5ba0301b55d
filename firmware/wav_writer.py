"""A 24-bit WAV file of known length; RF64 where WAV's 32-bit sizes end."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import NDArray

from .errors import EvenhandError

SAMPLE_SIZE_BYTES = 3
HEADER_SIZE_BYTES = 1024  # more than any header libsndfile writes
MAX_WAV_SIZE_BYTES = (1 << 32) - 1


def size_bytes(n_frames: int, n_channels: int) -> int:
    """Return how large a file becomes, at most."""
    return n_frames * n_channels * SAMPLE_SIZE_BYTES + HEADER_SIZE_BYTES


class WavWriter:
    """Writes ``part``, which errors call ``target``. A context manager.

    ``n_clipped`` counts samples above full scale, which 24 bits can't hold.
    """

    def __init__(self, part: Path, target: Path, *, sample_rate_hz: int, n_channels: int, n_frames: int) -> None:
        self.n_clipped = 0
        self._target = target
        is_large = size_bytes(n_frames, n_channels) > MAX_WAV_SIZE_BYTES
        try:
            self._file = soundfile.SoundFile(
                os.fsencode(part), "w", sample_rate_hz, n_channels, "PCM_24", format="RF64" if is_large else "WAV"
            )
        except (OSError, soundfile.LibsndfileError) as error:
            raise self._failed(error) from None

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except (OSError, soundfile.LibsndfileError) as failure:
            if error is None:
                raise self._failed(failure) from None

    def write(self, audio: NDArray[np.float32]) -> None:
        """Append ``(n_frames, n_channels) float32``."""
        if len(audio) == 0:
            return
        if max(float(audio.max()), -float(audio.min())) > 1.0:
            self.n_clipped += int(np.count_nonzero(np.abs(audio) > 1.0))
        try:
            self._file.write(audio)
        except (OSError, soundfile.LibsndfileError, AssertionError) as error:  # soundfile asserts a complete write
            raise self._failed(error) from None

    def _failed(self, error: BaseException) -> EvenhandError:
        return cannot_write(self._target, error)


def cannot_write(target: Path, error: BaseException) -> EvenhandError:
    """Return the error for a file that does not take what it is given; libsndfile keeps the cause to itself."""
    if isinstance(error, OSError) and error.errno != errno.ENOSPC:
        return EvenhandError(f"{target}: cannot be written ({error.strerror}); name another place")
    return EvenhandError(
        f"{target}: cannot be written to its end, the disk is full or gone; free some space and repeat"
    )
