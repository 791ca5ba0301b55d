"""Writes an image onto a disk so that an interrupted card never looks like a good one, and reads all of it back.

The first block, which has the partition table, is wiped first and written last, after everything else was read back
and found right: until then nothing boots from the card. Zeros are asked of the disk where it can make them by itself.
"""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, cast

from .disks import Disk
from .errors import HostError
from .seeding import ALIGN_BYTES, BLOCK_BYTES, MARK

CHUNK_BYTES = 4 << 20
BLKZEROOUT = 0x127F  # linux/fs.h: zeros from offset, length; by the disk itself where it can
Step = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image as a file: raw, or packed with gzip or xz."""

    path: Path
    size_bytes: int  # unpacked
    data_bytes: int  # of chunks that are not all zeros
    seed_at_bytes: int | None

    def chunks(self, seed: bytes | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield offset and content of each chunk, with the seed where it belongs."""
        with opened(self.path) as file:
            at = 0
            while chunk := file.read(CHUNK_BYTES):
                if seed and self.seed_at_bytes is not None and at <= self.seed_at_bytes < at + len(chunk):
                    begin = self.seed_at_bytes - at
                    chunk = chunk[:begin] + seed + chunk[begin + len(seed) :]
                yield at, chunk
                at += len(chunk)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield the unpacked bytes of an image.

    Raises
    ------
    HostError
        When it cannot be read, or is packed and damaged.
    """
    try:
        with path.open("rb") as raw:
            magic = raw.read(6)
            raw.seek(0)
            if magic.startswith(b"\x1f\x8b"):
                yield cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
            elif magic == b"\xfd7zXZ\0":
                yield cast("IO[bytes]", lzma.LZMAFile(raw))  # noqa: SIM115  # ``raw`` is closed below
            elif magic.startswith(b"\x28\xb5\x2f\xfd"):
                raise HostError(f"{path}: is packed with zstd; unpack it first: zstd -d {path}")
            else:
                yield raw
    except (lzma.LZMAError, EOFError, gzip.BadGzipFile) as error:
        raise HostError(f"{path}: is damaged ({error}); get it again") from None


def look_through(path: Path, on_step: Callable[[int], None]) -> Image:
    """Return what the image has; reads all of it once, before anything is overwritten.

    Raises
    ------
    HostError
        When it is no image of a disk.
    """
    at, data_bytes, seed_at, first = 0, 0, None, b""
    try:
        with opened(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                first = first or chunk[:ALIGN_BYTES]
                data_bytes += len(chunk) if chunk.strip(b"\0") else 0
                found = chunk.find(MARK) if seed_at is None else -1
                if found >= 0 and found % ALIGN_BYTES == 0 and found + BLOCK_BYTES <= len(chunk):
                    seed_at = at + found
                at += len(chunk)
                on_step(at)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}; name an image (.img, .img.xz, .img.gz)") from None
    if first[510:512] != b"\x55\xaa" or at % ALIGN_BYTES:
        raise HostError(f"{path}: is no image of a disk (no partition table); name an .img")
    return Image(path=path, size_bytes=at, data_bytes=data_bytes, seed_at_bytes=seed_at)


def write(image: Image, disk: Disk, seed: bytes | None, on_step: Step) -> None:
    """Write, read back, and only then make it bootable.

    Raises
    ------
    HostError
        When the disk fails or is not what it says; what is on it does not boot then.
    """
    where = "nothing has been written yet"
    try:
        with _opened_for_writing(disk) as target:
            _put(target, 0, bytes(CHUNK_BYTES if disk.size_bytes >= CHUNK_BYTES else BLOCK_BYTES))
            os.fsync(target.fileno())
            for at, chunk in image.chunks(seed):
                where = f"at {at >> 20} MiB"
                on_step(at, "")
                if at == 0:
                    _put(target, ALIGN_BYTES, chunk[ALIGN_BYTES:])
                elif chunk.strip(b"\0") or not _zero(target, at, len(chunk)):
                    _put(target, at, chunk)
            os.fsync(target.fileno())
            _forget_cache(target)
            for at, chunk in image.chunks(seed):
                where = f"at {at >> 20} MiB, reading it back"
                on_step(at, "verify")
                begin = ALIGN_BYTES if at == 0 else 0
                if _got(target, at + begin, len(chunk) - begin) != chunk[begin:]:
                    raise HostError(
                        f"{disk.path}: gives back something else {where}: it is worn out, or smaller than it says; "
                        "take another one. It does not boot now"
                    )
            where = "at its very beginning"
            _, chunk = next(image.chunks(seed))
            _put(target, 0, chunk[:ALIGN_BYTES])
            os.fsync(target.fileno())
    except OSError as error:
        raise HostError(f"{disk.path}: {error.strerror} {where}; take another one, this does not boot now") from None
    except KeyboardInterrupt:
        raise HostError(
            f"{disk.path}: stopped by hand {where}; it does not boot now, the same command begins anew"
        ) from None


def _opened_for_writing(disk: Disk) -> FileIO:
    """Return the disk, which the kernel refuses while anything of it is in use."""
    flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | (0 if disk.is_file else os.O_EXCL)
    return FileIO(os.open(disk.path, flags), "r+b")


def _put(target: FileIO, at: int, data: bytes) -> None:
    view = memoryview(data)
    target.seek(at)
    while view:
        view = view[target.write(view) or 0 :]


def _got(target: FileIO, at: int, n_bytes: int) -> bytes:
    parts = bytearray()
    target.seek(at)
    while len(parts) < n_bytes and (data := target.read(n_bytes - len(parts))):
        parts += data
    return bytes(parts)


def _zero(target: FileIO, at: int, n_bytes: int) -> bool:
    """Have the disk write zeros by itself; False where it cannot."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target.fileno(), BLKZEROOUT, struct.pack("QQ", at, n_bytes))
    except OSError:
        return False
    return True


def _forget_cache(target: FileIO) -> None:
    """Let the kernel forget what it has just written, so that reading back reads the disk."""
    with suppress(OSError, AttributeError):
        os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
