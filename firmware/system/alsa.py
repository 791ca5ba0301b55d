"""The one door to pyalsaaudio: loaded when first needed, so that a box without sound cards runs without it."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module
from typing import Any

from firmware.errors import EvenhandError


def alsaaudio() -> Any:
    """Return the pyalsaaudio module.

    Raises
    ------
    EvenhandError
        When it is not installed, or ALSA's own library is not.
    """
    try:
        module = import_module("alsaaudio")
    except ImportError as error:
        raise EvenhandError(
            f"pyalsaaudio cannot be loaded ({error}); install libasound2-dev, then pip install pyalsaaudio"
        ) from None
    silence_library()
    return module


# alsa-lib calls it as ``void (const char *file, int line, const char *function, int error, const char *format, ...)``.
@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
def _say_nothing(*_: object) -> None:
    pass


@cache
def silence_library() -> None:
    """Keep alsa-lib from printing what our own errors say in one line; pyalsaaudio has no call for it."""
    ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_say_nothing)
