"""Files inside a compiled resource of Qt (``.rcc``): some programs of Debian keep their sounds in one."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path

from model_compression.data.ingredients import MissingIngredient

SUFFIX = ".rcc"
MAGIC, VERSIONS = b"qres", {1: 14, 2: 22, 3: 22}  # bytes of a node, by version
IS_COMPRESSED, IS_FOLDER = 1, 2
MOST_BYTES, MOST_FILES = 64_000_000, 10_000
Place = tuple[int, int, bool]  # begin and end of a file's bytes, and whether they are compressed


def read(resource: Path, name: str) -> bytes:
    """Return the file of that name, wherever in the resource it lies.

    Raises
    ------
    MissingIngredient
        When the resource is not there, is none, is damaged, or has no such file.
    """
    remedy = f"apt install --reinstall its package (dpkg -S {resource})"
    try:
        content, places = _opened(resource)
        found = _file(content, places[name]) if name in places else None
    except OSError as error:
        raise MissingIngredient(f"{resource} cannot be read ({error.strerror}); {remedy}") from None
    except (struct.error, UnicodeDecodeError, ValueError, zlib.error) as error:
        raise MissingIngredient(f"{resource} is no resource of Qt, or damaged ({error}); {remedy}") from None
    if found is None:
        raise MissingIngredient(f"{resource} has no file {name}; {remedy}")
    return found


@cache
def _opened(resource: Path) -> tuple[bytes, dict[str, Place]]:
    """Return all bytes of a resource, and where each of its files lies; folders do not count."""
    if resource.stat().st_size > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES} bytes")
    content = resource.read_bytes()
    magic, version, tree, data, names = struct.unpack_from(">4s4I", content)
    if magic != MAGIC or version not in VERSIONS:
        raise ValueError("no head that is known")
    places: dict[str, Place] = {}
    waiting, seen = [0], 0
    while waiting:
        seen += 1
        name_at, flags, third, fourth = struct.unpack_from(">IHII", content, tree + waiting.pop() * VERSIONS[version])
        if flags & IS_FOLDER:
            if seen + len(waiting) + third > MOST_FILES:
                raise ValueError(f"more than {MOST_FILES} files and folders")
            waiting += range(fourth, fourth + third)
            continue
        if flags & ~IS_COMPRESSED:
            raise ValueError("a file packed in a way that is not known")
        (n_letters,) = struct.unpack_from(">H", content, names + name_at)
        letters = content[names + name_at + 6 : names + name_at + 6 + 2 * n_letters]
        (n_bytes,) = struct.unpack_from(">I", content, data + fourth)
        begin = data + fourth + 4
        places[letters.decode("utf-16-be")] = begin, begin + n_bytes, bool(flags & IS_COMPRESSED)
    return content, places


def _file(content: bytes, place: Place) -> bytes:
    begin, end, is_compressed = place
    if end > len(content):
        raise ValueError("it ends too early")
    if not is_compressed:
        return content[begin:end]
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(content[begin + 4 : end], MOST_BYTES)  # the first four bytes say how long it will be
    if not unpacker.eof:
        raise ValueError(f"a file that is cut short, or of more than {MOST_BYTES} bytes")
    return unpacked
