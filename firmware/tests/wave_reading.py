"""Reads WAV and RF64 by the letter of EBU Tech 3285 and 3306, apart from anything that wrote them."""

from __future__ import annotations

import ctypes
import ctypes.util
import struct
from dataclasses import dataclass, field
from pathlib import Path

from firmware.errors import EvenhandError
from firmware.session_wav import find_data


@dataclass
class Wave:
    """What the header promises. ``data`` is where the audio lies: offset and size in bytes."""

    form: bytes = b""
    riff_size_bytes: int = 0
    chunks: list[bytes] = field(default_factory=list)
    fmt: tuple[int, ...] = ()
    bext: bytes = b""
    data: tuple[int, int] = (0, 0)
    ds64: tuple[int, int, int] | None = None
    cues: dict[int, int] = field(default_factory=dict)  # number, position
    labels: dict[int, str] = field(default_factory=dict)

    @property
    def markers(self) -> list[tuple[int, str]]:
        """Position and label of each cue point."""
        return [(position, self.labels[number]) for number, position in self.cues.items()]


def read(path: Path) -> Wave:
    """Return what ``path`` holds up to where RIFF ends."""
    wave = Wave()
    with path.open("rb") as file:
        wave.form, size_bytes, kind = struct.unpack("<4sI4s", file.read(12))
        assert kind == b"WAVE"
        wave.riff_size_bytes, end = size_bytes, 8 + size_bytes
        while file.tell() + 8 <= end:
            name, size_bytes = struct.unpack("<4sI", file.read(8))
            start = file.tell()
            if name == b"ds64":
                content = file.read(size_bytes)
                wave.ds64 = struct.unpack("<QQQ", content[:24])
                wave.riff_size_bytes, end = wave.ds64[0], 8 + wave.ds64[0]
            if name == b"data":
                if size_bytes == 0xFFFFFFFF and wave.ds64:
                    size_bytes = wave.ds64[1]
                wave.data = (start, size_bytes)
            elif name in _READERS:
                file.seek(start)
                _READERS[name](wave, file.read(size_bytes))
            wave.chunks.append(name)
            file.seek(start + size_bytes + size_bytes % 2)
    return wave


def _read_fmt(wave: Wave, content: bytes) -> None:
    wave.fmt = struct.unpack("<HHIIHH", content)


def _read_bext(wave: Wave, content: bytes) -> None:
    wave.bext = content


def _read_cue(wave: Wave, content: bytes) -> None:
    (count,) = struct.unpack_from("<I", content)
    assert len(content) == 4 + 24 * count
    for at in range(4, len(content), 24):
        number, position, chunk, chunk_start, block_start, offset = struct.unpack_from("<II4sIII", content, at)
        assert (chunk, chunk_start, block_start, offset) == (b"data", 0, 0, position)
        wave.cues[number] = position


def _read_list(wave: Wave, content: bytes) -> None:
    assert content[:4] == b"adtl"
    at = 4
    while at < len(content):
        name, size_bytes, number = struct.unpack_from("<4sII", content, at)
        assert name == b"labl"
        text = content[at + 12 : at + 8 + size_bytes]
        assert text[-1:] == b"\0"
        wave.labels[number] = text[:-1].decode()
        at += 8 + size_bytes + size_bytes % 2


_READERS = {b"fmt ": _read_fmt, b"bext": _read_bext, b"cue ": _read_cue, b"LIST": _read_list}


def promised(path: Path) -> tuple[int, int]:
    """Return offset and size of the audio, which must all be there; size 0 where the header promises none yet."""
    try:
        with path.open("rb") as file:
            found = find_data(path, file)
    except EvenhandError as error:
        if "promises no audio" in str(error):
            return 0, 0
        raise
    return found.offset_bytes, found.size_bytes


class _CuePoint(ctypes.Structure):
    _fields_ = (
        ("number", ctypes.c_int32), ("position", ctypes.c_uint32), ("chunk", ctypes.c_int32),
        ("chunk_start", ctypes.c_int32), ("block_start", ctypes.c_int32), ("offset", ctypes.c_uint32),
        ("label", ctypes.c_char * 256),
    )  # fmt: skip


class _Cues(ctypes.Structure):
    _fields_ = (("count", ctypes.c_uint32), ("points", _CuePoint * 100))


def cues_by_libsndfile(path: Path) -> list[tuple[int, str]]:
    """Return position and label of each cue point as libsndfile reads them, the first 100."""
    import soundfile

    lib = ctypes.CDLL(soundfile._full_path if hasattr(soundfile, "_full_path") else ctypes.util.find_library("sndfile"))
    lib.sf_open.restype = ctypes.c_void_p
    info = ctypes.create_string_buffer(64)
    handle = lib.sf_open(str(path).encode(), 0x10, info)
    assert handle, "libsndfile does not open it"
    cues = _Cues()
    get_cue = 0x10CE
    found = lib.sf_command(ctypes.c_void_p(handle), get_cue, ctypes.byref(cues), ctypes.sizeof(cues))
    lib.sf_close(ctypes.c_void_p(handle))
    return [(p.offset, p.label.decode()) for p in cues.points[: cues.count]] if found else []
