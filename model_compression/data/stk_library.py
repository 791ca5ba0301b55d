"""The instruments of the Synthesis ToolKit, one at a time, through ``stk_shim.cpp``, compiled when first needed."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_compression.data.ingredients import MissingIngredient
from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
SHIM = Path(__file__).parent / "stk_shim.cpp"
BUILT = Path(__file__).parent.parent.parent / "build" / "stk"
WAVES = b"/usr/share/stk/rawwaves/"
# No fused multiply-add and no instructions of this processor alone: the same bytes wherever it is compiled.
COMMAND = ("g++", "-std=c++17", "-shared", "-fPIC", "-O2", "-ffp-contract=off")
REMEDY = "apt install g++ libstk-dev stk"
_pointer = ctypes.c_void_p
_SIGNATURES = {
    "open": (_pointer, [ctypes.c_char_p, ctypes.c_double, ctypes.c_double, ctypes.c_char_p]),
    "trouble": (ctypes.c_char_p, []),
    "close": (None, [_pointer]),
    "seed": (None, [ctypes.c_uint]),
    "control": (None, [_pointer, ctypes.c_int, ctypes.c_double]),
    "excite": (None, [_pointer, _pointer, ctypes.c_size_t]),
    "note_on": (None, [_pointer, ctypes.c_double, ctypes.c_double]),
    "note_off": (None, [_pointer, ctypes.c_double]),
    "render": (None, [_pointer, _pointer, ctypes.c_size_t]),
}


class Instrument:
    """One open instrument; frequencies in Hz, amplitudes 0 to 1, controls 0 to 128 by the toolkit's numbers."""

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        self._library = library
        self._handle = handle

    def control(self, number: int, value: float) -> None:
        """Set a control."""
        self._library.eh_stk_control(self._handle, number, value)

    def excite(self, sound: Audio) -> None:
        """Say what a ``Course`` is plucked with."""
        sound = np.ascontiguousarray(sound, np.float32)
        self._library.eh_stk_excite(self._handle, sound.ctypes.data, len(sound))

    def note_on(self, freq_hz: float, amplitude: float) -> None:
        """Begin a note, or go on to another one."""
        self._library.eh_stk_note_on(self._handle, freq_hz, amplitude)

    def note_off(self, amplitude: float) -> None:
        """Let go of it."""
        self._library.eh_stk_note_off(self._handle, amplitude)

    def render(self, n_frames: int) -> Audio:
        """Return what it sounds like from here on, ``(n_frames,)`` float32."""
        out = np.empty(n_frames, np.float32)
        self._library.eh_stk_render(self._handle, out.ctypes.data, n_frames)
        return out


@contextmanager
def instrument(model: str, *, lowest_hz: float, seed: int, rate_hz: float = SAMPLE_RATE_HZ) -> Iterator[Instrument]:
    """Hold an instrument open.

    Parameters
    ----------
    model
        Name of its class in the toolkit, or ``Course``.
    lowest_hz
        No note will be lower.
    rate_hz
        Frames that it makes in a second.
    seed
        Of its noise. The toolkit has one source of it for all: only one instrument may be open.

    Raises
    ------
    MissingIngredient
        Where the toolkit, its waves or the compiler are missing.
    ValueError
        Where there is no such instrument.
    """
    library = _library()
    handle = library.eh_stk_open(model.encode(), lowest_hz, float(rate_hz), WAVES)
    if not handle:
        why = library.eh_stk_trouble().decode()
        if why.startswith("there is no instrument"):
            raise ValueError(why)
        raise MissingIngredient(f"{why}; {REMEDY}")
    try:
        library.eh_stk_seed(seed)
        yield Instrument(library, handle)
    finally:
        library.eh_stk_close(handle)


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(compiled()))
    except OSError as error:
        raise MissingIngredient(f"the Synthesis ToolKit does not load ({error}); {REMEDY}") from None
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, f"eh_stk_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def compiled(folder: Path = BUILT, command: tuple[str, ...] = COMMAND) -> Path:
    """Return the compiled shim, one file for each state of its source; made when it is not there.

    Raises
    ------
    MissingIngredient
        Where it does not compile, with the compiler's first complaint.
    """
    digest = hashlib.sha256(" ".join(command).encode() + SHIM.read_bytes()).hexdigest()[:16]
    built = folder / f"stk_{digest}.so"
    if built.exists():
        return built
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{built.stem}.{os.getpid()}"  # workers may compile at once; the last one wins, and all are alike
    try:
        done = subprocess.run([*command, str(SHIM), "-lstk", "-o", str(fresh)], capture_output=True, text=True)
    except OSError as error:
        raise MissingIngredient(f"{command[0]} does not start ({error.strerror}); {REMEDY}") from None
    if done.returncode != 0:
        complaint = next((line for line in done.stderr.splitlines() if "error" in line), "no reason given")
        raise MissingIngredient(f"the shim of the Synthesis ToolKit does not compile ({complaint}); {REMEDY}")
    fresh.replace(built)
    return built
