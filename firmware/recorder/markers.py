"""What is worth finding again in a recording: decisions, scenes, gaps. How they come in, and how they are kept.

The control process appends a line of JSON for each to a spool, a file in memory, ``{"frame": 48000, "kind": "scene",
"text": "Verse"}``; ``frame`` is the engine's count, or null for now. The recorder follows the spool. Neither needs the
other to be there, and a line that is no marker is counted and ignored.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MAX_LINE_BYTES = 4096  # a write of that size is not mixed with another's
MAX_READ_BYTES = 1 << 16  # at a time
MAX_SPOOL_BYTES = 8 << 20  # then the spool begins anew
MAX_TEXT_CHARACTERS = 200
MAX_FRAME = (1 << 63) - 1
KINDS = ("decision", "scene")  # that come from outside; the recorder adds "gap" and "end"
CAUSE_TEXT = {1: "the recorder or its disk was late", 2: "xrun", 3: "the sound card was gone"}  # of gaps
ENGINE_ANEW, LOST = "the engine was started anew", "frames were lost"


@dataclass(frozen=True, kw_only=True)
class Marker:
    """``position_frames`` counts from the start of the recording."""

    position_frames: int
    kind: str
    text: str
    details: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """What a player shows."""
        return f"{self.kind}: {self.text}"

    def as_record(self, sample_rate_hz: int) -> dict[str, Any]:
        """Return what a line of ``markers.jsonl`` holds."""
        return {
            "position_frames": self.position_frames,
            "time_s": round(self.position_frames / sample_rate_hz, 6),
            "kind": self.kind,
            "text": self.text,
            **(self.details or {}),
        }


@dataclass(frozen=True, kw_only=True)
class Announced:
    """A marker as it came in; ``frame`` is the engine's count, None for now."""

    frame: int | None
    kind: str
    text: str


def parse(line: bytes) -> Announced | None:
    """Return the marker in ``line``, or None when it holds none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    frame, kind, text = record.get("frame"), record.get("kind"), record.get("text")
    is_frame = frame is None or (type(frame) is int and 0 <= frame <= MAX_FRAME)
    if not is_frame or kind not in KINDS or not isinstance(text, str):
        return None
    return Announced(frame=frame, kind=kind, text=cleaned(text))


def cleaned(text: str) -> str:
    """Return ``text`` on one line, short, and without what cannot be shown or encoded."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * MAX_TEXT_CHARACTERS])
    return " ".join(line.split())[:MAX_TEXT_CHARACTERS]


class SpoolWriter:
    """The control process's end. ``append`` costs one write into memory, waits for nobody and does not fail.

    ``n_lost`` counts markers for which there was no room.
    """

    def __init__(self, path: Path) -> None:
        self.n_lost = 0
        self._path = path
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, frame: int | None, kind: str, text: str) -> None:
        """Announce a marker; ``frame`` is the engine's count, None for now."""
        line = json.dumps({"frame": frame, "kind": kind, "text": cleaned(text)}).encode() + b"\n"
        try:
            if self._fd < 0 or os.fstat(self._fd).st_size + len(line) > MAX_SPOOL_BYTES:
                self._begin()
            os.write(self._fd, line)
        except OSError:
            self.n_lost += 1

    def close(self) -> None:
        """Close; the spool stays for whoever follows it."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _begin(self) -> None:
        """Put an empty spool in place of the old one, which its follower reads to the end."""
        self.close()
        new = self._path.with_name(f".{self._path.name}.new")
        new.unlink(missing_ok=True)
        self._fd = os.open(new, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        new.replace(self._path)


class SpoolReader:
    """The recorder's end: follows ``path`` from where it ends now, through its replacements."""

    def __init__(self, path: Path) -> None:
        self.n_refused = 0
        self._path = path
        self._fd = -1
        self._rest = b""
        self._is_skipping = False  # a line that is too long, up to its end
        self._open()
        if self._fd >= 0:
            os.lseek(self._fd, 0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> list[Announced]:
        """Return what was announced since the last call, or a first part of it."""
        if self._fd < 0:
            self._open()
        if self._fd < 0:
            return []
        content = os.read(self._fd, MAX_READ_BYTES)
        if not content and not self._is_current():
            self.close()
            self._open()
        *lines, self._rest = (self._rest + content).split(b"\n")
        found = [self._accept(line) for line in lines]
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._is_skipping = b"", True
        return [announced for announced in found if announced]

    def close(self) -> None:
        """Close."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._rest, self._is_skipping = -1, b"", False

    def _accept(self, line: bytes) -> Announced | None:
        is_whole, self._is_skipping = not self._is_skipping and len(line) <= MAX_LINE_BYTES, False
        announced = parse(line) if is_whole else None
        self.n_refused += announced is None
        return announced

    def _open(self) -> None:
        try:
            # Without O_NONBLOCK a FIFO of that name would hold up the recording.
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            self.close()

    def _is_current(self) -> bool:
        """Whether the spool is still the file that is open, and no shorter than what was read."""
        try:
            now, ours = self._path.stat(), os.fstat(self._fd)
        except OSError:
            return True  # being replaced; the next call sees
        return os.path.samestat(now, ours) and now.st_size >= os.lseek(self._fd, 0, os.SEEK_CUR)
