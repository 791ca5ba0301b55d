"""Files of a root that is only ever a stream: named, owned, dated and sorted; the same files are the same bytes.

Nothing is unpacked onto this machine, so it needs no rights, and none of the box's programs runs here.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firmware.errors import EvenhandError

MERGED = ("bin", "lib", "sbin")  # links into /usr; a folder in their place bricks a box


@dataclass(frozen=True, kw_only=True)
class Item:
    """What stands at a path: a folder, a file, a link, or another name of a file (``is_hard``)."""

    mode: int = 0o644
    content: bytes | None = None
    link: str | None = None
    is_hard: bool = False
    uid: int = 0
    gid: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether it is one."""
        return self.content is None and self.link is None

    def member(self, name: str, epoch_s: int) -> tarfile.TarInfo:
        """Return its head in an archive."""
        member = tarfile.TarInfo(name)
        member.mode, member.uid, member.gid, member.mtime = self.mode, self.uid, self.gid, epoch_s
        if self.content is not None:
            member.size = len(self.content)
        elif self.link is not None:
            member.type, member.linkname = tarfile.LNKTYPE if self.is_hard else tarfile.SYMTYPE, self.link
        else:
            member.type = tarfile.DIRTYPE
        return member


FOLDER = Item(mode=0o755)


def text(content: str, mode: int = 0o644, *, gid: int = 0) -> Item:
    """Return a file with this text."""
    return Item(mode=mode, content=content.encode(), gid=gid)


def link(target: str) -> Item:
    """Return a symbolic link."""
    return Item(mode=0o777, link=target)


def merged_name(name: str) -> str:
    """Return where a package's path lies since /bin, /lib and /sbin are links into /usr."""
    path = name.removeprefix("./").strip("/")
    return f"usr/{path}" if path.split("/")[0] in MERGED else path


def read_deb(deb: Path) -> Iterator[tuple[str, Item]]:
    """Yield the files of a package.

    Raises
    ------
    EvenhandError
        When it is damaged.
    """
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout, tarfile.open(fileobj=process.stdout, mode="r|") as tar:
        for member in tar:
            name = merged_name(member.name)
            if not name or name == ".":
                continue
            if member.issym():
                item = link(member.linkname)
            elif member.islnk():
                item = Item(mode=member.mode, link=merged_name(member.linkname), is_hard=True)
            elif member.isreg():
                file = tar.extractfile(member)
                item = Item(mode=member.mode, content=file.read() if file else b"", uid=member.uid, gid=member.gid)
            elif member.isdir():
                item = Item(mode=member.mode, uid=member.uid, gid=member.gid)
            else:
                raise EvenhandError(f"{deb.name}: {member.name} is a device; no package of a box has one")
            yield name, item
    if process.wait() != 0:
        raise EvenhandError(f"{deb.name}: is damaged; remove it and build again")


def read_folder(folder: Path) -> Iterator[tuple[str, Item]]:
    """Yield what lies in a folder of this machine, owned by root."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            yield name, link(str(path.readlink()))
        elif path.is_dir():
            yield name, FOLDER
        else:
            yield name, Item(mode=0o755 if os.access(path, os.X_OK) else 0o644, content=path.read_bytes())


def lay_over(files: dict[str, Item], more: Iterator[tuple[str, Item]]) -> None:
    """Put files over others; a folder that is there keeps its rights, a link never becomes a folder.

    Raises
    ------
    EvenhandError
        When a file would stand where a folder is, or the other way round.
    """
    for name, item in more:
        before = files.get(name)
        if before is not None and before.is_folder != item.is_folder:
            raise EvenhandError(
                f"/{name}: is a {'folder' if before.is_folder else 'file'} in one part of the root only"
            )
        if before is None or not item.is_folder:
            files[name] = item
