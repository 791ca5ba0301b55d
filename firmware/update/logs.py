"""What the box said, newest last, and never more than asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .refusal import Refusal

MAX_LINES = 5000
MAX_BYTES = 1 << 20
ANSWER_S = 20.0
SOURCES = ("journal", "decisions")


def read_log(source: str, n_lines: int, *, journalctl: str, decisions: Path) -> str:
    """Return the last lines of a source.

    Raises
    ------
    Refusal
        When there is no such source, or it cannot be read.
    """
    n_lines = max(1, min(n_lines, MAX_LINES))
    if source == "journal":
        return _journal(n_lines, journalctl)
    if source == "decisions":
        return _tail(decisions, n_lines)
    raise Refusal(404, f"no log {source[:40]!r}; there are {', '.join(SOURCES)}")


def _journal(n_lines: int, journalctl: str) -> str:
    command = [journalctl, "--no-pager", "--output=short-iso", f"--lines={n_lines}", "--unit=evenhand-*", "--unit=rauc"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S)
    except OSError as error:
        raise Refusal(501, f"{journalctl}: {error.strerror}; this machine keeps no journal") from None
    except subprocess.TimeoutExpired:
        raise Refusal(504, f"{journalctl}: no answer in {ANSWER_S:.0f} s") from None
    return done.stdout[-MAX_BYTES:].decode("utf-8", "replace")


def _tail(path: Path, n_lines: int) -> str:
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(max(0, size_bytes - MAX_BYTES))
            text = file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise Refusal(404, f"{path}: {error.strerror}; control writes it with --decisions") from None
    return "".join(text.splitlines(keepends=True)[-n_lines:])
