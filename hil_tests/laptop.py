"""A laptop beside an emulated box: the command ``evenhand`` as a person types it, while the box goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host_tools.boxes import Boxes
from host_tools.device import Device

from .drivers.emulator import BoxError
from .drivers.qemu_box import QemuBox

COMMAND_S = 3600.0  # of a busy machine


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended, and what it said."""

    status: int
    said: str


class Job:
    """A command that runs."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self._process, self._said = process, said

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def said(self) -> str:
        """All that it has said so far."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> Outcome:
        """End it where it has not, and return how it ended."""
        if not self.is_over:
            self._process.kill()
        return Outcome(status=self._process.wait(), said=self.said)


class Laptop:
    """A laptop with a folder of its own for whom it is paired with."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._n_jobs = 0

    def begin(self, *words: str | Path) -> Job:
        """Start ``evenhand`` with these words."""
        self._n_jobs += 1
        said = self._folder / f"said-{self._n_jobs}"
        environment = {**os.environ, "EVENHAND_CONFIG": str(self._folder), "COLUMNS": "200"}
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "host_tools", *map(str, words)], env=environment, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        return Job(process, said)

    def run(self, box: QemuBox, *words: str | Path, timeout_s: float = COMMAND_S) -> Outcome:
        """Run ``evenhand`` to its end while the box goes on, through its resets."""
        job = self.begin(*words)
        try:
            if not box.go_on(lambda: job.is_over, timeout_s):
                raise BoxError(f"evenhand {words[0]}: no end within {timeout_s:.0f} s; it said: {job.said[-400:]}")
        finally:
            outcome = job.stop()
        return outcome

    def status(self, box: QemuBox, *words: str | Path) -> dict[str, Any]:
        """Return what the box says of itself, once it answers.

        Raises
        ------
        BoxError
            When it does not.
        """
        until_s = time.monotonic() + COMMAND_S
        while True:
            outcome = self.run(box, "status", "--json", *words)
            if outcome.status == 0:
                (told,) = json.loads(outcome.said)["boxes"]
                return dict(told)
            if time.monotonic() > until_s:
                raise BoxError(f"no status ({outcome.said[-200:]}); it said: {box.last_words}")
            box.go_on(lambda: False, 2.0)

    def device(self) -> Device:
        """Return the paired box for requests that no command makes."""
        return Device.of(Boxes(self._folder).all()[0])
