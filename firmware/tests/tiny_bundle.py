"""The committed bundle of tiny networks, signed anew for the contract of the day; and ways to spoil it.

``model_compression/tests/tiny_run.py`` says how ``fixtures/tiny.bundle`` is made again. Its secret key is here for
tests alone; no box trusts it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from dsp_kernels.contract.archive import pack, unpack
from dsp_kernels.contract.generated.contract import CONTRACT_ID
from firmware.inference.bundle import MANIFEST, SIGNATURE, Bundle, parse_bundle
from firmware.inference.keys import PublicKey, read_key

FIXTURES = Path(__file__).parent / "fixtures"
PUBLIC = FIXTURES / "tiny.pub"


def tiny_key() -> PublicKey:
    """Return the public key of the tests."""
    return read_key(PUBLIC)


def signature(manifest: bytes, secret: bytes | None = None) -> bytes:
    """Return a signature by the tests' key, or by another secret."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    own = bytes.fromhex((FIXTURES / "tiny.key").read_text().splitlines()[-1])
    key = Ed25519PrivateKey.from_private_bytes(secret or own)
    return key.sign(manifest) + hashlib.sha256(key.public_key().public_bytes_raw()).digest()[:8]


def tiny_files() -> dict[str, bytes]:
    """Return the files of the bundle under this build's contract, signed."""
    files = unpack((FIXTURES / "tiny.bundle").read_bytes())
    return signed(changed(files, {r'contract_id = "\w+"': f'contract_id = "{CONTRACT_ID}"'}))


def changed(files: Mapping[str, bytes], replacements: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files with patterns replaced in ``model.toml``; each must be there."""
    text = files[MANIFEST].decode()
    for pattern, replacement in replacements.items():
        text, n = re.subn(pattern, replacement, text)
        assert n, f"{pattern} is not in model.toml"
    return {**files, MANIFEST: text.encode()}


def digested(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files with the digests of what they hold."""
    text = files[MANIFEST].decode()
    head, _, _ = text.partition("\n[files]\n")
    rows = [f'"{n}" = "{hashlib.sha256(c).hexdigest()}"' for n, c in files.items() if n not in (MANIFEST, SIGNATURE)]
    return {**files, MANIFEST: "\n".join([head, "[files]", *rows, ""]).encode()}


def signed(files: Mapping[str, bytes], secret: bytes | None = None) -> dict[str, bytes]:
    """Return the files with a signature that holds."""
    return {**files, SIGNATURE: signature(files[MANIFEST], secret)}


def tiny_data(**replacements: str) -> bytes:
    """Return the bytes of a bundle that this build takes."""
    return pack(signed(changed(tiny_files(), replacements))) if replacements else pack(tiny_files())


def tiny_bundle() -> Bundle:
    """Return the bundle, read."""
    return parse_bundle(tiny_data(), [tiny_key()])


def half_of(files: Mapping[str, bytes], precision: str) -> dict[str, bytes]:
    """Return the files of one precision alone, signed: half as much to try."""
    blocks = files[MANIFEST].decode().split("\n\n")
    kept = [b for b in blocks if not b.startswith("[[net]]") or f'precision = "{precision}"' in b]
    other = "f16" if precision == "int8" else "int8"
    fewer = {name: content for name, content in files.items() if other not in name}
    return signed(digested({**fewer, MANIFEST: "\n\n".join(kept).encode()}))


def write_tiny(folder: Path, precision: str | None = None) -> Path:
    """Write the bundle, or one precision of it, and return its path."""
    path = folder / "tiny.bundle"
    path.write_bytes(pack(half_of(tiny_files(), precision)) if precision else tiny_data())
    return path
