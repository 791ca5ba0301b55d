"""What a box was told before its first start: a small file that `evenhand flash` writes into the image."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from pathlib import Path

from .pairing import CODE_LENGTH, normal

MAX_SIZE_BYTES = 4096
MAX_NAME_LENGTH = 63  # of a host name, RFC 1123


@dataclass(frozen=True, kw_only=True)
class Seed:
    """None where nothing was said."""

    name: str | None = None
    pairing_code: str | None = None
    address: str | None = None  # with the length of its prefix
    gateway: str | None = None
    dns: str | None = None


def read_seed(path: Path | None) -> Seed:
    """Return what the file says; what cannot be read says nothing: a box starts whatever stands there."""
    if path is None:
        return Seed()
    try:
        with path.open("rb") as file:
            told = tomllib.loads(file.read(MAX_SIZE_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return Seed()
    name, code = told.get("name"), told.get("pairing_code")
    address = _read(ip_interface, told.get("address"))
    return Seed(
        name=name if isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable() else None,
        pairing_code=code if isinstance(code, str) and len(normal(code)) == CODE_LENGTH else None,
        address=address if address and "/" in str(told["address"]) else None,
        gateway=_read(ip_address, told.get("gateway")),
        dns=_read(ip_address, told.get("dns")),
    )


def _read(kind: Callable[[str], object], text: object) -> str | None:
    try:
        return str(kind(text)) if isinstance(text, str) else None
    except ValueError:
        return None
