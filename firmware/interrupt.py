"""Signals to end that are not lost: an exception in whatever line runs, and a note that long work heeds as it goes on.

The exception alone is not enough: where it is raised while Python does away with a file that nobody holds any more, or
where a library of C asks whether something has an attribute, it is dropped without a word, and the command would go on.
And it may come too early: where a process has just been started, and nobody holds it yet who would end it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType
from typing import TypeVar

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
T = TypeVar("T")
ECHO_S = 0.5  # a signal so soon after one that was heard asks for the same, and would break what that one began

_is_asked = False
_n_held = 0
_heard_s = -ECHO_S


def hear() -> None:
    """Have them raise KeyboardInterrupt, but those that whoever started us has ignored (``nohup``, ``&``)."""
    global _heard_s
    forget()
    _heard_s = -ECHO_S
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
def held() -> Iterator[None]:
    """Let what the block begins come into somebody's keeping first: a signal in it counts at its end.

    Raises
    ------
    KeyboardInterrupt
    """
    global _n_held
    _n_held += 1
    try:
        yield
    finally:
        _n_held -= 1
    if not _n_held:
        heed()


@held()
def entered(stack: ExitStack, thing: AbstractContextManager[T]) -> T:
    """Enter ``thing`` and have ``stack`` leave it; no signal comes between the two."""
    return stack.enter_context(thing)


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
    global _is_asked, _heard_s
    now_s = time.monotonic()
    if now_s - _heard_s < ECHO_S:
        return
    _is_asked, _heard_s = True, now_s
    if not _n_held:
        raise KeyboardInterrupt
