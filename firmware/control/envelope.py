"""Bytes that a process leaves to its successor: a header that says whose they are, a JSON text, rows of numbers."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

from dsp_kernels.contract.generated.contract import CONTRACT_ID
from firmware.errors import EvenhandError

VERSION = 1
MAX_SIZE_BYTES = 1_000_000  # about three times the evidence of 32 busy channels
IDENTITY_BYTES = 8

_MAGIC = b"EHKS"
# magic, version, kind, contract id, identity, bytes of text, bytes of numbers, CRC-32 of all the rest
_HEADER = struct.Struct(f"<4sHH16s{IDENTITY_BYTES}sII")
_CHECKSUM = struct.Struct("<I")
_CONTRACT = CONTRACT_ID.encode().ljust(16, b"\0")
assert len(_CONTRACT) == 16


class KeepsakeError(EvenhandError):
    """What a predecessor left cannot be used; nothing was taken from it."""


def seal(kind: int, identity: bytes, text: str, numbers: bytes) -> bytes:
    """Return the bytes of one keepsake."""
    encoded = text.encode()
    header = _HEADER.pack(_MAGIC, VERSION, kind, _CONTRACT, identity, len(encoded), len(numbers))
    body = b"".join((header, encoded, numbers))
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unseal(sealed: bytes, kind: int, identity: bytes) -> tuple[Any, memoryview]:
    """Return the parsed text and the numbers.

    Raises
    ------
    KeepsakeError
        When the bytes are damaged, or of another kind, firmware or session.
    """
    view = memoryview(sealed).cast("B")
    least = _HEADER.size + _CHECKSUM.size
    if not least <= len(view) <= MAX_SIZE_BYTES:
        raise refused(f"{len(view)} bytes, where {least} to {MAX_SIZE_BYTES} are possible")
    magic, version, found_kind, contract, found_identity, n_text, n_numbers = _HEADER.unpack_from(view)
    if magic != _MAGIC or version != VERSION or found_kind != kind:
        raise refused(f"no keepsake of version {VERSION} and kind {kind}")
    if contract != _CONTRACT:
        spoken = contract.rstrip(b"\0").decode("ascii", "replace")
        raise refused(f"written for contract {spoken!r}, this box speaks {CONTRACT_ID!r}")
    if least + n_text + n_numbers != len(view):
        raise refused(f"{len(view)} bytes, where its header counts {least + n_text + n_numbers}")
    body = view[: -_CHECKSUM.size]
    if zlib.crc32(body) != _CHECKSUM.unpack(view[-_CHECKSUM.size :])[0]:
        raise refused("damaged: its checksum is not that of its bytes")
    if found_identity != identity:
        raise refused("written by another firmware or for other channels or settings")
    try:
        text = json.loads(bytes(body[_HEADER.size : _HEADER.size + n_text]))
    except (ValueError, RecursionError) as error:
        raise refused(f"its text is no JSON ({type(error).__name__})") from None
    return text, body[_HEADER.size + n_text :]


def refused(reason: str) -> KeepsakeError:
    """Return the error for what cannot be used."""
    return KeepsakeError(f"control's keepsake: {reason}; control goes on without it")
