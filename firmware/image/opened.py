"""An image opened as a stranger would: with programs that have nothing to do with those that made it.

Partition table by ``sfdisk``, FAT by ``mtools``, the root by ``unsquashfs``, the data by ``e2fsck`` and ``debugfs``.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from firmware.errors import EvenhandError

from .layout import BOOT, ROOT, SELECT
from .tools import call, need

PROGRAMS = ("debugfs", "e2fsck", "mcopy", "sfdisk", "unsquashfs", "zstd")
SECTOR_BYTES = 512
LINE = re.compile(r"([-dlcbps][-rwxsStT]{9}) (\d+)/(\d+)\s+(\S+) \S+ \S+ squashfs-root(?:/(.*?))?(?: -> (.*))?")
RIGHTS = (
    ("r", 0o400), ("w", 0o200), ("x", 0o100), ("r", 0o40), ("w", 0o20), ("x", 0o10), ("r", 4), ("w", 2), ("x", 1),
)  # fmt: skip
SPECIAL = {2: stat.S_ISUID, 5: stat.S_ISGID, 8: stat.S_ISVTX}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A partition."""

    kind: str  # the table's number for it, hexadecimal
    start_bytes: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What the root says of a path, which unpacking it as anybody forgets."""

    kind: str  # - d l, or a device
    mode: int
    uid: int
    gid: int
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image, open: tables as they were read, partitions as folders."""

    file: Path
    size_bytes: int
    disk_id: str
    label: str
    parts: dict[int, Part]
    select: Path
    boot: Path
    root: Path
    listing: dict[str, Listed]
    data_check: str  # what is wrong with it, "" for nothing
    data_names: tuple[str, ...]
    record: dict[str, Any] = field(default_factory=dict)  # image.json, where it lies beside
    bill: dict[str, Any] = field(default_factory=dict)

    def partuuid(self, number: int) -> str:
        """Return how a partition is named."""
        return f"{self.disk_id}-{number:02x}"


@contextmanager
def open_image(file: Path) -> Iterator[Image]:
    """Open an image; what was unpacked goes with the context.

    Raises
    ------
    EvenhandError
        When it cannot be opened, or a program is missing.
    """
    need(*PROGRAMS)
    if not file.is_file():
        raise EvenhandError(f"{file}: is no file; name the .img of an image")
    table = json.loads(call(["sfdisk", "--json", file], f"{file.name}: partition table"))["partitiontable"]
    parts = {}
    for n, part in enumerate(table["partitions"], start=1):
        number = int(re.sub(r".*?(\d+)$", r"\1", part["node"])) if part["node"][-1:].isdigit() else n
        parts[number] = Part(
            kind=part["type"].lower(), start_bytes=part["start"] * SECTOR_BYTES, size_bytes=part["size"] * SECTOR_BYTES
        )
    missing = [n for n in (SELECT, BOOT[0], ROOT[0]) if n not in parts]
    if missing:
        raise EvenhandError(f"{file}: has no partition {missing[0]}; is it one of our images?")
    with TemporaryDirectory(prefix="evenhand-check-") as name:
        work = Path(name)
        select, boot = work / "select", work / "boot"
        for folder, number in ((select, SELECT), (boot, BOOT[0])):
            folder.mkdir()
            call(["mcopy", "-n", "-s", "-i", f"{file.resolve()}@@{parts[number].start_bytes}", "::/*", folder],
                 f"{file.name}: partition {number}", env={"MTOOLS_SKIP_CHECK": "1"})  # fmt: skip
        at = str(parts[ROOT[0]].start_bytes)
        listing = read_listing(call(["unsquashfs", "-o", at, "-lln", file], f"{file.name}: root"))
        root = work / "root"
        call(["unsquashfs", "-o", at, "-quiet", "-no-progress", "-no-xattrs", "-processors", "1", "-d", root, file],
             f"{file.name}: root")  # fmt: skip
        for folder in (path for path in root.rglob("*") if path.is_dir() and not path.is_symlink()):
            folder.chmod(0o755)  # to be read, and removed
        check, names = _data(file, parts)
        record, bill = _beside(file)
        yield Image(
            file=file, size_bytes=file.stat().st_size, disk_id=table["id"].removeprefix("0x"), label=table["label"],
            parts=parts, select=select, boot=boot, root=root, listing=listing, data_check=check, data_names=names,
            record=record, bill=bill,
        )  # fmt: skip


def read_listing(text: str) -> dict[str, Listed]:
    """Return what ``unsquashfs -lln`` printed, by path; the root itself is ""."""
    found = {}
    for line in text.splitlines():
        words = LINE.fullmatch(line)
        if words is None:
            continue
        rights, uid, gid, _size, name, target = words.groups()
        mode = sum(value for letter, (_, value) in zip(rights[1:], RIGHTS, strict=True) if letter not in "-ST")
        mode |= sum(bit for at, bit in SPECIAL.items() if rights[1 + at] in "sStT")
        found[name or ""] = Listed(kind=rights[0], mode=mode, uid=int(uid), gid=int(gid), link=target or "")
    return found


def _data(file: Path, parts: dict[int, Part]) -> tuple[str, tuple[str, ...]]:
    last = parts[max(parts)]
    place = f"{file.resolve()}?offset={last.start_bytes}"
    try:
        call(["e2fsck", "-f", "-n", place], "data partition")
    except EvenhandError as error:
        return str(error), ()
    names = re.findall(r"^/\d+/\d+/\d+/\d+/([^/]+)/", call(["debugfs", "-R", "ls -p /", place], "data partition"), re.M)
    return "", tuple(name for name in names if name not in (".", ".."))


def _beside(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    found = []
    for path in (file.with_name("image.json"), file.with_name(file.name.removesuffix(".img") + ".cdx.json")):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            found.append({})
        except (OSError, ValueError) as error:
            raise EvenhandError(f"{path}: cannot be read ({error})") from None
    return found[0], found[1]
