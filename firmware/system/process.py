"""How a process of the box begins and ends: told by signals, ended with its parent, refused in one line."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from firmware.errors import EvenhandError

from .parent import end_with_parent


@contextmanager
def deaf() -> Iterator[None]:
    """Hear no signal to end while processes end in order: a second Ctrl-C would leave half of them behind."""
    if threading.current_thread() is not threading.main_thread():  # which never hears one
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(
    parser: argparse.ArgumentParser,
    argv: list[str] | None,
    run: Callable[[argparse.Namespace, threading.Event], None],
) -> int:
    """Call ``run`` with the options and an event that SIGTERM or SIGINT sets; return 0, or 1 when it refused.

    Every such process takes ``--parent PID``: it ends when that process, its parent, is gone.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, our parent, is gone")
    options = parser.parse_args(argv)
    if options.parent:
        end_with_parent(options.parent)
    try:
        run(options, stop)
    except EvenhandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
