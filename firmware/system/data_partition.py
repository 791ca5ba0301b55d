"""Lets the data partition of a box reach to the end of its disk; runs at each start, before the partition is mounted.

The file system in it follows when it is mounted (``x-systemd.growfs``). Three sectors are written, the outer ones
first: after a power cut between them the next start goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from firmware.errors import EvenhandError

from .partition_table import DISK_ID_AT, SECTOR_BYTES, Partition, Table, TableError, read_table


class _Disk:
    """A disk by sectors."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.n_sectors = os.lseek(self._fd, 0, os.SEEK_END) // SECTOR_BYTES

    def __getitem__(self, number: int) -> bytes:
        return os.pread(self._fd, SECTOR_BYTES, number * SECTOR_BYTES)

    def __setitem__(self, number: int, content: bytes) -> None:
        os.pwrite(self._fd, content, number * SECTOR_BYTES)
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def grow(path: Path) -> Partition | None:
    """Let the last partition of the disk ``path`` reach to its end; return it where anything was written.

    Raises
    ------
    EvenhandError
        When the disk cannot be written or has no table of ours.
    """
    try:
        disk = _Disk(path)
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be opened ({error.strerror}); run it as root") from None
    try:
        table = read_table(disk, disk.n_sectors)
        grown = table.grown(disk.n_sectors)
        changed = _changed(disk, grown)
        if any(number in changed for number in _changed(disk, table)):  # neither the old one nor, after a cut, the new
            raise TableError("its partition table was not made by us")
        for number, content in changed.items():
            disk[number] = content
        return grown.partitions[-1] if changed else None
    except TableError as error:
        raise EvenhandError(f"{path}: {error}; is it a disk of ours?") from None
    except OSError as error:
        raise EvenhandError(f"{path}: {error.strerror}; is the card dying?") from None
    finally:
        disk.close()


def _changed(disk: _Disk, table: Table) -> dict[int, bytes]:
    """Return the sectors that ``table`` writes differently; what lies before its entries is left alone."""
    wanted = {n: disk[n][:DISK_ID_AT] + content[DISK_ID_AT:] for n, content in table.sectors().items()}
    return {n: content for n, content in wanted.items() if content != disk[n]}


def disk_of(partition: Path) -> Path:
    """Return the disk that a partition lies on.

    Raises
    ------
    EvenhandError
        When it is no partition.
    """
    device = partition.resolve()
    above = Path("/sys/class/block", device.name).resolve().parent
    if not (above / "device").exists():
        raise EvenhandError(f"{partition}: is no partition of a disk")
    return Path("/dev", above.name)


def tell_kernel(disk: Path, partition: Partition) -> None:
    """Let the kernel know how long a partition is now. Only that one: what is mounted meanwhile keeps its device.

    Raises
    ------
    EvenhandError
        When the kernel does not take it.
    """
    words = ["resizepart", str(disk), str(partition.number), str(partition.n_sectors)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise EvenhandError(f"{disk}: the kernel keeps the old table ({done.stderr.strip()[:120]}); restart")


def main(argv: list[str] | None = None) -> int:
    """Grow it and tell the kernel; return 0, or 1 when that was refused."""
    parser = argparse.ArgumentParser(prog="python -m firmware.system.data_partition", description=__doc__)
    parser.add_argument("partition", type=Path, help="the data partition, as /dev/disk/by-partuuid/190f0b35-07")
    options = parser.parse_args(argv)
    try:
        disk = disk_of(options.partition)
        if grown := grow(disk):
            tell_kernel(disk, grown)
            print(f"{options.partition}: now reaches to the end of {disk}")
    except EvenhandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
