"""Public keys that a box trusts, and whether one of them signed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware.errors import EvenhandError

TRUSTED = Path(__file__).parent / "trusted_keys"
SIGNATURE_BYTES, KEY_ID_BYTES = 64, 8
MAX_KEY_FILE_BYTES = 1024
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """An ed25519 key; ``id`` is the beginning of its SHA-256, which a signature ends with."""

    name: str
    raw: bytes

    @property
    def id(self) -> bytes:
        """Return the 8 bytes by which a signature names its key."""
        return hashlib.sha256(self.raw).digest()[:KEY_ID_BYTES]


def read_key(path: Path) -> PublicKey:
    """Return the key of a ``.pub`` file.

    Raises
    ------
    EvenhandError
        When it cannot be read or holds no key.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_KEY_FILE_BYTES).decode("ascii", errors="replace")
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be read ({error.strerror}); name a public key file") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1 or not _HEX.fullmatch(lines[0]):
        raise EvenhandError(f"{path}: holds no public key; `evenhand-model key NAME` makes NAME.pub")
    return PublicKey(name=path.stem, raw=bytes.fromhex(lines[0]))


def trusted_keys(more: Sequence[Path] = ()) -> list[PublicKey]:
    """Return the keys that came with the firmware, and those of the files named."""
    return [read_key(path) for path in (*sorted(TRUSTED.glob("*.pub")), *more)]


def is_signed(content: bytes, signature: bytes, keys: Sequence[PublicKey]) -> bool:
    """Whether ``signature`` (64 bytes, then the id of its key) was made over ``content`` with one of ``keys``."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(signature) != SIGNATURE_BYTES + KEY_ID_BYTES:
        return False
    for key in keys:
        if key.id != signature[SIGNATURE_BYTES:]:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(signature[:SIGNATURE_BYTES], content)
        except (InvalidSignature, ValueError):
            continue
        return True
    return False
