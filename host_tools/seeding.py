"""What a box is told before its first start, written into its image without knowing the file system.

The image has a file of one block of 4096 bytes that begins with a line nobody else has; it is overwritten where it
lies. The agent reads it (firmware/update/seed.py).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from .device import ALPHABET, CODE_LENGTH
from .errors import HostError

MARK = b"# evenhand seed, block of 4096 bytes, 7b1f6c0e\n"
BLOCK_BYTES = 4096
ALIGN_BYTES = 512
HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Seed:
    """None: the box decides by itself."""

    name: str | None = None
    pairing_code: str | None = None
    address: str | None = None  # as 10.0.0.5/24; DHCP without
    gateway: str | None = None
    dns: str | None = None

    def block(self) -> bytes:
        """Return the 4096 bytes.

        Raises
        ------
        HostError
            When something in it cannot be.
        """
        if self.name is not None and not HOST_NAME.fullmatch(self.name):
            raise HostError(f"--name {self.name!r}: letters, digits and dashes, at most 63; not a dash at either end")
        _check("--address", ip_interface, self.address)
        if self.address is not None and "/" not in self.address:
            raise HostError(f"--address {self.address}: with the length of its prefix, as {self.address}/24")
        for option, given in (("--gateway", self.gateway), ("--dns", self.dns)):
            _check(option, ip_address, given)
            if given and not self.address:
                raise HostError(f"{option}: goes with --address; without one the network says it (DHCP)")
        lines = vars(self)
        text = MARK + "".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items() if v is not None).encode()
        return text + b"#" * (BLOCK_BYTES - len(text) - 1) + b"\n"


def _check(option: str, kind: Callable[[str], object], text: str | None) -> None:
    try:
        if text is not None:
            kind(text)
    except ValueError:
        raise HostError(f"{option} {text!r}: is no address") from None


def new_code() -> str:
    """Return a pairing code by chance."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    return f"{code[:4]}-{code[4:]}"
