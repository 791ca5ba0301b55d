"""The partitions of a box as files, and the whole disk put together from them, with holes where nothing is."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from board_configs.board import Board
from firmware.errors import EvenhandError
from firmware.system.boot_selection import selection_bytes
from firmware.system.partition_table import SECTOR_BYTES, Table

from . import grub
from .layout import BOOT, DATA, DATA_MIB, ROOT, SELECT, SELECT_MIB
from .platform import Platform
from .target import AMD64
from .tools import call

KERNEL, FIRST_ROOT = "kernel8.img", "initramfs.zst"
MIB = 1024 * 1024
CHUNK_BYTES = 4 * MIB
# Overwritten in place by `evenhand flash`, which finds it by its first line (host_tools/seeding.py).
SEED, SEED_MARK, SEED_BYTES = "evenhand-seed.toml", b"# evenhand seed, block of 4096 bytes, 7b1f6c0e\n", 4096
# What the kernel is told on every board; a panic restarts, so that the committed slot comes back.
COMMAND_LINE = "panic=3 quiet"


def is_pc(board: Board) -> bool:
    """Whether the board starts as a PC does: UEFI and GRUB, and no device tree."""
    return board.machine == AMD64.machine


def kernel_name(board: Board) -> str:
    """Return what the kernel is called in a boot partition."""
    return grub.KERNEL if is_pc(board) else KERNEL


def command_line(board: Board) -> str:
    """Return the kernel's command line; it is the same in both slots."""
    assert board.image is not None
    screen = ["console=tty0"] if is_pc(board) else []
    words = [*screen, f"console={board.image.console}", COMMAND_LINE]
    if board.cores.audio is not None:
        words += [f"{key}={board.cores.audio}" for key in ("isolcpus", "nohz_full", "rcu_nocbs")]
    return " ".join(words) + "\n"


def boot_files(
    board: Board, kernel: bytes, first_root: bytes, platform: Platform, more: Mapping[str, bytes],
) -> dict[str, bytes]:  # fmt: skip
    """Return what lies in a boot partition, as a Raspberry Pi's firmware, or a PC's GRUB, reads it.

    Parameters
    ----------
    more
        The platform's own: device trees, what the boot loader itself is made of.
    """
    if is_pc(board):
        return {grub.SLOT: grub.slot_text(command_line(board)).encode("ascii"), grub.KERNEL: kernel,
                grub.FIRST_ROOT: first_root, **more}  # fmt: skip
    config = (
        "# Read by the boot loader. Made by firmware/image; the next update writes it anew.\n"
        + "".join(f"{line}\n" for line in platform.config)
        + f"kernel={KERNEL}\ninitramfs {FIRST_ROOT} followkernel\ncmdline=cmdline.txt\ndtparam=watchdog=on\n"
    )
    return {
        "config.txt": config.encode("ascii"),
        "cmdline.txt": command_line(board).encode("ascii"),
        KERNEL: kernel,
        FIRST_ROOT: first_root,
        **more,
    }


def write_fat(out: Path, mib: int, label: str, files: Mapping[str, bytes], epoch_s: int) -> None:
    """Write a FAT32 partition with ``files``, the same bytes each time.

    Raises
    ------
    EvenhandError
        When they do not fit.
    """
    room = mib * MIB - mib * MIB // 50  # the tables take some
    size = sum(len(content) for content in files.values())
    if size > room:
        raise EvenhandError(f"{label}: {size / MIB:.1f} MiB do not fit into {mib} MiB; raise boot_mib of the board")
    out.unlink(missing_ok=True)
    stage = out.with_suffix(".files")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    environment = {"SOURCE_DATE_EPOCH": str(epoch_s), "MTOOLS_SKIP_CHECK": "1"}
    call(["mkfs.vfat", "-F", "32", "-s", "1", "-n", label, "--invariant", "-C", out, str(mib * 1024)],
         label, env=environment)  # fmt: skip
    folders = sorted({str(folder) for name in files for folder in Path(name).parents if str(folder) != "."})
    for folder in folders:
        call(["mmd", "-i", out, f"::{folder}"], f"{label}: {folder}", env=environment)
    for name, content in files.items():
        path = stage / Path(name).name
        path.write_bytes(content)
        os.utime(path, (epoch_s, epoch_s))
        call(["mcopy", "-m", "-i", out, path, f"::{name}"], f"{label}: {name}", env=environment)
    shutil.rmtree(stage)


def seed_block() -> bytes:
    """Return the block for what a box is told before its first start."""
    return SEED_MARK + b"#" * (SEED_BYTES - len(SEED_MARK) - 1) + b"\n"


def write_select(out: Path, epoch_s: int, loader: Mapping[str, bytes] | None = None) -> None:
    """Write the partition with the choice of the slot, slot a committed, and the seed that says nothing yet.

    Parameters
    ----------
    loader
        A PC's GRUB with what belongs to it; None on a board whose firmware chooses by itself.
    """
    choice = {"autoboot.txt": selection_bytes("a")} if loader is None else grub.select_files(dict(loader))
    write_fat(out, SELECT_MIB, "SELECT", {**choice, SEED: seed_block()}, epoch_s)


def write_data(out: Path, board: Board, epoch_s: int) -> None:
    """Write the data partition as it is before the first start: empty."""
    out.unlink(missing_ok=True)
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"evenhand:{board.name}"))
    options = f"hash_seed={name},lazy_itable_init=0,root_owner=0:0"
    call(["mke2fs", "-q", "-t", "ext4", "-L", "data", "-U", name, "-E", options, out, f"{DATA_MIB}M"], "data partition",
         env={"SOURCE_DATE_EPOCH": str(epoch_s), "E2FSPROGS_FAKE_TIME": str(epoch_s)})  # fmt: skip


def write_disk(out: Path, table: Table, *, select: Path, boot: Path, root: Path, data: Path) -> None:
    """Put the disk together: slot a filled, slot b empty.

    Raises
    ------
    EvenhandError
        When a part is larger than its partition.
    """
    places = {SELECT: select, BOOT[0]: boot, ROOT[0]: root, DATA: data}
    for number, part in places.items():
        room = table.find(number).n_sectors * SECTOR_BYTES
        if part.stat().st_size > room:
            raise EvenhandError(
                f"{part.name}: {part.stat().st_size / MIB:.0f} MiB do not fit into partition {number} of "
                f"{room / MIB:.0f} MiB; raise boot_mib or root_mib of the board"
            )
    with out.open("wb") as disk:
        disk.truncate(table.partitions[-1].end * SECTOR_BYTES)
        for number, content in table.sectors().items():
            disk.seek(number * SECTOR_BYTES)
            disk.write(content)
        for number, part in places.items():
            _copy(part, disk.fileno(), table.find(number).start * SECTOR_BYTES)


def _copy(part: Path, fd: int, at: int) -> None:
    with part.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if chunk.strip(b"\0"):
                os.pwrite(fd, chunk, at)
            at += len(chunk)
