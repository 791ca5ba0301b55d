"""Fetches a file of a box, however large, and goes on where it stopped, however it stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .console import note, size_text
from .device import Device
from .errors import BoxAbsentError, HostError

READ_BYTES = 256 * 1024
PATIENCE_S = 60.0  # without a byte


def fetch_file(
    device: Device, path: tuple[str, ...], size_bytes: int, target: Path, on_step: Callable[[float, str], None],
    *, mode: int = 0o644, **query: Any,
) -> None:  # fmt: skip
    """Fetch what is missing of a file into ``.NAME.part``; it gets its name when it is whole.

    Parameters
    ----------
    path, query
        What it is called on the box.
    mode
        Who may read it here.

    Raises
    ------
    HostError
        When the disk does not take it, or the box was not heard of for ``PATIENCE_S``; what came stays.
    """
    if target.exists() and target.stat().st_size >= size_bytes:
        return
    part = target.with_name(f".{target.name}.part")
    progressed_s = time.monotonic()
    try:
        with part.open("ab") as out:
            part.chmod(mode)
            if out.tell() > size_bytes:
                out.truncate(0)
            if out.tell():
                note(f"{target.name}: goes on from {size_text(out.tell())}")
            while (at_bytes := out.tell()) < size_bytes:
                try:
                    span = {"range": f"bytes={at_bytes}-{size_bytes - 1}"}
                    with device.reading(*path, headers=span, **query) as response:
                        for data in response.stream(READ_BYTES):
                            out.write(data)
                            on_step(out.tell(), "")
                            progressed_s = time.monotonic()
                except BoxAbsentError:
                    if time.monotonic() - progressed_s > PATIENCE_S:
                        raise
                    time.sleep(1.0)
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
    except OSError as error:
        raise HostError(f"{target}: {error.strerror}; make room, then the same command goes on") from None


def harmless(name: str) -> str:
    """Return a name of the box as one of a file here: no folders, and nothing that Windows does not take."""
    kept = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in name).strip(". ")
    if not kept:
        raise HostError(f"{name!r}: is no name of a file")
    return kept
