"""``evenhand`` as people start it: on a terminal where somebody types, in a process of its own; or by a script."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from host_tools.__main__ import main
from host_tools.boxes import FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


class Laptop:
    """A laptop with settings of its own."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self._environment = {
            **os.environ, FOLDER_VARIABLE: str(self.config), "PYTHONPATH": str(ROOT), "COLUMNS": "200", "LINES": "40",
            "TERM": "xterm", "NO_COLOR": "1",
        }  # fmt: skip
        self._folder = folder

    def run(self, *words: object) -> Done:
        """Run a command to its end, with nobody at the keyboard; in this process, which saves a start of Python."""
        out, err = io.StringIO(), io.StringIO()
        before = sys.stdin
        with (
            Path(os.devnull).open() as nobody, contextlib.chdir(self._folder), contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):  # fmt: skip
            sys.stdin = nobody
            try:
                status = main([str(word) for word in words])
            finally:
                sys.stdin = before
        return Done(status=status, out=out.getvalue(), err=err.getvalue())

    def at_terminal(self, *words: object, before: Sequence[str] = (), path: Path | None = None) -> Terminal:
        """Start a command on a terminal.

        Parameters
        ----------
        before
            A command that starts it.
        path
            Folder in which programs are looked for first.
        """
        environment = dict(self._environment)
        if path is not None:
            environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
        return Terminal([*before, *self.command(words)], self._folder, environment)

    def command(self, words: Sequence[object]) -> list[str]:
        """Return the words that start a command."""
        return [sys.executable, "-m", "host_tools", *map(str, words)]


class Terminal:
    """A command that has a terminal. A context manager."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        ours, theirs = pty.openpty()
        self._fd, self.text = ours, ""
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):  # what it started, too
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._fd)

    def expect(self, text: str) -> None:
        """Read until ``text`` is on the screen."""
        until_s = time.monotonic() + PATIENCE_S
        while text not in self.text:
            assert time.monotonic() < until_s, f"{text!r} never came:\n{self.text}"
            assert self._read() or text in self.text, f"it ended without {text!r}:\n{self.text}"

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._fd, text.encode() + b"\n")

    @property
    def is_raw(self) -> bool:
        """Whether Ctrl-C is a byte like any other just now."""
        return not termios.tcgetattr(self._fd)[3] & termios.ISIG

    def interrupt(self) -> None:
        """Press Ctrl-C: all that the command has started hears it, or, on a raw terminal, nobody but the command."""
        os.write(self._fd, b"\x03")

    def end(self) -> int:
        """Read to the end, and return the status."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_S)

    def _read(self) -> bool:
        try:
            ready, _, _ = select.select([self._fd], [], [], PATIENCE_S)
            assert ready, f"it says nothing for {PATIENCE_S:.0f} s:\n{self.text}"
            data = os.read(self._fd, 4096)
        except OSError:  # the other end is closed
            return False
        self.text += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


def _take_terminal() -> None:
    """Make standard input the terminal of this process and its children, and let Ctrl-C end them."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
