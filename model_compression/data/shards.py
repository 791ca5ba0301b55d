"""Shards and their index: files that are whole or not there, each with its SHA-256."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError
from .session_arrays import Arrays

INDEX = "index.json"
FORMAT = 2
PREFIX = {"scenes": "s", "clips": "c"}  # of the arrays of one item


def pack(kind: str, items: list[Arrays]) -> bytes:
    """Return the bytes of a shard; the same items give the same bytes."""
    prefix = PREFIX[kind]
    arrays = {f"{prefix}{k}_{name}": array for k, item in enumerate(items) for name, array in item.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, kind=np.array(kind), n_items=np.int64(len(items)), **arrays)
    return buffer.getvalue()


def unpack(content: bytes, name: str) -> list[Arrays]:
    """Return the items of a shard.

    Raises
    ------
    ModelError
        When it is damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            prefix = PREFIX[str(archive["kind"])]
            items: list[Arrays] = [{} for _ in range(int(archive["n_items"]))]
            for key in archive.files:
                number, _, rest = key[1:].partition("_")
                if key[0] == prefix and number.isdigit():
                    items[int(number)][rest] = archive[key]
            return items
    except (ValueError, KeyError, IndexError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{name}: is damaged ({error}); run `evenhand-model data` again to make it anew") from None


def write_whole(path: Path, content: bytes) -> None:
    """Give ``path`` its content at once: written beside, synced, renamed."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelError(f"{path}: cannot be written ({error.strerror}); free space or name another --out") from None


def index_text(index: dict[str, Any]) -> bytes:
    """Return an index as its file holds it."""
    return (json.dumps(index, indent=1, sort_keys=True) + "\n").encode()


def read_index(folder: Path) -> dict[str, Any]:
    """Return the index of a data set.

    Raises
    ------
    ModelError
        When there is none, or none that we know.
    """
    path = folder / INDEX
    try:
        index = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{folder}: holds no data set (no {INDEX}); make one with `evenhand-model data`") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); delete it and run `evenhand-model data` again") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise ModelError(f"{path}: is no index of format {FORMAT}; make the data set anew in another folder")
    return index


def sha256(content: bytes) -> str:
    """Return the hexadecimal digest."""
    return hashlib.sha256(content).hexdigest()


def is_whole(folder: Path, entry: dict[str, Any]) -> bool:
    """Return whether the shard of an index entry is there, to the last bit."""
    path = folder / entry["file"]
    return path.is_file() and path.stat().st_size == entry["bytes"] and sha256(path.read_bytes()) == entry["sha256"]


def read_items(folder: Path, split: str, kind: str) -> Iterator[Arrays]:
    """Yield the sessions (``kind`` scenes) or clips of a split, shard by shard, each verified before it is used.

    Raises
    ------
    ModelError
        When the data set lacks the split, or a shard is missing or damaged.
    """
    index = read_index(folder)
    entries = [entry for entry in index["shards"] if entry["split"] == split and entry["kind"] == kind]
    if not entries:
        there = sorted({f"{entry['split']} {entry['kind']}" for entry in index["shards"]})
        raise ModelError(f"{folder}: holds no {split} {kind}; it holds {', '.join(there) or 'nothing yet'}")
    for entry in entries:
        path = folder / entry["file"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}); run `evenhand-model data` again") from None
        if sha256(content) != entry["sha256"]:
            raise ModelError(f"{path}: is damaged (its SHA-256 is another one); run `evenhand-model data` again")
        yield from unpack(content, str(path))
