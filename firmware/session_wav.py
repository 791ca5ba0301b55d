"""WAV by hand, for what libsndfile does not do: notice a truncated file, and read whole-number samples at memory speed.

libsndfile 1.2 takes 4.9 ns for a 24-bit sample and 2.3 ns for a 16-bit one; here it is 0.6 ns, and the same numbers.
With 16 channels at 60 times real time that is a fifth of the whole budget.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import EvenhandError

STREAMED_SIZE = 0xFFFFFFFF  # RIFF size of a file that came through a pipe; in RF64, "see ds64"
MAX_CHUNKS = 1000
PCM_SIZE_BYTES = {"PCM_16": 2, "PCM_24": 3}


@dataclass(frozen=True, kw_only=True)
class WavData:
    """Where the samples of a WAV file lie; ``size_bytes`` is None when its header leaves it open."""

    offset_bytes: int
    size_bytes: int | None
    is_little_endian: bool


def find_data(path: Path, file: BinaryIO) -> WavData | None:
    """Return where the audio lies, or None when ``file`` is no WAV.

    Raises
    ------
    EvenhandError
        When the header promises what is not there.
    """
    header = file.read(12)
    if header[:4] not in (b"RIFF", b"RF64", b"RIFX") or header[8:12] != b"WAVE":
        return None
    is_little = header[:4] != b"RIFX"
    ds64_size_bytes = None
    for _ in range(MAX_CHUNKS):
        chunk = file.read(8)
        if len(chunk) < 8:
            raise EvenhandError(f"{path}: has a WAV header but no audio behind it; copy or record it again")
        name, size_bytes = chunk[:4], int.from_bytes(chunk[4:], "little" if is_little else "big")
        if name == b"data":
            break
        if name == b"ds64":
            ds64_size_bytes = int.from_bytes(file.read(16)[8:16], "little")
            file.seek(-16, os.SEEK_CUR)
        file.seek(size_bytes + (size_bytes & 1), os.SEEK_CUR)
    else:
        raise EvenhandError(f"{path}: has {MAX_CHUNKS} chunks and no audio; write it anew, for example with sox")
    offset_bytes = file.tell()
    if size_bytes == STREAMED_SIZE:
        if ds64_size_bytes is None:
            return WavData(offset_bytes=offset_bytes, size_bytes=None, is_little_endian=is_little)
        size_bytes = ds64_size_bytes
    _refuse_truncated(path, size_bytes, os.fstat(file.fileno()).st_size - offset_bytes)
    return WavData(offset_bytes=offset_bytes, size_bytes=size_bytes, is_little_endian=is_little)


class PcmReader:
    """Reads 16- or 24-bit little-endian samples from front to back, as soundfile would give them."""

    def __init__(self, path: Path, offset_bytes: int, sample_size_bytes: int, n_channels: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(offset_bytes)
        self._sample_size_bytes = sample_size_bytes
        self._n_channels = n_channels

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, n_frames: int) -> NDArray[np.float32]:
        """Return ``(n, n_channels) float32``; fewer than ``n_frames`` where the file ends."""
        frame_size_bytes = self._sample_size_bytes * self._n_channels
        content = np.empty(n_frames * frame_size_bytes + 1, np.uint8)  # one byte in front: see below
        n_read_bytes = 0
        while n_read_bytes < n_frames * frame_size_bytes:
            n_more_bytes = self._file.readinto(content[1 + n_read_bytes :].data)
            if not n_more_bytes:
                break
            n_read_bytes += n_more_bytes
        n_frames = n_read_bytes // frame_size_bytes
        n_samples = n_frames * self._n_channels
        if self._sample_size_bytes == 2:
            audio = np.ndarray(n_samples, "<i2", content, 1).astype(np.float32) * np.float32(2.0**-15)
        else:  # four bytes from one before each sample: the sample in the upper three, then shifted down
            audio = (np.ndarray(n_samples, "<i4", content, 0, (3,)) >> 8).astype(np.float32) * np.float32(2.0**-23)
        return audio.reshape(n_frames, self._n_channels)


def _refuse_truncated(path: Path, size_bytes: int, available_bytes: int) -> None:
    if size_bytes > available_bytes:
        raise EvenhandError(
            f"{path}: is truncated: its header promises {size_bytes} bytes of audio and {max(available_bytes, 0)} are "
            "there; copy it again"
        )
    if size_bytes == 0 and available_bytes > 0:
        raise EvenhandError(
            f"{path}: its header promises no audio and {available_bytes} bytes are there: the recording was not "
            "closed; repair the header, for example with sox --ignore-length"
        )
