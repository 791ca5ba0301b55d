"""Files inside a compiled resource of Qt (``.rcc``): some programs of Debian keep their sounds in one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from model_compression.data.ingredients import MissingIngredient

SUFFIX = ".rcc"
MAGIC, VERSIONS = b"qres", {1: 14, 2: 22, 3: 22}  # bytes of a node, by version
IS_COMPRESSED, IS_FOLDER = 1, 2
MOST_BYTES, MOST_FILES = 64_000_000, 10_000


def read(resource: Path, name: str) -> bytes:
    """Return the file of that name, wherever in the resource it lies.

    Raises
    ------
    MissingIngredient
        When the resource is not there, is none, is damaged, or has no such file.
    """
    try:
        found = _files(resource).get(name)
    except OSError as error:
        raise MissingIngredient(f"{resource} cannot be read ({error.strerror})") from None
    except (struct.error, UnicodeDecodeError, ValueError, zlib.error) as error:
        raise MissingIngredient(f"{resource} is no resource of Qt, or damaged ({error})") from None
    if found is None:
        raise MissingIngredient(f"{resource} has no file {name}")
    return found


@cache
def _files(resource: Path) -> dict[str, bytes]:
    if resource.stat().st_size > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES} bytes")
    content = resource.read_bytes()
    magic, version, tree, data, names = struct.unpack_from(">4s4I", content)
    if magic != MAGIC or version not in VERSIONS:
        raise ValueError("no head that is known")
    found: dict[str, bytes] = {}
    for name_at, data_at, is_compressed in _leaves(content, tree, VERSIONS[version]):
        (n_letters,) = struct.unpack_from(">H", content, names + name_at)
        letters = content[names + name_at + 6 :][: 2 * n_letters]
        (n_bytes,) = struct.unpack_from(">I", content, data + data_at)
        inside = content[data + data_at + 4 :][:n_bytes]
        if len(inside) < n_bytes:
            raise ValueError("it ends too early")
        found[letters.decode("utf-16-be")] = _unpacked(inside) if is_compressed else inside
    return found


def _leaves(content: bytes, tree: int, n_bytes: int) -> Iterator[tuple[int, int, bool]]:
    """Yield where name and data of each file are, and whether it is compressed; folders are walked in width."""
    waiting, seen = [0], 0
    while waiting:
        at = tree + waiting.pop() * n_bytes
        name_at, flags, third, fourth = struct.unpack_from(">IHII", content, at)
        seen += 1
        if seen > MOST_FILES:
            raise ValueError(f"more than {MOST_FILES} files and folders")
        if flags & IS_FOLDER:
            if third > MOST_FILES:
                raise ValueError(f"a folder of more than {MOST_FILES} files")
            waiting += range(fourth, fourth + third)
        else:
            yield name_at, fourth, bool(flags & IS_COMPRESSED)


def _unpacked(inside: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(inside[4:], MOST_BYTES)  # the first four bytes say how long it will be
    if unpacker.unconsumed_tail:
        raise ValueError(f"a file of more than {MOST_BYTES} bytes")
    return content
