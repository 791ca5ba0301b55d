"""What a firmware bundle says of itself, without RAUC: its manifest lies in the signature at its end.

Nothing here is trusted: the box checks the signature before it takes anything. Layout of RAUC's "verity" format:
payload, hash tree, signature (CMS with the manifest in it), length of the signature in 8 bytes.
"""

from __future__ import annotations

import configparser
import hashlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from .errors import HostError

MAX_SIGNATURE_BYTES = 64 * 1024
READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """A bundle on this laptop."""

    path: Path
    size_bytes: int
    version: str
    compatible: str
    notes: str
    images: tuple[str, ...]

    @property
    def board(self) -> str:
        """The board it is for."""
        return self.compatible.removeprefix("evenhand-")

    def sha256(self) -> str:
        """Return the digest of the whole file; reads it once."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read_bundle(path: Path) -> BundleFile:
    """Return what the file says.

    Raises
    ------
    HostError
        When it is no bundle.
    """
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(max(0, size_bytes - 8))
            tail = file.read(8)
            n_bytes = struct.unpack(">Q", tail)[0] if len(tail) == 8 else 0
            if not 0 < n_bytes <= min(MAX_SIGNATURE_BYTES, size_bytes - 8):
                raise HostError(f"{path}: is no firmware bundle, or not all of one; get it again")
            file.seek(size_bytes - 8 - n_bytes)
            signature = file.read(n_bytes)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}; name a bundle (.raucb)") from None
    manifest = _manifest(signature, path)
    update = manifest["update"]
    return BundleFile(
        path=path, size_bytes=size_bytes, version=update.get("version", "?"), compatible=update.get("compatible", "?"),
        notes=_text(update.get("description", "")),
        images=tuple(name.removeprefix("image.") for name in manifest.sections() if name.startswith("image.")),
    )  # fmt: skip


def _manifest(signature: bytes, path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(_octets(signature, signature.index(b"[update]")).decode("utf-8"))
        if parser.has_section("update"):
            return parser
    except (ValueError, configparser.Error):
        pass
    raise HostError(f"{path}: is no firmware bundle in RAUC's verity format; get it again")


def _octets(der: bytes, begin: int) -> bytes:
    """Return the content of the OCTET STRING that begins there (X.690, 8.1.3: its length stands before it)."""
    for n_length_bytes in (2, 3, 1, 0):
        head = der[max(0, begin - 2 - n_length_bytes) : begin]
        if head[:1] == b"\x04" and (n_length_bytes == 0 or head[1:2] == bytes([0x80 | n_length_bytes])):
            length = int.from_bytes(head[2:] if n_length_bytes else head[1:], "big")
            return der[begin : begin + length]
    raise ValueError("no octet string")


def _text(value: str) -> str:
    r"""Return a value of a manifest as it is meant: GLib writes line breaks as ``\n``."""
    swaps = {"n": "\n", "t": "\t", "s": " ", "\\": "\\", "r": ""}
    return re.sub(r"\\(.?)", lambda found: swaps.get(found[1], ""), value, flags=re.DOTALL)
