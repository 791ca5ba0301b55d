"""The last word of a command, on standard output."""

from __future__ import annotations

import os
import sys

from .errors import EvenhandError


def say(text: str, *, otherwise: str = "the figures went nowhere") -> None:
    """Print ``text``; where standard output takes nothing, say what is lost.

    Raises
    ------
    EvenhandError
        When standard output is full or closed. A reader that went away stays a ``BrokenPipeError``.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at the very end would fail again
        raise EvenhandError(f"standard output: cannot be written ({error.strerror}); {otherwise}") from None
