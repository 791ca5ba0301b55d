"""How a process of the box begins and ends: told by signals, ended with its parent, refused in one line."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from firmware.errors import EvenhandError
from firmware.interrupt import ENDING

from .parent import end_with_parent


class Stop:
    """Whether a process is to end: what a signal's handler may set while the main thread waits for it.

    Not a ``threading.Event``: that one's ``set`` wants a lock which ``wait`` holds at times, in the very thread that
    the handler interrupts, and then neither ever goes on. Its descriptor ends with the process: a signal may come last.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)

    def set(self) -> None:
        """Ask the process to end."""
        self._is_set = True
        with suppress(BlockingIOError):  # asked 2 ** 64 times
            os.eventfd_write(self._wake, 1)

    def is_set(self) -> bool:
        """Whether it was asked to."""
        return self._is_set

    def wait(self, timeout_s: float) -> bool:
        """Wait so long, or until it is asked to; return whether it was."""
        self._poll.poll(1000.0 * timeout_s)
        return self._is_set


@contextmanager
def deaf() -> Iterator[None]:
    """Hear no signal to end while processes end in order: a second Ctrl-C would leave half of them behind."""
    if threading.current_thread() is not threading.main_thread():  # which never hears one
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(
    parser: argparse.ArgumentParser, argv: list[str] | None, run: Callable[[argparse.Namespace, Stop], None]
) -> int:
    """Call ``run`` with the options and what SIGTERM or SIGINT sets; return 0, or 1 when it refused.

    Every such process takes ``--parent PID``: it ends when that process, its parent, is gone.
    """
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, our parent, is gone")
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    options = parser.parse_args(argv)
    if options.parent:
        end_with_parent(options.parent)
    try:
        run(options, stop)
    except EvenhandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
