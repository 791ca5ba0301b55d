"""Writes a cpio archive of the form that Linux unpacks as its first root ("newc"), the same bytes each time.

Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = "070701"
END = "TRAILER!!!"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What stands at a path. ``content``: of a file, or where a link leads."""

    mode: int  # kind and rights
    content: bytes = b""

    @staticmethod
    def folder() -> Entry:
        """Return a folder."""
        return Entry(mode=stat.S_IFDIR | 0o755)

    @staticmethod
    def file(content: bytes, *, is_program: bool = False) -> Entry:
        """Return a file."""
        return Entry(mode=stat.S_IFREG | (0o755 if is_program else 0o644), content=content)

    @staticmethod
    def link(target: str) -> Entry:
        """Return a symbolic link."""
        return Entry(mode=stat.S_IFLNK | 0o777, content=target.encode())


def archive(entries: Mapping[str, Entry], epoch_s: int) -> bytes:
    """Return the archive of ``entries`` by path, without a leading slash; missing folders are added."""
    every = dict(entries)
    for path in entries:
        parts = path.split("/")[:-1]
        for n in range(len(parts)):
            every.setdefault("/".join(parts[: n + 1]), Entry.folder())
    written = [_record(path, every[path], inode, epoch_s) for inode, path in enumerate(sorted(every), start=1)]
    written.append(_record(END, Entry(mode=0), 0, 0))
    content = b"".join(written)
    return content + bytes(-len(content) % 512)


def _record(path: str, entry: Entry, inode: int, epoch_s: int) -> bytes:
    name = path.encode() + b"\0"
    n_links = 2 if stat.S_ISDIR(entry.mode) else 1
    numbers = (inode, entry.mode, 0, 0, n_links, epoch_s, len(entry.content), 0, 0, 0, 0, len(name), 0)
    head = (MAGIC + "".join(f"{number:08X}" for number in numbers)).encode() + name
    return head + bytes(-len(head) % 4) + entry.content + bytes(-len(entry.content) % 4)
