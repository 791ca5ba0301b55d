"""The line that a file of the box's own begins with: a SHA-256 of all that follows, so that no digit changes unseen.

A file without that line is somebody's own and is taken as it is. The line stands first because a file that was cut
short still has it.
"""

from __future__ import annotations

import hashlib

_MARK = b"# sha256 = "
_ADVICE = "of all that follows; whoever edits this file deletes this line"


def sealed(text: str) -> str:
    """Return ``text`` behind its line."""
    return f"{_MARK.decode()}{_sum(text.encode())} {_ADVICE}\n{text}"


def is_broken(raw: bytes) -> bool:
    """Return whether a file has that line, and another text than it was made for."""
    line, _, rest = raw.partition(b"\n")
    return line.startswith(_MARK) and line.removeprefix(_MARK).partition(b" ")[0] != _sum(rest).encode()


def _sum(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
