"""Preamps in an event loop: steps when a knob turns, and when a switch is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from firmware.errors import EvenhandError

from .preamps import PreampChange, Preamps


class PreampWatch:
    """Steps ``preamps`` on the clock of ``loop``. A context manager: it watches inside the ``with`` block.

    Parameters
    ----------
    on_change
        Called with every change.
    on_lost
        Called once when the card is gone; nothing more is watched then.
    """

    def __init__(
        self,
        preamps: Preamps,
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[PreampChange], None],
        on_lost: Callable[[EvenhandError], None],
    ) -> None:
        self._preamps, self._loop = preamps, loop
        self._on_change, self._on_lost = on_change, on_lost
        self._timer: asyncio.TimerHandle | None = None
        self._file_descriptors: tuple[int, ...] = ()

    def __enter__(self) -> Self:
        self._file_descriptors = self._preamps.file_descriptors
        for fd in self._file_descriptors:
            self._loop.add_reader(fd, self._step)
        self._preamps.on_wish = self._set_timer
        self._set_timer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _step(self) -> None:
        try:
            changes = self._preamps.step(self._loop.time())
        except EvenhandError as error:
            self._stop()
            self._on_lost(error)
            return
        for change in changes:
            self._on_change(change)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due_s = self._preamps.next_due_s
        self._timer = None if due_s is None else self._loop.call_at(due_s, self._step)

    def _stop(self) -> None:
        self._preamps.on_wish = lambda: None
        for fd in self._file_descriptors:
            self._loop.remove_reader(fd)
        self._file_descriptors = ()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
