"""The signer's side of a bundle: a pair of ed25519 keys in two small text files, and a signature."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from .errors import ModelError

KEY_ID_BYTES = 8
_HEX = re.compile(r"[0-9a-f]{64}")


def make_pair(stem: Path) -> tuple[Path, Path]:
    """Write ``STEM.key``, for the signer alone, and ``STEM.pub``, for every box; return both.

    Raises
    ------
    ModelError
        When one of them is there already, or the folder takes none.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = Ed25519PrivateKey.generate()
    public = secret.public_key().public_bytes_raw()
    paths = (stem.with_name(stem.name + ".key"), stem.with_name(stem.name + ".pub"))
    texts = (
        f"# {stem.name}: signs bundles; keep it to yourself\n{secret.private_bytes_raw().hex()}\n",
        f"# {stem.name}: bundles signed with {stem.name}.key\n{public.hex()}\n",
    )
    for path in paths:
        if path.exists():
            raise ModelError(f"{path}: is there already, and what it signed would be lost; take another name")
    try:
        for path, text, mode in zip(paths, texts, (0o600, 0o644), strict=True):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
                file.write(text)
    except OSError as error:
        raise ModelError(f"{stem}: cannot be written ({error.strerror}); name another place") from None
    return paths


def signature_of(content: bytes, key: Path) -> bytes:
    """Return the signature over ``content``: 64 bytes, then the 8 by which the key is known.

    Raises
    ------
    ModelError
        When the file holds no secret key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        text = key.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ModelError(f"{key}: cannot be read ({error.strerror}); `evenhand-model key NAME` makes one") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 or not _HEX.fullmatch(lines[0]) or key.suffix == ".pub":
        raise ModelError(f"{key}: is no secret key; `evenhand-model key NAME` makes NAME.key")
    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(lines[0]))
    key_id = hashlib.sha256(secret.public_key().public_bytes_raw()).digest()[:KEY_ID_BYTES]
    return secret.sign(content) + key_id
