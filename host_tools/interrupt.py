"""Ctrl-C that is not lost: an exception, as everywhere in Python, and a note that the next request to a box heeds.

The exception alone is not enough. It is raised in whatever line the main thread is at; where that is the end of a file
or an answer that nobody holds any more, Python drops it without a word, and the command would go on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_is_asked = False


@contextmanager
def heard() -> Iterator[None]:
    """Hear Ctrl-C, unless whoever started us wants it to be ignored."""
    global _is_asked
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    _is_asked = False
    before = signal.signal(signal.SIGINT, _hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _is_asked = False


def heed() -> None:
    """Raise KeyboardInterrupt where Ctrl-C was pressed before.

    Raises
    ------
    KeyboardInterrupt
    """
    if _is_asked:
        raise KeyboardInterrupt


def _hear(_number: int, _frame: FrameType | None) -> None:
    global _is_asked
    _is_asked = True
    raise KeyboardInterrupt
