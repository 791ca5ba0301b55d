"""Files of a run: zips of arrays whose bytes depend on nothing but the arrays; all are renamed into place whole."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say; a real time would change the digest


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be written ({error.strerror}); name another --out or free some space"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode())


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an ``.npz`` that ``np.load`` reads."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), member.getvalue())
    write_bytes(path, packed.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what ``write_arrays`` wrote."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise ModelError(f"{path}: missing; run the step that makes it (train, distil, quantise) first") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: damaged ({error}); delete it and run the step again") from None


def digest_of(*paths: Path) -> str:
    """SHA-256 over the bytes of some files, in order."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()


def code_digest() -> str:
    """SHA-256 over the source of networks, training and conversion."""
    room = Path(__file__).parent.parent
    sources = sorted(p for part in ("nets", "training", "conversion") for p in (room / part).glob("*.py"))
    return digest_of(*sources)
