"""Signals to end that are not lost: an exception in whatever line runs, and a note that long work heeds as it goes on.

The exception alone is not enough: where it is raised while Python does away with a file that nobody holds any more, or
where a library of C asks whether something has an attribute, it is dropped without a word, and the command would go on.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_is_asked = False


def hear() -> None:
    """Have them raise KeyboardInterrupt, but those that whoever started us has ignored (``nohup``, ``&``)."""
    forget()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _hear)


def is_asked() -> bool:
    """Whether the command was asked to end, and has not yet."""
    return _is_asked


def forget() -> None:
    """Go on: what was asked to end has ended."""
    global _is_asked
    _is_asked = False


def heed() -> None:
    """Raise KeyboardInterrupt where we were asked to end before.

    Raises
    ------
    KeyboardInterrupt
    """
    if _is_asked:
        raise KeyboardInterrupt


@contextmanager
def ended_by_hand() -> Iterator[None]:
    """Go on where a person ends the block by Ctrl-C; what comes after may be ended so again."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        forget()


def _hear(_number: int, _frame: FrameType | None) -> None:
    global _is_asked
    _is_asked = True
    raise KeyboardInterrupt
