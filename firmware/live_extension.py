"""Loads ``firmware._live``. Alone in its file: the engine process imports it and nothing that is heavy."""

from __future__ import annotations

from typing import Any

from .errors import EvenhandError


def live_extension() -> tuple[Any, Any]:
    """Return cffi's ``ffi`` and ``lib`` of the live mixer.

    Raises
    ------
    EvenhandError
        When it is not built, or the machine has no ALSA library.
    """
    try:
        from . import _live  # type: ignore[attr-defined]  # compiled
    except ImportError as error:
        raise EvenhandError(f"the live mixer cannot be loaded ({error}); run `make build`") from error
    return _live.ffi, _live.lib
