"""Keeps the box's processes running where no service manager does: started, watched, started again at once.

A process that ended, or whose heartbeat stands still, is replaced; one that dies again and again is given more and more
time, up to a quarter of a second. Nothing here touches the sound.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Self

from firmware.interrupt import held

from .process import deaf

FIRST_PAUSE_S, LAST_PAUSE_S = 0.0, 0.25  # with the half second of a start, sound is back within one
STABLE_S = 5.0  # a process that lived so long is started again without a pause
STOP_S = 5.0  # to end by itself; then it is killed
N_LINES = 200  # of what a child said
MAX_LINE_CHARACTERS = 4000
LISTEN_S = 0.5  # for the last words of one that ended; longer only if a process of its own keeps the pipe open


@dataclass
class Child:
    """A process to keep running. ``is_alive`` says from outside whether it makes progress; None trusts the process."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_alive: Callable[[], bool] | None = None
    is_needed: bool = True  # its first start must succeed
    process: subprocess.Popen[str] | None = None
    listener: threading.Thread | None = None
    n_starts: int = 0
    started_s: float = 0.0
    start_again_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    last_status: int | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=N_LINES))

    @property
    def n_restarts(self) -> int:
        """How often it was started after the first time."""
        return max(0, self.n_starts - 1)


class Supervisor:
    """Runs children until told to stop. A context manager that ends all of them, in the opposite order.

    Parameters
    ----------
    children
        In the order in which they are started.
    tell
        Is given each line that a child writes to its standard error, after the child's name.
    """

    def __init__(self, children: Sequence[Child], tell: Callable[[str, str], None] = lambda name, line: None) -> None:
        self.children = {child.name: child for child in children}
        self._tell = tell
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        try:
            for child in self.children.values():
                self._start(child)
        except BaseException:
            with deaf():  # a second Ctrl-C would leave those that run already
                self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._selector.close()

    def step(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` for a child to end, and start again what has ended or stands still."""
        now_s = time.monotonic()
        waiting = [c.start_again_s - now_s for c in self.children.values() if c.process is None]
        for key, _ in self._selector.select(max(0.0, min([timeout_s, *waiting]))):
            self._reap(key.data)
        now_s = time.monotonic()
        for child in self.children.values():
            if child.process is not None and child.is_alive is not None and not child.is_alive():
                self._say(child, "stands still; it is killed and started again")
                child.process.kill()
                child.process.wait()
                self._reap(child)
            if child.process is None and now_s >= child.start_again_s:
                self._start(child)

    def end(self, name: str) -> int | None:
        """End one child for good, politely at first; return its status."""
        child = self.children.pop(name)
        if child.process is None:
            return child.last_status
        child.process.send_signal(signal.SIGTERM)
        try:
            child.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._say(child, f"did not end within {STOP_S:.0f} s; it is killed")
            child.process.kill()
            child.process.wait()
        self._forget(child)
        return child.last_status

    def stop(self) -> None:
        """End every child, the last started first."""
        for name in reversed(list(self.children)):
            self.end(name)

    @held()
    def _start(self, child: Child) -> None:
        child.process = subprocess.Popen(
            child.command,
            env={**os.environ, **child.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,  # an interrupt at the terminal is for the supervisor to pass on
        )
        child.n_starts += 1
        child.started_s = time.monotonic()
        self._selector.register(os.pidfd_open(child.process.pid), selectors.EVENT_READ, child)
        child.listener = threading.Thread(target=self._listen, args=(child, child.process), daemon=True)
        child.listener.start()

    def _reap(self, child: Child) -> None:
        assert child.process is not None
        assert child.listener is not None
        status = child.process.wait()
        self._forget(child)
        child.listener.join(LISTEN_S)
        lived_s = time.monotonic() - child.started_s
        child.pause_s = FIRST_PAUSE_S if lived_s > STABLE_S else min(max(2 * child.pause_s, 0.02), LAST_PAUSE_S)
        if child.n_starts == 1:
            child.pause_s = FIRST_PAUSE_S
        child.start_again_s = time.monotonic() + child.pause_s
        how = f"signal {-status}" if status < 0 else f"status {status}"
        self._say(child, f"ended with {how} after {lived_s:.1f} s")

    def _forget(self, child: Child) -> None:
        assert child.process is not None
        for key in list(self._selector.get_map().values()):
            if key.data is child:
                self._selector.unregister(key.fileobj)
                os.close(key.fd)
        child.last_status = child.process.returncode
        child.process = None

    def _listen(self, child: Child, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in _bounded_lines(process.stderr):
                child.lines.append(line)
                self._tell(child.name, line)

    def _say(self, child: Child, text: str) -> None:
        child.lines.append(text)
        self._tell(child.name, text)


def _bounded_lines(stream: IO[str]) -> Iterator[str]:
    """Yield lines, of each no more than ``MAX_LINE_CHARACTERS``: a child that writes without end takes no memory."""
    is_rest = False
    while part := stream.readline(MAX_LINE_CHARACTERS):
        if not is_rest:
            yield part.rstrip()
        is_rest = not part.endswith("\n")


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of ours with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]
