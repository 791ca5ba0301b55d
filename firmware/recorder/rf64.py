"""A Broadcast Wave file that is being recorded: 24 bits, playable up to the last second whatever happens.

The header never promises what is not on the disk: each ``sync`` first writes the length that the one before made safe,
then has the disk take it along with all audio so far. Where 32 bits end, RIFF becomes RF64 (EBU Tech 3306): the room
for its 64-bit sizes is there from the start, as a ``JUNK`` chunk.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from .markers import Marker

SAMPLE_SIZE_BYTES = 3
MAX_RIFF_SIZE_BYTES = (1 << 32) - 1
SEE_DS64 = 0xFFFFFFFF
ORIGINATOR = b"Evenhand"
MAX_CUES = 1000  # of one file; libsndfile 1.2 takes 2500, and who clicks through more?
PAGE_BYTES = 4096


class AudioFile(Protocol):
    """Where the bytes go."""

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of ``data`` or raise OSError."""

    def resize(self, size_bytes: int) -> None:
        """Cut, or lengthen by zeros that need no writing."""

    def sync(self, size_bytes: int) -> None:
        """Return when the disk has everything written before, ``size_bytes`` of it."""

    def close(self) -> None:
        """Close."""


class DiskFile:
    """A new file; an old one of the same name stays as it is and is an OSError."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of ``data``; a disk that is almost full takes a part at first."""
        left = memoryview(data)
        while left:
            n_bytes = os.pwrite(self._fd, left, offset)
            left, offset = left[n_bytes:], offset + n_bytes

    def resize(self, size_bytes: int) -> None:
        """Cut or lengthen."""
        os.ftruncate(self._fd, size_bytes)

    def sync(self, size_bytes: int) -> None:
        """Wait for the disk, then let go of what it has: nobody reads it soon, and the box has little memory."""
        os.fdatasync(self._fd)
        # The first page and a last one in part stay: both are written again.
        os.posix_fadvise(self._fd, PAGE_BYTES, max(size_bytes - PAGE_BYTES, 1), os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close."""
        os.close(self._fd)


@dataclass(frozen=True, kw_only=True)
class Format:
    """What is recorded, and when it began."""

    sample_rate_hz: int
    n_channels: int
    started: datetime
    description: str = ""

    @property
    def frame_size_bytes(self) -> int:
        """Size of one frame."""
        return self.n_channels * SAMPLE_SIZE_BYTES


class Rf64Writer:
    """Writes ``file``, which is empty. ``sync`` may run in another thread than the rest.

    ``max_riff_size_bytes`` is where RIFF becomes RF64.
    """

    def __init__(self, file: AudioFile, format: Format, *, max_riff_size_bytes: int = MAX_RIFF_SIZE_BYTES) -> None:
        self.format = format
        self._file = file
        self._max_riff_size_bytes = max_riff_size_bytes
        self._n_bytes = 0  # of audio, handed to the file
        self._n_safe_bytes = 0  # of these, on the disk
        self._start = len(self._header(0, 0))
        self._put_header(0)
        self._file.sync(self._start)

    @property
    def n_frames(self) -> int:
        """Frames so far."""
        return self._n_bytes // self.format.frame_size_bytes

    @property
    def _end(self) -> int:
        return self._start + self._n_bytes

    def write(self, frames: bytes | memoryview) -> None:
        """Append whole frames, packed and little-endian."""
        if len(frames) % self.format.frame_size_bytes:
            raise ValueError(f"{len(frames)} bytes are no whole number of frames")
        self._file.write(frames, self._end)
        self._n_bytes += len(frames)

    def write_silence(self, n_frames: int) -> None:
        """Append zeros, as a hole where the file system has them: even an hour costs no time."""
        n_bytes = n_frames * self.format.frame_size_bytes
        self._file.resize(self._end + n_bytes)
        self._n_bytes += n_bytes

    def cut(self, n_frames: int) -> None:
        """Forget what follows the first ``n_frames``."""
        self._n_bytes = min(self._n_bytes, n_frames * self.format.frame_size_bytes)
        self._n_safe_bytes = min(self._n_safe_bytes, self._n_bytes)

    def sync(self) -> None:
        """Have the disk take everything so far; the header tells of it next time."""
        n_bytes = self._n_bytes
        self._put_header(self._n_safe_bytes)
        self._file.sync(self._start + n_bytes)
        self._n_safe_bytes = n_bytes

    def close(self, markers: Sequence[Marker] = ()) -> None:
        """Append the markers, as far as there is room for them, and complete the header."""
        try:
            trailer = b"\0" * (self._n_bytes % 2) + _cue_chunks(markers)
            try:
                self._file.resize(self._end)
                self._file.write(trailer, self._end)
            except OSError:  # no room: the audio counts, and the markers lie beside it too
                trailer = b""
                self._file.resize(self._end)
            self._file.sync(self._end)
            self._put_header(self._n_bytes, len(trailer))
            self._file.sync(self._end)
        finally:
            self._file.close()

    def _put_header(self, n_bytes: int, n_trailer_bytes: int = 0) -> None:
        self._file.write(self._header(n_bytes, n_trailer_bytes), 0)

    def _header(self, n_bytes: int, n_trailer_bytes: int) -> bytes:
        body = _chunk(b"bext", _bext(self.format)) + _chunk(b"fmt ", _fmt(self.format))
        riff_size_bytes = 4 + 36 + len(body) + 8 + n_bytes + n_trailer_bytes
        if riff_size_bytes <= self._max_riff_size_bytes:
            riff = struct.pack("<4sI4s", b"RIFF", riff_size_bytes, b"WAVE")
            return riff + _chunk(b"JUNK", bytes(28)) + body + struct.pack("<4sI", b"data", n_bytes)
        n_frames = n_bytes // self.format.frame_size_bytes
        riff = struct.pack("<4sI4s", b"RF64", SEE_DS64, b"WAVE")
        ds64 = _chunk(b"ds64", struct.pack("<QQQI", riff_size_bytes, n_bytes, n_frames, 0))
        return riff + ds64 + body + struct.pack("<4sI", b"data", SEE_DS64)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) % 2)


def _fmt(format: Format) -> bytes:
    bytes_per_s = format.sample_rate_hz * format.frame_size_bytes
    return struct.pack("<HHIIHH", 1, format.n_channels, format.sample_rate_hz, bytes_per_s, format.frame_size_bytes, 24)


def _bext(format: Format) -> bytes:
    """Broadcast extension, version 1 (EBU Tech 3285)."""
    started = format.started
    midnight = started.replace(hour=0, minute=0, second=0, microsecond=0)
    time_reference_frames = round((started - midnight).total_seconds() * format.sample_rate_hz)
    mode = {1: "mono", 2: "stereo"}.get(format.n_channels, "multi")
    history = f"A=PCM,F={format.sample_rate_hz},W=24,M={mode},T=Evenhand\r\n"
    fixed = struct.pack(
        "<256s32s32s10s8sQH64s190s",
        format.description.encode("ascii", "replace")[:256],
        ORIGINATOR,
        f"EVENHAND{started:%Y%m%d%H%M%S}".encode(),
        f"{started:%Y-%m-%d}".encode(),
        f"{started:%H:%M:%S}".encode(),
        time_reference_frames,
        1,
        b"",
        b"",
    )
    return fixed + history.encode() + b"\0" * (len(history) % 2)  # libsndfile 1.2 loses its way behind an odd one


def _cue_chunks(markers: Sequence[Marker]) -> bytes:
    """Cue points, and a label for each."""
    shown = _shown(markers)
    if not shown:
        return b""
    points, labels = [], [b"adtl"]
    for number, marker in enumerate(shown, 1):
        position = marker.position_frames
        points.append(struct.pack("<II4sIII", number, position, b"data", 0, 0, position))
        labels.append(_chunk(b"labl", struct.pack("<I", number) + marker.label.encode() + b"\0"))
    cue = _chunk(b"cue ", struct.pack("<I", len(shown)) + b"".join(points))
    return cue + _chunk(b"LIST", b"".join(labels))


def _shown(markers: Sequence[Marker]) -> list[Marker]:
    """Return the markers that fit in: of too many, decisions are the first to go."""
    fitting = sorted((m for m in markers if m.position_frames < 1 << 32), key=lambda m: m.kind == "decision")
    return sorted(fitting[:MAX_CUES], key=lambda m: m.position_frames)
