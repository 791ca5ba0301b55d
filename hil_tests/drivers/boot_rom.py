"""A boot ROM for emulated boxes: our reading of what a Raspberry Pi's firmware does between power and kernel.

It reads ``autoboot.txt`` from the first partition, takes and forgets the one-shot "tryboot" that the last reboot asked
for, reads ``config.txt``, kernel, first root and command line from the chosen boot partition, and tells the kernel in
the device tree which partition that was. Written from the firmware's documentation, and on purpose not from the code
of the box: both must read the same file the same way. A real board may differ.
"""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECTOR_BYTES = 512
NVRAM_BYTES = 512
AUTOBOOT_BYTES = 512  # the firmware reads no more


class RomError(Exception):
    """The disk does not boot; says why, as the firmware would with its light."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What the ROM hands over: files in a folder, and the partition they came from."""

    partition: int
    is_tryboot: bool
    kernel: Path
    first_root: Path
    command_line: str


def partition_offset_bytes(disk: Path, number: int) -> int:
    """Return where primary partition ``number`` begins.

    Raises
    ------
    RomError
        When the disk has no such partition.
    """
    with disk.open("rb") as file:
        table = file.read(SECTOR_BYTES)
    if table[510:512] != b"\x55\xaa" or not 1 <= number <= 4:
        raise RomError(f"{disk}: no partition table")
    kind, start = struct.unpack_from("<4xB3xI", table, 446 + 16 * (number - 1))
    if not kind:
        raise RomError(f"{disk}: no partition {number}")
    return int(start) * SECTOR_BYTES


def chosen_partition(autoboot: bytes, *, is_tryboot: bool) -> tuple[int, bool]:
    """Return the boot partition that ``autoboot.txt`` names, and whether the try is its own partition.

    Raises
    ------
    RomError
        When it names none.
    """
    sections: dict[str, dict[str, str]] = {"all": {}}
    now = "all"
    for line in autoboot[:AUTOBOOT_BYTES].decode("ascii", "replace").splitlines():
        text = line.split("#", 1)[0].strip()
        if text.startswith("[") and text.endswith("]"):
            now = text[1:-1]
        elif "=" in text:
            key, value = text.split("=", 1)
            sections.setdefault(now, {})[key.strip()] = value.strip()
    has_ab = sections["all"].get("tryboot_a_b") == "1"
    found = sections["all"]
    if is_tryboot and has_ab and "tryboot" in sections:
        found = {**found, **sections["tryboot"]}
    number = found.get("boot_partition", "")
    if not number.isdigit():
        raise RomError("autoboot.txt names no boot partition")
    return int(number), is_tryboot and has_ab


def take_tryboot(nvram: Path) -> bool:
    """Return whether the last reboot asked for a try, and forget it: power that fails forgets it too."""
    asked = nvram.read_bytes().startswith(b"0 tryboot") if nvram.exists() else False
    nvram.write_bytes(bytes(NVRAM_BYTES))
    return asked


def read_file(disk: Path, partition: int, name: str, into: Path) -> Path:
    """Copy a file out of a boot partition.

    Raises
    ------
    RomError
        When the partition or the file cannot be read.
    """
    at = partition_offset_bytes(disk, partition)
    target = into / Path(name).name
    target.unlink(missing_ok=True)
    done = subprocess.run(
        ["mcopy", "-n", "-i", f"{disk}@@{at}", f"::{name}", str(target)],
        capture_output=True, text=True, env={**os.environ, "MTOOLS_SKIP_CHECK": "1"},
    )  # fmt: skip
    if done.returncode != 0:
        raise RomError(f"partition {partition} has no {name} ({done.stderr.strip()[:120]})")
    return target


def start(disk: Path, nvram: Path, work: Path) -> Start:
    """Decide as the firmware does and return what to start.

    Raises
    ------
    RomError
        When there is nothing to start.
    """
    asked = take_tryboot(nvram)
    autoboot = read_file(disk, 1, "autoboot.txt", work).read_bytes()
    partition, is_tryboot = chosen_partition(autoboot, is_tryboot=asked)
    config: dict[str, str] = {}
    for line in read_file(disk, partition, "config.txt", work).read_text(encoding="ascii").splitlines():
        text = line.split("#", 1)[0].strip()
        if text.startswith("initramfs "):
            config["initramfs"] = text.split()[1]
        elif "=" in text:
            key, value = text.split("=", 1)
            config[key] = value
    return Start(
        partition=partition,
        is_tryboot=is_tryboot,
        kernel=read_file(disk, partition, config["kernel"], work),
        first_root=read_file(disk, partition, config["initramfs"], work),
        command_line=read_file(disk, partition, config["cmdline"], work).read_text(encoding="ascii").strip(),
    )
