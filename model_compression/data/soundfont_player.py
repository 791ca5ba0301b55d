"""A sound font player over libfluidsynth: one part at a time, dry, without chorus or reverb."""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_compression.data.composer_song import Note
from model_compression.data.ingredients import MissingIngredient
from model_compression.data.performance import SAMPLE_RATE_HZ

BLOCK_FRAMES = 64  # libfluidsynth computes in blocks of this size; events fall on its borders
MODULATION, EXPRESSION = 1, 11
HOLDER_CHANNELS = 256
_held: dict[str, int] = {}


@dataclass(frozen=True, kw_only=True)
class Gesture:
    """How a part is played: vibrato depth 0 to 127, swell 0 to 1, loose pitch in cents."""

    vibrato: int = 0
    swell: float = 0.0
    detune_cents: float = 0.0


@cache
def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("fluidsynth")
    if name is None:
        raise MissingIngredient("libfluidsynth is not installed; apt install fluidsynth")
    lib = ctypes.CDLL(name)
    lib.new_fluid_settings.restype = ctypes.c_void_p
    lib.new_fluid_synth.restype = ctypes.c_void_p
    lib.new_fluid_synth.argtypes = [ctypes.c_void_p]
    lib.fluid_settings_setnum.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_double]
    lib.fluid_settings_setint.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    lib.fluid_synth_sfload.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    for name_of, count in (("noteon", 3), ("noteoff", 2), ("cc", 3), ("pitch_bend", 2)):
        getattr(lib, f"fluid_synth_{name_of}").argtypes = [ctypes.c_void_p, *[ctypes.c_int] * count]
    lib.fluid_synth_program_select.argtypes = [ctypes.c_void_p, *[ctypes.c_int] * 4]
    pointer = ctypes.c_void_p
    lib.fluid_synth_get_sfont_by_id.restype, lib.fluid_synth_get_sfont_by_id.argtypes = pointer, [pointer, ctypes.c_int]
    lib.fluid_synth_add_sfont.argtypes = lib.fluid_synth_remove_sfont.argtypes = [pointer, pointer]
    lib.delete_fluid_synth.restype, lib.delete_fluid_synth.argtypes = None, [pointer]
    lib.fluid_synth_write_float.argtypes = [
        pointer,
        ctypes.c_int,
        pointer,
        ctypes.c_int,
        ctypes.c_int,
        pointer,
        ctypes.c_int,
        ctypes.c_int,
    ]
    lib.fluid_set_log_function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    for level in range(5):
        lib.fluid_set_log_function(level, None, None)
    return lib


@cache
def _settings(n_channels: int) -> int:
    lib = _library()
    settings = int(lib.new_fluid_settings())
    lib.fluid_settings_setnum(settings, b"synth.sample-rate", float(SAMPLE_RATE_HZ))
    lib.fluid_settings_setnum(settings, b"synth.gain", 0.2)
    for name, value in (
        ("reverb.active", 0),
        ("chorus.active", 0),
        ("dynamic-sample-loading", 1),
        ("polyphony", 192),
        ("cpu-cores", 1),
        ("midi-channels", n_channels),
    ):
        lib.fluid_settings_setint(settings, f"synth.{name}".encode(), value)
    return settings


@cache
def _font(path: str) -> tuple[int, int]:
    """Hold a font for the life of the process by a synthesiser that never plays: ``(holder, font)``."""
    if not Path(path).exists():
        raise MissingIngredient(f"no sound font {path}")
    lib = _library()
    holder = int(lib.new_fluid_synth(_settings(HOLDER_CHANNELS)))
    number = lib.fluid_synth_sfload(holder, path.encode(), 1)
    if number < 0:
        raise MissingIngredient(f"{path} is not a sound font that libfluidsynth reads")
    return holder, int(lib.fluid_synth_get_sfont_by_id(holder, number))


