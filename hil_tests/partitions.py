"""Where the partitions of a box's card lie, logical ones too: read from its table, as any computer would."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

SECTOR_BYTES = 512
EXTENDED = (0x05, 0x0F)
FIRST_LOGICAL = 5


@dataclass(frozen=True, kw_only=True)
class Extent:
    """A partition's place on the card."""

    start_bytes: int
    size_bytes: int


def extents(disk: Path) -> dict[int, Extent]:
    """Return the partitions by number."""
    found: dict[int, Extent] = {}
    with disk.open("rb") as file:

        def entries(at: int) -> list[tuple[int, int, int]]:
            file.seek(at * SECTOR_BYTES)
            sector = file.read(SECTOR_BYTES)
            return [struct.unpack_from("<4xB3xII", sector, 446 + 16 * n) for n in range(4)]

        extended = 0
        for number, (kind, start, length) in enumerate(entries(0), 1):
            if kind in EXTENDED:
                extended = start
            elif kind:
                found[number] = _extent(start, length)
        at, number = extended, FIRST_LOGICAL
        while at:  # each logical partition has a table of its own: itself, and the next table
            (kind, start, length), (more, following, _) = entries(at)[:2]
            found[number] = _extent(at + start, length)
            at, number = (extended + following if more else 0), number + 1
    return found


def _extent(start: int, length: int) -> Extent:
    return Extent(start_bytes=start * SECTOR_BYTES, size_bytes=length * SECTOR_BYTES)
