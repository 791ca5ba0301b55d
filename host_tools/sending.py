"""Sends a bundle to a box in pieces, and goes on where it stopped, however it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .bundle_file import BundleFile
from .device import Device
from .errors import BoxAbsentError, RefusedError

FIRST_PIECE_BYTES, MAX_PIECE_BYTES = 128 * 1024, 4 << 20
PIECE_S = 1.0  # about so much is lost when a connection breaks
PATIENCE_S = 90.0  # without any progress
PAUSE_S = 1.0


def send_bundle(
    device: Device, bundle: BundleFile, sha256: str, on_step: Callable[[float, str], None],
    patience_s: float = PATIENCE_S,
) -> int:  # fmt: skip
    """Return how many bytes the box had already, once it has all of them.

    Raises
    ------
    HostError
        When the box refuses, or was not heard of for ``patience_s``.
    """
    progressed_s = time.monotonic()
    while True:
        try:
            state = device.post("upload", size_bytes=bundle.size_bytes, sha256=sha256, name=bundle.path.name)
            break
        except BoxAbsentError:
            if time.monotonic() - progressed_s > patience_s:
                raise
            time.sleep(PAUSE_S)
    had_bytes, piece_bytes = int(state["offset_bytes"]), FIRST_PIECE_BYTES
    with bundle.path.open("rb") as file:
        while not state["is_complete"]:
            offset_bytes = int(state["offset_bytes"])
            on_step(offset_bytes, "")
            file.seek(offset_bytes)
            began_s = time.monotonic()
            try:
                state = device.send(
                    "PATCH", "upload", sha256, body=file.read(piece_bytes),
                    headers={"upload-offset": str(offset_bytes)},
                )  # fmt: skip
            except (BoxAbsentError, RefusedError) as error:
                is_passing = isinstance(error, BoxAbsentError) or error.status in (408, 409, 503)
                if not is_passing or time.monotonic() - progressed_s > patience_s:
                    raise
                on_step(offset_bytes, "waiting for the box")
                time.sleep(PAUSE_S)
                state = _state_again(device, bundle, sha256) or state
                continue
            progressed_s = time.monotonic()
            took_s = progressed_s - began_s
            piece_bytes = max(FIRST_PIECE_BYTES, min(MAX_PIECE_BYTES, int(piece_bytes * PIECE_S / max(took_s, 0.25))))
        on_step(bundle.size_bytes, "")
    return had_bytes


def _state_again(device: Device, bundle: BundleFile, sha256: str) -> dict[str, Any] | None:
    try:
        return device.post("upload", size_bytes=bundle.size_bytes, sha256=sha256, name=bundle.path.name)
    except (BoxAbsentError, RefusedError):
        return None
