"""What every box with systemd does alike behind the interface of a rig, wherever its shell comes from."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType

from hil_tests.board import COMMAND_S
from hil_tests.errors import HilError

from .systemd_shell import SystemdShell


class SystemdBox(ABC):
    """The part of a ``Box`` of ``hil_tests.board`` that goes through its shell.

    Who inherits it makes the box and gives it power, runs commands, and sets ``_stack`` when it is entered.
    """

    _stack: ExitStack

    def __init__(self) -> None:
        self._is_touched = False
        self._shell = SystemdShell(self.run)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @abstractmethod
    def run(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a command in its shell and return what it printed."""

    @property
    def is_as_new(self) -> bool:
        """Whether it has no settings or files of a test. One that merely runs is as new: a start takes long."""
        return not self._is_touched

    def put(self, content: bytes, path: str) -> None:
        """Write a file through the shell; for what is small."""
        self._is_touched = True
        self._shell.put(content, path)

    def get(self, path: str) -> bytes:
        """Read a file through the shell; for what is small."""
        return self._shell.get(path)

    def configure(self, **settings: str) -> None:
        """Set variables on the data partition, from where they win. It must have power."""
        self._is_touched = True
        self._shell.configure(settings)

    def start(self, *services: str) -> None:
        """Start services, anew what runs; a recorder is switched on in the settings for that."""
        self._is_touched |= "recorder" in services
        self._shell.start(services)

    def stop(self, service: str) -> None:
        """Stop a service."""
        self._is_touched = True
        self._shell.stop(service)

    def log(self, service: str) -> str:
        """Return what a service has said since this start."""
        return self._shell.log(service)

    @property
    def faults(self) -> SystemdShell:
        """Those of processes, and of the clock."""
        return self._shell

    def _wait_for_services(self, until_s: float) -> None:
        """Wait for engine and control until that moment of the monotonic clock."""
        while not self._shell.are_up():
            if time.monotonic() > until_s:
                raise HilError(f"engine or control do not run: {self.log('engine')[-300:]}")
