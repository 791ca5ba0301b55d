"""What a compiled file says about itself: for which processor, and which libraries it needs.

Format: System V ABI, chapters 4 and 5; 64 bits, least significant byte first, as all our processors are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"\x7fELF\x02\x01"
MACHINES = {62: "x86_64", 183: "aarch64"}
LOAD, DYNAMIC = 1, 2
NEEDED, STRINGS, SONAME, RPATH, RUNPATH = 1, 5, 14, 15, 29


@dataclass(frozen=True, kw_only=True)
class Elf:
    """A program or library."""

    machine: str
    needed: tuple[str, ...]
    run_path: tuple[str, ...]
    is_static: bool  # needs no loader: a program that runs alone


def read_elf(content: bytes) -> Elf | None:
    """Return what a file says; None where it is no compiled file, or one of another kind, such as a kernel module.

    Raises
    ------
    ValueError
        When it is cut off.
    """
    if not content.startswith(MAGIC):
        return None
    try:
        kind, machine = struct.unpack_from("<2H", content, 16)
        if kind not in (2, 3):
            return None
        (headers_at,) = struct.unpack_from("<Q", content, 32)
        size, n_headers = struct.unpack_from("<2H", content, 54)
        segments = [struct.unpack_from("<2I6Q", content, headers_at + n * size) for n in range(n_headers)]
        entries = _dynamic(content, segments)
        at = next((_offset(segments, value) for tag, value in entries if tag == STRINGS), 0)
        texts = [(tag, content[at + value : content.index(b"\0", at + value)].decode()) for tag, value in entries
                 if tag in (NEEDED, RPATH, RUNPATH)]  # fmt: skip
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"is cut off, or damaged ({error})") from None
    return Elf(
        machine=MACHINES.get(machine, f"processor {machine}"),
        needed=tuple(text for tag, text in texts if tag == NEEDED),
        run_path=tuple(part for tag, text in texts if tag != NEEDED for part in text.split(":")),
        is_static=not entries,
    )


def _dynamic(content: bytes, segments: list[tuple[int, ...]]) -> list[tuple[int, int]]:
    for kind, _flags, offset, _address, _physical, size, *_ in segments:
        if kind == DYNAMIC:
            pairs = [struct.unpack_from("<2Q", content, offset + n) for n in range(0, size - 15, 16)]
            return [(tag, value) for tag, value in pairs if tag]
    return []


def _offset(segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _flags, offset, begin, _physical, size, *_ in segments:
        if kind == LOAD and begin <= address < begin + size:
            return offset + address - begin
    raise ValueError("has its names nowhere")
