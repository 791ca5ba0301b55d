"""Scenes and recordings, by name: whatever somebody calls them, nothing outside their folders is ever opened."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ..atomic import Outputs
from ..control.scenes import MAX_SIZE_BYTES, read_scene
from ..errors import EvenhandError
from .http import Answer
from .refusal import Refusal

SCENE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9 ._-]{0,79}")
PART_NAME = re.compile(r"[^/\0]{1,200}")
MAX_SCENES = 300
MAX_LISTED = 1000
READ_BYTES = 256 * 1024


class Scenes:
    """The scenes that are kept on this box, a TOML file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listed(self) -> list[dict[str, Any]]:
        """Return names and sizes."""
        paths = sorted(self._folder.glob("*.toml"))[:MAX_LISTED]
        return [{"name": p.stem, "size_bytes": p.stat().st_size} for p in paths if p.is_file() and not p.is_symlink()]

    def get(self, name: str) -> str:
        """Return the text of a scene."""
        path = self._path(name)
        if not path.is_file() or path.is_symlink():
            raise Refusal(404, f"no scene {name[:80]!r} on this box; `evenhand scene list` names them")
        with path.open("rb") as file:
            return file.read(MAX_SIZE_BYTES).decode("utf-8", "replace")

    def put(self, name: str, text: bytes) -> None:
        """Keep a scene that this box can use; one of the same name is replaced."""
        path = self._path(name)
        if len(self.listed()) >= MAX_SCENES and not path.exists():
            raise Refusal(507, f"{MAX_SCENES} scenes are kept; delete one first")
        with Outputs() as outputs:
            outputs.make_folder(self._folder)
            part = outputs.stage(path)
            part.chmod(0o660)
            part.write_bytes(text)
            try:
                read_scene(part)
            except EvenhandError as error:
                raise Refusal(422, str(error).removeprefix(f"{part}: ")) from None
            outputs.commit()

    def delete(self, name: str) -> None:
        """Forget a scene."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise Refusal(404, f"no scene {name[:80]!r} on this box") from None

    def _path(self, name: str) -> Path:
        if not SCENE_NAME.fullmatch(name):
            raise Refusal(400, f"{name[:80]!r} is no name of a scene: letters, digits, space, dot, dash; 80 at most")
        return self._folder / f"{name}.toml"


class Recordings:
    """What the recorder left, a folder each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listed(self) -> list[dict[str, Any]]:
        """Return the recordings, newest first, with their files."""
        try:
            folders = [p for p in self._folder.iterdir() if p.is_dir() and not p.is_symlink()]
        except OSError:
            return []
        return [
            {"name": p.name, "files": [{"name": f.name, "size_bytes": f.stat().st_size} for f in sorted(p.iterdir())
             if f.is_file() and not f.is_symlink() and not f.name.startswith(".")]}
            for p in sorted(folders, key=lambda p: p.name, reverse=True)[:MAX_LISTED]
        ]  # fmt: skip

    def answer(self, recording: str, name: str, byte_range: str | None) -> Answer:
        """Return a file, or what a Range header asks of it."""
        for part in (recording, name):
            if not PART_NAME.fullmatch(part) or part.startswith("."):
                raise Refusal(400, f"{part[:80]!r} is no name in a recording")
        try:
            folder = os.open(self._folder / recording, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError:
            raise Refusal(404, f"no {name[:80]} in {recording[:80]}; `evenhand record list` names them") from None
        return ranged_answer(fd, byte_range)


def ranged_answer(fd: int, byte_range: str | None) -> Answer:
    """Return an open file, or what a Range header asks of it; ``fd`` is closed with the answer."""
    size_bytes = os.fstat(fd).st_size
    try:
        first, last = _span(byte_range, size_bytes)
    except BaseException:
        os.close(fd)
        raise
    headers = {"accept-ranges": "bytes"}
    if byte_range:
        headers["content-range"] = f"bytes {first}-{last}/{size_bytes}"
    return Answer(
        status=206 if byte_range else 200, data=_parts(fd, first, last + 1 - first), size_bytes=last + 1 - first,
        headers=headers,
    )  # fmt: skip


def _span(byte_range: str | None, size_bytes: int) -> tuple[int, int]:
    """Return the first and the last byte of a single range (RFC 9110, 14.1.2)."""
    if byte_range is None:
        return 0, size_bytes - 1
    found = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})", byte_range.strip())
    if found is None:
        raise Refusal(416, "Range: bytes=FIRST- or bytes=FIRST-LAST", size_bytes=size_bytes)
    first, last = int(found[1]), min(int(found[2] or size_bytes), size_bytes - 1)
    if not first <= last:
        raise Refusal(416, f"the file has {size_bytes} bytes", size_bytes=size_bytes)
    return first, last


async def _parts(fd: int, first: int, n_bytes: int) -> AsyncIterator[bytes]:
    try:
        while n_bytes > 0:
            data = await asyncio.to_thread(os.pread, fd, min(READ_BYTES, n_bytes), first)
            if not data:  # it became shorter while it was sent
                raise ConnectionError("the file has ended")
            first, n_bytes = first + len(data), n_bytes - len(data)
            yield data
    finally:
        os.close(fd)
