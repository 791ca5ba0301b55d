"""Which code a data set was made by: a digest over the sources that its bytes depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent
_ROOMS = ("model_compression/data", "dsp_kernels")
_SUFFIXES = (".py", ".toml", ".c", ".cpp", ".h")
_APART = ("tests", "bench", "__pycache__")  # what a data set does not depend on


def code_digest() -> str:
    """Return the SHA-256 over names and contents of the generator's and the kernels' sources."""
    digest = hashlib.sha256()
    for path in sorted(p for room in _ROOMS for p in (_ROOT / room).rglob("*") if _counts(p)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _counts(path: Path) -> bool:
    inside = path.relative_to(_ROOT)
    return path.suffix in _SUFFIXES and not set(inside.parts) & set(_APART) and inside.name != "_native.c"
