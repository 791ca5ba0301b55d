"""The container of a bundle: a stored zip that has one form only, so that nothing can hide in it.

Any unzip reads it. ``unpack`` takes the files from where the one form puts them, packs them again and compares: a
compressed entry, a path, a comment, a second directory, bytes between or behind the entries all make other bytes.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping

NAME = re.compile(r"[a-z0-9][a-z0-9_.]{0,63}")
MAX_FILES = 100
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _DATE = 10, 0x0021  # of the format: stored entries only; 1 January 1980, as nothing else is the same twice


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the container of ``files``, in their order.

    Raises
    ------
    ValueError
        For a name that is no flat lower-case file name, or too many files.
    """
    if not 1 <= len(files) <= MAX_FILES:
        raise ValueError(f"{len(files)} files, not 1 to {MAX_FILES}")
    body, directory = bytearray(), bytearray()
    for name, content in files.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"no name for a file: {name[:80]!r}")
        told = (0, _DATE, zlib.crc32(content), len(content), len(content), len(name), 0)
        directory += _CENTRAL.pack(b"PK\1\2", _VERSION, _VERSION, 0, 0, *told, 0, 0, 0, 0, len(body)) + name.encode()
        body += _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, *told) + name.encode() + content
    end = _END.pack(b"PK\5\6", 0, 0, len(files), len(files), len(directory), len(body), 0)
    return bytes(body + directory + end)


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the files of a container.

    Raises
    ------
    ValueError
        When ``data`` is anything but what ``pack`` makes.
    """
    files: dict[str, bytes] = {}
    at = 0
    while data[at : at + 4] == b"PK\3\4" and len(files) < MAX_FILES and len(data) - at >= _LOCAL.size:
        *_, n_bytes, n_name, _ = _LOCAL.unpack_from(data, at)
        at += _LOCAL.size
        name = data[at : at + n_name].decode("ascii", errors="replace")
        at += n_name
        if name in files or n_bytes > len(data) - at:
            raise ValueError(f"entry {len(files) + 1} is cut short or there twice")
        files[name] = data[at : at + n_bytes]
        at += n_bytes
    if pack(files) != data:
        raise ValueError("is not packed as a bundle is")
    return files
