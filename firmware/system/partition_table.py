"""The partition table of a box: an MBR with logical partitions, written with the image and grown on the first start.

Every change is the write of one sector, so that a power cut leaves the old table or the new one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Protocol

SECTOR_BYTES = 512
ALIGN_SECTORS = 2048  # 1 MiB: erase blocks of cards, and the room before a logical partition
FAT, EXTENDED, LINUX = 0x0C, 0x0F, 0x83
ESP = 0xEF  # what a PC's UEFI starts from: a FAT too
ENTRY = struct.Struct("<B3sB3sII")
NO_CHS = b"\xfe\xff\xff"  # the geometry of 1983 cannot say it: look at the sectors
SIGNATURE = b"\x55\xaa"
ENTRIES_AT, DISK_ID_AT = 446, 440
FIRST_LOGICAL = 5
MAX_LOGICAL = 16


class Sectors(Protocol):
    """A disk, or a part of it, by sector."""

    def __getitem__(self, number: int, /) -> bytes: ...


class TableError(Exception):
    """The disk has no table of this kind; says what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A partition, numbered as the kernel does; an extended one holds those from number 5 on."""

    number: int
    kind: int  # FAT, EXTENDED or LINUX
    start: int  # sectors
    n_sectors: int

    @property
    def end(self) -> int:
        """First sector behind it."""
        return self.start + self.n_sectors


@dataclass(frozen=True, kw_only=True)
class Table:
    """A disk's partitions in the order of their numbers; ``disk_id`` names it in ``PARTUUID=``."""

    disk_id: int
    partitions: tuple[Partition, ...]

    def find(self, number: int) -> Partition:
        """Return partition ``number``; KeyError without."""
        for partition in self.partitions:
            if partition.number == number:
                return partition
        raise KeyError(number)

    def sectors(self) -> dict[int, bytes]:
        """Return what the table writes: sector number and its 512 bytes, outermost first."""
        primary = [p for p in self.partitions if p.number < FIRST_LOGICAL]
        logical = [p for p in self.partitions if p.number >= FIRST_LOGICAL]
        entries = [_entry(p.kind, p.start, p.n_sectors) for p in primary]
        written = {0: _sector(entries, self.disk_id)}
        if logical:
            extended = next(p for p in primary if p.kind == EXTENDED)
            for p, after in zip(logical, [*logical[1:], None], strict=True):
                here = p.start - ALIGN_SECTORS
                entries = [_entry(p.kind, ALIGN_SECTORS, p.n_sectors)]
                if after is not None:  # counted from the extended partition, its room included
                    begin = after.start - ALIGN_SECTORS
                    entries.append(_entry(EXTENDED, begin - extended.start, after.end - begin))
                written[here] = _sector(entries)
        return written

    def grown(self, n_disk_sectors: int) -> Table:
        """Return the table with the extended and the last logical partition reaching to the end of the disk."""
        end = n_disk_sectors // ALIGN_SECTORS * ALIGN_SECTORS
        last = self.partitions[-1]
        if end <= last.end:
            return self
        grown = [replace(p, n_sectors=end - p.start) if p.kind == EXTENDED or p is last else p for p in self.partitions]
        return replace(self, partitions=tuple(grown))


def read_table(sectors: Sectors, n_disk_sectors: int) -> Table:
    """Return the table in ``sectors``, which are indexed by their number.

    Raises
    ------
    TableError
        When there is none, or it is not of our kind.
    """
    first = _checked(sectors[0], 0)
    partitions = []
    for index in range(4):
        kind, start, n_sectors = _read_entry(first, index)
        if kind:
            partitions.append(Partition(number=index + 1, kind=kind, start=start, n_sectors=n_sectors))
    extended = next((p for p in partitions if p.kind == EXTENDED), None)
    here = extended.start if extended else None
    while extended and here is not None:
        if here >= n_disk_sectors or len(partitions) > MAX_LOGICAL:
            raise TableError("the chain of its logical partitions leads nowhere")
        sector = _checked(sectors[here], here)
        kind, start, n_sectors = _read_entry(sector, 0)
        number = max(FIRST_LOGICAL, partitions[-1].number + 1)
        partitions.append(Partition(number=number, kind=kind, start=here + start, n_sectors=n_sectors))
        kind, start, _ = _read_entry(sector, 1)
        here = extended.start + start if kind else None
    if any(p.end > n_disk_sectors for p in partitions):
        raise TableError("a partition ends behind the disk")
    return Table(disk_id=struct.unpack_from("<I", first, DISK_ID_AT)[0], partitions=tuple(partitions))


def _entry(kind: int, start: int, n_sectors: int) -> bytes:
    return ENTRY.pack(0, NO_CHS, kind, NO_CHS, start, n_sectors)


def _read_entry(sector: bytes, index: int) -> tuple[int, int, int]:
    _, _, kind, _, start, n_sectors = ENTRY.unpack_from(sector, ENTRIES_AT + index * ENTRY.size)
    return kind, start, n_sectors


def _sector(entries: list[bytes], disk_id: int = 0) -> bytes:
    head = bytes(DISK_ID_AT) + struct.pack("<IH", disk_id, 0)
    return head + b"".join(entries).ljust(4 * ENTRY.size, b"\0") + SIGNATURE


def _checked(sector: bytes, number: int) -> bytes:
    if len(sector) != SECTOR_BYTES or sector[-2:] != SIGNATURE:
        raise TableError(f"sector {number} holds no partition table")
    return sector
