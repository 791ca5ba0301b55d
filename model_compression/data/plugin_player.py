"""A player of instruments that are LV2 plug-ins: notes and the positions of its knobs in, sound out."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from model_compression.data.composer_song import Note
from model_compression.data.ingredients import MissingIngredient
from model_compression.data.performance import SAMPLE_RATE_HZ

BLOCK_FRAMES = 256
_MAP = b"http://lv2plug.in/ns/ext/urid#map"
_SEQUENCE = b"http://lv2plug.in/ns/ext/atom#Sequence"
_MIDI = b"http://lv2plug.in/ns/ext/midi#MidiEvent"
_NOTE_ON, _NOTE_OFF = 0x90, 0x80
_pointer = ctypes.c_void_p
_Mapped = ctypes.CFUNCTYPE(ctypes.c_uint32, _pointer, ctypes.c_char_p)


class _Feature(ctypes.Structure):
    _fields_ = (("uri", ctypes.c_char_p), ("data", _pointer))


class _Map(ctypes.Structure):
    _fields_ = (("handle", _pointer), ("map", _Mapped))


class _Descriptor(ctypes.Structure):
    """``LV2_Descriptor`` of ``lv2/core/lv2.h``."""

    _fields_ = (
        ("uri", ctypes.c_char_p),
        ("instantiate", ctypes.CFUNCTYPE(_pointer, _pointer, ctypes.c_double, ctypes.c_char_p, _pointer)),
        ("connect_port", ctypes.CFUNCTYPE(None, _pointer, ctypes.c_uint32, _pointer)),
        ("activate", ctypes.CFUNCTYPE(None, _pointer)),
        ("run", ctypes.CFUNCTYPE(None, _pointer, ctypes.c_uint32)),
        ("deactivate", ctypes.CFUNCTYPE(None, _pointer)),
        ("cleanup", ctypes.CFUNCTYPE(None, _pointer)),
        ("extension_data", _pointer),
    )


_known: dict[bytes, int] = {}


def _number(uri: bytes) -> int:
    """Return the number that a word goes by between plug-in and player."""
    return _known.setdefault(uri, len(_known) + 1)


_map = _Map(None, _Mapped(lambda _handle, uri: _number(uri)))
_features = (ctypes.POINTER(_Feature) * 2)(  # the second is null and ends them
    ctypes.pointer(_Feature(_MAP, ctypes.cast(ctypes.pointer(_map), _pointer)))
)


@contextmanager
def _loaded(path: str) -> Iterator[_Descriptor]:
    """Load a plug-in and let go of it: some write into their own recordings whenever they start."""
    try:
        library = ctypes.CDLL(path)
        library.lv2_descriptor.restype, library.lv2_descriptor.argtypes = _pointer, [ctypes.c_uint32]
        found = library.lv2_descriptor(0)
    except (OSError, AttributeError) as error:
        raise MissingIngredient(f"{path} is no plug-in that can be played ({error}); apt install mda-lv2") from None
    try:
        yield _Descriptor.from_address(found)
    finally:
        ctypes.CDLL(None).dlclose(_pointer(library._handle))


def render(path: str, knobs: tuple[float, ...], notes: tuple[Note, ...], n_frames: int) -> NDArray[np.float32]:
    """Play notes on a plug-in whose first ports are its knobs, followed by left, right, and what is played.

    Parameters
    ----------
    knobs
        Where each stands.

    Returns
    -------
    ``(n_frames, 2)`` float32. The same notes and knobs give the same bytes whatever was played before.

    Raises
    ------
    MissingIngredient
        Where there is no such plug-in.
    """
    with _loaded(path) as plugin:
        return _played(plugin, np.array(knobs, np.float32), notes, n_frames)


def _played(
    plugin: _Descriptor, positions: NDArray[np.float32], notes: tuple[Note, ...], n_frames: int
) -> NDArray[np.float32]:
    n_blocks = n_frames // BLOCK_FRAMES + 1
    out = np.zeros((2, n_blocks * BLOCK_FRAMES), np.float32)
    contents = _contents(_events(notes, n_blocks * BLOCK_FRAMES), n_blocks)
    played = np.zeros(max(map(len, contents)) // 8, np.uint64)  # in words of eight bytes, as its events are aligned
    handle = plugin.instantiate(ctypes.addressof(plugin), float(SAMPLE_RATE_HZ), b"", ctypes.addressof(_features))
    if not handle:
        raise MissingIngredient(f"{plugin.uri.decode()} does not start; apt install --reinstall mda-lv2")
    for port in range(len(positions)):
        plugin.connect_port(handle, port, positions.ctypes.data + 4 * port)
    plugin.connect_port(handle, len(positions) + 2, played.ctypes.data)
    if plugin.activate:  # both of these are optional
        plugin.activate(handle)
    for block, content in enumerate(contents):
        played[: len(content) // 8] = np.frombuffer(content, np.uint64)
        for side in (0, 1):
            place = out[side].ctypes.data + out.itemsize * block * BLOCK_FRAMES
            plugin.connect_port(handle, len(positions) + side, place)
        plugin.run(handle, BLOCK_FRAMES)
    if plugin.deactivate:
        plugin.deactivate(handle)
    plugin.cleanup(handle)
    return np.ascontiguousarray(out[:, :n_frames].T)


def _events(notes: tuple[Note, ...], n_frames: int) -> list[tuple[int, bytes]]:
    events = []
    for note in notes:
        pitch, length_s = round(note.pitch), note.length_s * (0.45 if note.articulation == "staccato" else 1.0)
        begin, end = round(note.begin_s * SAMPLE_RATE_HZ), round((note.begin_s + length_s) * SAMPLE_RATE_HZ)
        if begin < n_frames and 0 <= pitch <= 127:
            loud = max(1, min(127, round(127 * note.velocity)))
            events.append((begin, bytes((_NOTE_ON, pitch, loud))))
            events.append((max(begin + 1, min(end, n_frames - 1)), bytes((_NOTE_OFF, pitch, 0))))
    return sorted(events)


def _contents(events: list[tuple[int, bytes]], n_blocks: int) -> list[bytes]:
    """Return what the plug-in is told in each block."""
    due: list[list[tuple[int, bytes]]] = [[] for _ in range(n_blocks)]
    for at, message in events:
        due[at // BLOCK_FRAMES].append((at % BLOCK_FRAMES, message))
    return [_sequence(told) for told in due]


def _sequence(events: list[tuple[int, bytes]]) -> bytes:
    """Return an ``LV2_Atom_Sequence`` of ``lv2/atom/atom.h``; times are in frames."""
    midi = _number(_MIDI)
    body = struct.pack("<II", 0, 0) + b"".join(
        struct.pack("<qII", at, len(message), midi) + message.ljust(8, b"\0") for at, message in events
    )
    return struct.pack("<II", len(body), _number(_SEQUENCE)) + body
