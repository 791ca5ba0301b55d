"""Runs the services of a box as systemd would, without systemd: readiness, restarts, logs.

Watchdogs are left out: on this rig a box stands still whenever the card's clock does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from hil_tests.errors import HilError

from .units import Unit

LOOK_S = 0.005
STOP_S = 20.0  # then it is killed, as with TimeoutStopSec
LAST_CHARACTERS = 600


class Service:
    """One service, kept running by a thread. A context manager: leaving it kills the process.

    Parameters
    ----------
    folder
        For its socket and its log; short, since the name of a socket has at most 107 bytes.
    """

    def __init__(self, unit: Unit, folder: Path, *, cwd: Path, environment: Mapping[str, str]) -> None:
        self.unit, self._cwd = unit, cwd
        self.log_path = folder / f"{unit.name}.log"
        self._socket_path = folder / f"{unit.name}.notify"
        self._environment = {**environment, **unit.environment, "NOTIFY_SOCKET": str(self._socket_path)}
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notify.bind(str(self._socket_path))
        self._notify.settimeout(LOOK_S)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._is_wanted = threading.Event()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self.n_starts = 0
        self._thread = threading.Thread(target=self._keep, name=unit.name, daemon=True)

    def __enter__(self) -> Self:
        self._is_wanted.set()
        self._start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_for_good()

    # ------------------------------------------------------------------------------------------------- from outside

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and has said so where its unit promises that."""
        return bool(self.pid) and (self._is_ready or not self.unit.says_ready)

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait for it.

        Raises
        ------
        HilError
            When it is not ready in time, or has ended for good; with its last words.
        """
        until_s = time.monotonic() + timeout_s
        while not self.is_ready:
            if time.monotonic() > until_s:
                raise HilError(f"{self.unit.name} is not ready after {timeout_s:.0f} s; it said: {self.last_words}")
            time.sleep(LOOK_S)

    def send(self, number: signal.Signals) -> int:
        """Send its process a signal and return which process that was.

        Raises
        ------
        HilError
            When there is none.
        """
        pid = self.pid
        if not pid:
            raise HilError(f"{self.unit.name} does not run; it said: {self.last_words}")
        os.kill(pid, number)
        return pid

    def stop(self) -> None:
        """End it in order, as ``systemctl stop`` does."""
        self._is_wanted.clear()
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """Pull it from under itself, and do not start it again: one part of a power cut."""
        self._is_wanted.clear()
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()

    def kill_for_good(self) -> None:
        """End the service and its watcher."""
        self._is_over.set()
        self.kill()
        if self._thread.is_alive():
            self._thread.join()
        if self._process is not None:
            self._process.wait()
        self._notify.close()
        self._socket_path.unlink(missing_ok=True)

    @property
    def log(self) -> str:
        """All that it has said."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    @property
    def last_words(self) -> str:
        """The end of that, on one line."""
        return " / ".join(self.log[-LAST_CHARACTERS:].split("\n")).strip(" /") or "nothing"

    # --------------------------------------------------------------------------------------------------- the watcher

    def _start(self) -> None:
        with self._lock, self.log_path.open("ab") as log:
            self._is_ready = False
            self.n_starts += 1
            self._process = subprocess.Popen(
                [*self.unit.command, "--parent", str(os.getpid())],
                cwd=self._cwd, env=dict(self._environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _keep(self) -> None:
        while not self._is_over.is_set():
            with suppress(TimeoutError, OSError):
                if b"READY=1" in self._notify.recv(4096).split(b"\n"):
                    self._is_ready = True
            process = self._process
            if process is None or process.poll() is None or not self._is_wanted.is_set():
                continue
            status = process.returncode
            is_final = status in self.unit.final_statuses or (status == 0 and not self.unit.is_restarted_always)
            if is_final:
                self._is_wanted.clear()
            elif not self._is_over.wait(self.unit.restart_s):
                self._start()
