"""Where everything lies on the disk of a box: one partition to choose a slot, two slots of boot and root, and the data.

    1 select   which slot is committed; a PC's GRUB    2, 3 boot  kernel, first root, command line of a and b
    5, 6 root  read-only system of slots a and b       7 data     settings, scenes, recordings; grows to the end

The table is an MBR: the boot loader of a Raspberry Pi does not try another slot from a GPT, and UEFI reads both.
"""

from __future__ import annotations

import hashlib

from board_configs.board import Board
from firmware.errors import EvenhandError
from firmware.system.partition_table import ALIGN_SECTORS, ESP, EXTENDED, FAT, LINUX, Partition, Table

from .target import AMD64

SELECT, BOOT, ROOT, DATA = 1, (2, 3), (5, 6), 7
SELECT_MIB = 40  # FAT32 has at least 33 MiB, and a boot loader reads nothing older
DATA_MIB = 64  # until the first start
MIB_SECTORS = ALIGN_SECTORS
MAX_SECTORS = 2**32


def table_of(board: Board) -> Table:
    """Return the partition table of a board's image, data last and small.

    Raises
    ------
    EvenhandError
        When the board has no image, or its slots are too large for an MBR.
    """
    image = board.image
    if image is None:
        raise EvenhandError(f"{board.path.name}: has no [image]; see board_configs/README.md for its keys")
    partitions = []
    at = MIB_SECTORS

    def add(number: int, kind: int, mib: int) -> None:
        nonlocal at
        partitions.append(Partition(number=number, kind=kind, start=at, n_sectors=mib * MIB_SECTORS))
        at += mib * MIB_SECTORS

    add(SELECT, ESP if board.machine == AMD64.machine else FAT, SELECT_MIB)
    for number in BOOT:
        add(number, FAT, image.boot_mib)
    logical = ((ROOT[0], image.root_mib), (ROOT[1], image.root_mib), (DATA, DATA_MIB))
    extended_mib = sum(mib + 1 for _, mib in logical)  # each with room before it for its own entry
    partitions.append(Partition(number=4, kind=EXTENDED, start=at, n_sectors=extended_mib * MIB_SECTORS))
    for number, mib in logical:
        at += MIB_SECTORS
        add(number, LINUX, mib)
    if at >= MAX_SECTORS:
        raise EvenhandError(f"{board.path.name}: slots of that size do not fit; make boot_mib or root_mib smaller")
    return Table(disk_id=disk_id(board), partitions=tuple(partitions))


def disk_id(board: Board) -> int:
    """Return the number that names the disk of a board's image: the same for every image of it."""
    return int.from_bytes(hashlib.sha256(f"evenhand {board.name}".encode()).digest()[:4], "big") | 1


def partition_id(board: Board, number: int) -> str:
    """Return how the kernel names a partition: its ``PARTUUID``."""
    return f"{disk_id(board):08x}-{number:02x}"
