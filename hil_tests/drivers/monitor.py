"""The monitor of an emulator: requests and answers of QMP, a line of JSON each."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

ANSWER_S = 120.0  # of a busy machine
SAVED_S = 600.0
LOOK_S = 0.05


class MonitorError(Exception):
    """The emulator refused, or says nothing."""


class Monitor:
    """The end of a socket whose other end an emulator has as its monitor."""

    def __init__(self, line: socket.socket) -> None:
        line.settimeout(ANSWER_S)
        self._line, self._lines = line, line.makefile("r", encoding="utf-8")
        self._is_greeted = False

    def close(self) -> None:
        """Close it."""
        self._lines.close()
        self._line.close()

    def ask(self, request: str, **arguments: Any) -> Any:
        """Return the answer to a request.

        Raises
        ------
        MonitorError
            When it is refused or nothing comes.
        """
        if not self._is_greeted:
            self._is_greeted = True
            self.ask("qmp_capabilities")
        try:
            self._line.sendall(json.dumps({"execute": request, "arguments": arguments}).encode() + b"\n")
            while line := self._lines.readline():
                told = json.loads(line)
                if "return" in told:
                    return told["return"]
                if "error" in told:
                    raise MonitorError(f"{request}: {told['error']['desc']}")
        except OSError as error:
            raise MonitorError(f"{request}: {error}") from None
        raise MonitorError(f"{request}: the emulator is gone")

    def save(self, path: Path) -> None:
        """Write memory and devices of a machine that stands still.

        Raises
        ------
        MonitorError
            When that fails or does not end.
        """
        self.ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.ask("migrate", uri=f"exec:cat >'{path}'")
        self._wait("query-migrate", "completed", SAVED_S)

    def go_on_from_saved(self) -> None:
        """Wait until a machine has read what was saved, and let it go on.

        Raises
        ------
        MonitorError
            When it does not.
        """
        self._wait("query-status", "paused", ANSWER_S)
        self.ask("cont")

    def _wait(self, request: str, wanted: str, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        while (told := self.ask(request)).get("status") != wanted:
            if told.get("status") == "failed" or time.monotonic() > until_s:
                raise MonitorError(f"not {wanted}: {told.get('error-desc', told.get('status'))}")
            time.sleep(LOOK_S)
