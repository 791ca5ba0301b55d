"""What a disk is before somebody overwrites it: its size, its name, and who uses it. Reads Linux's own files."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from .errors import HostError

SECTOR_BYTES = 512  # the kernel counts in these whatever the disk's own are


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A whole disk, or a plain file that stands for one."""

    path: Path
    size_bytes: int
    is_file: bool
    title: str = ""  # maker and model
    is_removable: bool = True
    users: tuple[str, ...] = ()  # what is mounted from it, or built upon it


def look_at(path: Path, root: Path = Path("/")) -> Disk:
    """Return what there is at ``path``; ``root`` is where proc and sys lie.

    Raises
    ------
    HostError
        When it is no disk that could be written.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}; name a disk, as /dev/sdb or /dev/mmcblk0{_disks(root)}") from None
    if stat.S_ISREG(found.st_mode):
        return Disk(path=path, size_bytes=found.st_size, is_file=True)
    if not stat.S_ISBLK(found.st_mode):
        raise HostError(f"{path}: is neither a disk nor a file{_disks(root)}")
    number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    folder = root / "sys/dev/block" / number
    if (folder / "partition").exists():
        raise HostError(f"{path}: is a partition, not a disk; name {folder.resolve().parent.name}")
    if not folder.exists():
        raise HostError(f"{path}: the kernel knows no such disk")
    real = folder.resolve()
    title = " ".join(t for t in (_read(real / "device" / n) for n in ("vendor", "model", "name")) if t)
    return Disk(
        path=path, size_bytes=SECTOR_BYTES * int(_read(real / "size") or 0), is_file=False, title=title,
        is_removable=_read(real / "removable") == "1" or real.name.startswith("mmcblk"),
        users=tuple(_users(real, root)),
    )  # fmt: skip


def _users(disk: Path, root: Path) -> list[str]:
    """Return what uses the disk, its partitions, and whatever is built upon them."""
    folders, seen = [disk], dict[str, Path]()
    while folders:
        folder = folders.pop()
        number = _read(folder / "dev")
        if not number or number in seen:
            continue
        seen[number] = folder
        folders += [p for p in folder.iterdir() if (p / "partition").exists()]
        folders += [p.resolve() for p in (folder / "holders").glob("*")]
    users = [f"{folder.name} is part of it" for folder in seen.values() if folder.parent != disk and folder != disk]
    for line in _read(root / "proc/self/mountinfo").splitlines():
        words = line.split()
        if len(words) > 4 and words[2] in seen:
            users.append(f"{seen[words[2]].name} is mounted at {_unescaped(words[4])}")
    swaps = [Path(line.split()[0]).name for line in _read(root / "proc/swaps").splitlines()[1:]]
    return users + [f"{folder.name} is swap" for folder in seen.values() if folder.name in swaps]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _disks(root: Path) -> str:
    """Return the removable disks that are there, for who named a wrong one."""
    found = [
        f"/dev/{p.name}" for p in sorted((root / "sys/block").glob("*"))
        if _read(p / "size") not in ("", "0") and (_read(p / "removable") == "1" or p.name.startswith("mmcblk"))
    ]  # fmt: skip
    return f"; there are {', '.join(found)}" if found else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