def render(
    path: str, bank: int, program: int, notes: tuple[Note, ...], n_frames: int, gesture: Gesture
) -> NDArray[np.float32]:
    """Play notes on one patch.

    Returns
    -------
    ``(n_frames, 2)`` float32, dry. The same notes give the same bytes whatever was played before.
    """
    lib = _library()
    _, font = _font(path)
    _hold(path, bank, program)
    channel = 9 if bank == 128 else 0
    synth = int(lib.new_fluid_synth(_settings(16)))  # new each time, so nothing of an earlier part remains
    number = lib.fluid_synth_add_sfont(synth, font)
    lib.fluid_synth_program_select(synth, channel, number, bank, program)
    bend = int(np.clip(8192 + 8192 * gesture.detune_cents / 200, 0, 16383))
    lib.fluid_synth_pitch_bend(synth, channel, bend)
    n_blocks = n_frames // BLOCK_FRAMES + 1
    out = np.zeros((n_blocks * BLOCK_FRAMES, 2), np.float32)
    at = 0
    for block, kind, a, b in _events(notes, gesture, n_blocks):
        if block * BLOCK_FRAMES > at:
            _write(lib, synth, out, at, block * BLOCK_FRAMES - at)
            at = block * BLOCK_FRAMES
        if kind == "on":
            lib.fluid_synth_noteon(synth, channel, a, b)
        elif kind == "off":
            lib.fluid_synth_noteoff(synth, channel, a)
        else:
            lib.fluid_synth_cc(synth, channel, a, b)
    _write(lib, synth, out, at, len(out) - at)
    lib.fluid_synth_remove_sfont(synth, font)
    lib.delete_fluid_synth(synth)
    return out[:n_frames]


@cache
def _hold(path: str, bank: int, program: int) -> None:
    """Keep the samples of a patch in memory: the holder has it selected on a channel of its own."""
    holder, _ = _font(path)
    _held[path] = _held.get(path, -1) + 1
    _library().fluid_synth_program_select(holder, _held[path] % HOLDER_CHANNELS, 1, bank, program)


def _write(lib: ctypes.CDLL, synth: int, out: NDArray[np.float32], at: int, n_frames: int) -> None:
    if n_frames > 0:
        pointer = out.ctypes.data
        lib.fluid_synth_write_float(synth, n_frames, pointer, 2 * at, 2, pointer, 2 * at + 1, 2)


def _events(notes: tuple[Note, ...], gesture: Gesture, n_blocks: int) -> list[tuple[int, str, int, int]]:
    per_s = SAMPLE_RATE_HZ / BLOCK_FRAMES
    events: list[tuple[int, int, str, int, int]] = []
    if gesture.vibrato:
        events.append((0, 0, "cc", MODULATION, gesture.vibrato))
    for note in notes:
        pitch = round(note.pitch)
        length_s = note.length_s * (0.45 if note.articulation == "staccato" else 1.0)
        begin, end = round(note.begin_s * per_s), round((note.begin_s + length_s) * per_s)
        if begin >= n_blocks or not 0 <= pitch <= 127:
            continue
        events.append((begin, 2, "on", pitch, max(1, min(127, round(127 * note.velocity)))))
        events.append((max(begin + 1, min(end, n_blocks - 1)), 1, "off", pitch, 0))
        if gesture.swell > 0 and note.length_s > 0.6:
            for i, share in enumerate(np.linspace(0.0, 1.0, 12)):
                level = 127 * (1 - gesture.swell * (1 - np.sin(np.pi * min(0.15 + share, 1.0))))
                when = begin + round((end - begin) * i / 12)
                events.append((min(when, n_blocks - 1), 0, "cc", EXPRESSION, int(np.clip(level, 20, 127))))
        elif gesture.swell > 0:
            events.append((begin, 0, "cc", EXPRESSION, 110))
    return [(block, kind, a, b) for block, _, kind, a, b in sorted(events)]
