"""What GRUB on a PC remembers: which slot is committed, and which one the next start tries once.

Its environment block: a text of fixed size that it reads at each start and can overwrite in place. Ours has one
sector, so a power cut leaves the old one or the new one. ``grub.cfg`` of the image takes ``trial`` where it is set, and
clears it before it starts anything: what does not come up is not started again.
"""

from __future__ import annotations

import re

from firmware.errors import EvenhandError

PLACE = "EFI/debian/grubenv"  # of the first partition, beside the grub.cfg that Debian's GRUB looks for
ENV_BYTES = 512  # a sector
MARK = b"# GRUB Environment Block\n"
SLOTS = ("a", "b")


def env_bytes(committed: str, trial: str = "") -> bytes:
    """Return the block that commits a slot and has another one tried at the next start; "" tries none."""
    return (MARK + f"committed={committed}\ntrial={trial}\n".encode("ascii")).ljust(ENV_BYTES, b"#")


def read_env(content: bytes) -> tuple[str, str]:
    """Return the committed slot, and the one to try or "".

    Raises
    ------
    EvenhandError
        When it commits no slot of ours.
    """
    found = dict(re.findall(rb"^(committed|trial)=([ab]?)$", content[:ENV_BYTES], re.M))
    committed, trial = (found.get(name, b"").decode() for name in (b"committed", b"trial"))
    if not content.startswith(MARK) or committed not in SLOTS:
        raise EvenhandError("grubenv: commits no slot; write the disk anew, or the file from another box")
    return committed, trial if trial != committed else ""
