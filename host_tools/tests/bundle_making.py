"""Bundles for tests in RAUC's verity layout: payload, hash tree, signature, its length."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

BLOCK = 4096
SALT = bytes(range(32))


def make_bundle(
    path: Path, *, version: str = "0.2.0", board: str = "sim", signer: str = "ca", n_blocks: int = 600, seed: int = 1,
    notes: str = "- It is better.",
) -> Path:  # fmt: skip
    """Write a bundle whose payload is ``n_blocks`` of 4096 bytes of noise, and return its path."""
    payload = np.random.default_rng(seed).bytes(n_blocks * BLOCK)
    levels: list[bytes] = []
    level = b"".join(digest(payload[at : at + BLOCK]) for at in range(0, len(payload), BLOCK))
    while len(level) > 32:
        padded = level + b"\0" * (-len(level) % BLOCK)
        levels.insert(0, padded)
        level = b"".join(digest(padded[at : at + BLOCK]) for at in range(0, len(padded), BLOCK))
    tree = b"".join(levels)
    description = notes.replace("\n", "\\n")
    manifest = (
        f"[update]\ncompatible=evenhand-{board}\nversion={version}\ndescription={description}\n\n"
        f"[bundle]\nformat=verity\nverity-hash={level.hex()}\nverity-salt={SALT.hex()}\nverity-size={len(tree)}\n\n"
        f"[image.rootfs]\nfilename=root.img\n"
    ).encode()
    signature = b"\x04\x82" + len(manifest).to_bytes(2, "big") + manifest + f"signer={signer}\n".encode()
    path.write_bytes(payload + tree + signature + len(signature).to_bytes(8, "big"))
    return path


def digest(block: bytes) -> bytes:
    """Return the salted hash of a block."""
    return hashlib.sha256(SALT + block).digest()
