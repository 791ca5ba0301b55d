"""Whether a bundle's payload is what its signature speaks of, before anything is written.

RAUC checks the signature at once, the payload only while it copies: a slot would be half overwritten by then. The
hash tree is dm-verity's, version 1: SHA-256 over salt and block of 4096 bytes, level upon level, the root's own level
first in the file. The layout of a bundle is RAUC's "verity" format: payload, tree, signature, its length in 8 bytes.
Sources: kernel, Documentation/admin-guide/device-mapper/verity.rst; RAUC reference manual, "Bundle formats".
"""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path
from typing import IO

from .refusal import Refusal

BLOCK_BYTES = 4096
DIGEST_BYTES = 32
MAX_SIGNATURE_BYTES = 64 * 1024  # RAUC's own bound
HASHES_PER_BLOCK = BLOCK_BYTES // DIGEST_BYTES


def check_payload(bundle: Path) -> None:
    """Return when every block of the payload is the signed one. Reads the file once.

    Raises
    ------
    Refusal
        When it is not, or the file is no such bundle.
    """
    with bundle.open("rb") as file:
        payload_bytes, root, salt = _promise(file)
        file.seek(0)
        hashes = bytearray()
        for _ in range(payload_bytes // BLOCK_BYTES):
            hashes += hashlib.sha256(salt + file.read(BLOCK_BYTES)).digest()
    while len(hashes) > DIGEST_BYTES:
        blocks = [bytes(hashes[at : at + BLOCK_BYTES]).ljust(BLOCK_BYTES, b"\0") for at in
                  range(0, len(hashes), BLOCK_BYTES)]  # fmt: skip
        hashes = bytearray(b"".join(hashlib.sha256(salt + block).digest() for block in blocks))
    if hashes != root:
        raise Refusal(422, "the bundle's content is not what was signed: damaged or tampered with; get it again")


def _promise(file: IO[bytes]) -> tuple[int, bytes, bytes]:
    """Return the size of the payload, and root and salt of its tree, as the signed manifest has them."""
    size_bytes = file.seek(0, 2)
    if size_bytes < BLOCK_BYTES:
        raise _no_bundle("too short")
    file.seek(-8, 2)
    (signature_bytes,) = struct.unpack(">Q", file.read(8))
    if not 0 < signature_bytes <= min(MAX_SIGNATURE_BYTES, size_bytes - 8):
        raise _no_bundle("no signature at its end; is it whole?")
    file.seek(-8 - signature_bytes, 2)
    signature = file.read(signature_bytes)
    found = {key: _one(signature, key) for key in (b"verity-hash", b"verity-salt", b"verity-size")}
    try:
        root, salt = bytes.fromhex(found[b"verity-hash"]), bytes.fromhex(found[b"verity-salt"])
        payload_bytes = size_bytes - 8 - signature_bytes - int(found[b"verity-size"])
    except ValueError:
        raise _no_bundle("its manifest cannot be read") from None
    if payload_bytes <= 0 or payload_bytes % BLOCK_BYTES or len(root) != DIGEST_BYTES:
        raise _no_bundle("its parts do not add up")
    return payload_bytes, root, salt


def _one(signature: bytes, key: bytes) -> str:
    """Return the value of a key in the manifest, which lies in the signature as plain text."""
    values = set(re.findall(rb"^" + key + rb"=([0-9a-f]{1,128})$", signature, re.MULTILINE))
    if len(values) != 1:
        raise _no_bundle("not in RAUC's verity format")
    return values.pop().decode("ascii")


def _no_bundle(why: str) -> Refusal:
    return Refusal(422, f"that is no update bundle: {why}")
