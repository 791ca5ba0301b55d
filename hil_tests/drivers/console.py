"""The serial console of a real box: what came over the line, what was waited for, and a shell on it."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hil_tests.errors import HilError

LOOK_S = 0.02
LAST_CHARACTERS = 400


def printed_by(said: str, end: str, prompt: str) -> str:
    """Return what a command printed, of all that came until the mark ``end`` behind it.

    Neither what was typed, which a terminal says again, nor the prompt, which a shell that is late says anywhere in it.
    """
    return said.replace("\r", "").replace(prompt, "").rpartition(f"{end}:$?:\n")[2]


class Console:
    """A port that pyserial opens: a device, or ``socket://host:port`` of a port that labgrid shares.

    A ``SerialLine`` of ``hil_tests.board``, and a context manager.

    Parameters
    ----------
    log
        File that keeps all that came.
    prompt
        Of its shell.
    """

    def __init__(self, port: str, *, baud: int, log: Path, prompt: str) -> None:
        self._name, self._baud, self._log, self._prompt = port, baud, log, prompt
        self.said = ""
        self._mark = 0
        self._n_commands = 0
        self._is_over = threading.Event()
        self._port: Any = None

    def __enter__(self) -> Self:
        import serial

        try:
            self._port = serial.serial_for_url(self._name, baudrate=self._baud, timeout=LOOK_S)
        except (OSError, ValueError) as error:  # its own errors are OSErrors
            raise HilError(f"serial {self._name}: cannot be opened ({error}); is the cable in, and are you in its "
                           "group (dialout)?") from None  # fmt: skip
        self._thread = threading.Thread(target=self._listen, name="console", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._port.close()

    def skip(self) -> None:
        """Take all that came as waited for."""
        self._mark = len(self.said)

    def wait_for(self, pattern: str, timeout_s: float) -> str:
        """Return what matched of what came and was not waited for before."""
        return self._match(pattern, timeout_s)[0]

    def type(self, text: str) -> None:
        """Type on it."""
        self._port.write(text.encode())

    def run(self, command: str, timeout_s: float) -> str:
        """Run a command in the shell on it and return what it printed.

        Raises
        ------
        HilError
            When it fails or does not end.
        """
        self._n_commands += 1
        end = f"end-{self._n_commands}"
        self.type(f"{command}; echo {end}:$?:\n")
        found = self._match(rf"(?s)(.*?){end}:(\d+):\r?\n", timeout_s)
        printed = printed_by(found[1], end, self._prompt)
        if found[2] != "0":
            raise HilError(f"{command}: status {found[2]}: {printed.strip()[-LAST_CHARACTERS:]}")
        return printed

    def _match(self, pattern: str, timeout_s: float) -> re.Match[str]:
        until_s = time.monotonic() + timeout_s
        while True:
            found = re.search(pattern, self.said[self._mark :])
            if found:
                self._mark += found.end()
                return found
            if time.monotonic() > until_s:
                last = self.said[-LAST_CHARACTERS:].strip() or "nothing"
                raise HilError(f"serial {self._name}: no {pattern!r} within {timeout_s:.0f} s; it said: {last}")
            time.sleep(LOOK_S)

    def _listen(self) -> None:
        with self._log.open("ab") as log:
            while not self._is_over.is_set():
                try:
                    came = self._port.read(4096)
                except OSError:  # a cable that was pulled: what waits for words says so
                    return
                log.write(came)
                log.flush()
                self.said += came.decode("utf-8", "replace")
