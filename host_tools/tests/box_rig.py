"""A box without hardware: the real update agent in a process of its own, behind it a fake RAUC and a fake boot loader.

Nothing of the firmware is imported: it is started by its command and spoken to over TLS, as on a real box.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from host_tools.boxes import PairedBox
from host_tools.device import Device, pair

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0  # far more than a loaded machine needs
CODE = "TEST-C0DE"


def wait_for(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Return what ``condition`` returns once it is true; fail with ``what`` when it never is."""
    until_s = time.monotonic() + patience_s
    while time.monotonic() < until_s:
        if result := condition():
            return result
        time.sleep(0.01)
    raise AssertionError(f"waited {patience_s:.0f} s in vain: {what}")


class FakeBox:
    """A box on 127.0.0.1. A context manager.

    Parameters
    ----------
    folder
        Everything of it lies here.
    name
        What it was seeded with.
    fate
        What becomes of a release that is installed: ``well``, ``dead`` (does not boot), ``unwell`` (boots, and its
        health check sends it back) or ``stuck`` (the box never restarts).
    options
        More words for the agent.
    """

    def __init__(self, folder: Path, *, name: str = "stage", fate: str = "well", options: Sequence[str] = ()) -> None:
        self.folder, self.name, self.fate, self._options = folder, name, fate, options
        self.data, self.home = folder / "data", folder / "home"
        self.recordings, self.dumps = self.data / "recordings", folder / "dumps"
        for made in (folder, self.data, self.recordings, self.dumps, self.data / "state", self.data / "scenes"):
            made.mkdir(exist_ok=True, parents=True)
        self.settings = folder / "box.env"
        self.settings.write_text("EVENHAND_BOARD=sim\n")
        (folder / "seed.toml").write_text(f'name = "{name}"\npairing_code = "{CODE}"\n')
        self._state_path = folder / "rauc.json"
        self._restart_request = folder / "restart"
        slots = {"A": {"version": "0.1.0", "is_good": True}, "B": {"version": None, "is_good": False}}
        self.set_rauc(
            compatible="evenhand-sim",
            slots=slots,
            booted="A",
            primary="A",
            trial=None,
            step_s=0.02,
            info_s=0.0,
            fails="",
            is_going_down="",
        )
        self._fake(
            "rauc", f'exec "{sys.executable}" "{Path(__file__).parent / "fake_rauc.py"}" "{self._state_path}" "$@"'
        )
        self.crashes = folder / "crashes.json"  # what the journal says of them
        self._fake("journalctl", f'case "$*" in *MESSAGE_ID=*) cat "{self.crashes}";; *) echo "journal of $*";; esac')
        self.process: subprocess.Popen[str] | None = None
        self.port, self.lines = 0, list[str]()
        self.n_starts = 0
        self._is_over = threading.Event()
        self._machine = threading.Thread(target=self._run_machine, daemon=True)

    def __enter__(self) -> Self:
        self.start()
        self._machine.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._machine.join(PATIENCE_S)
        self.stop()

    # ------------------------------------------------------------------------------------------------- the machine

    @property
    def rauc(self) -> dict[str, Any]:
        """What the fake updater remembers."""
        return dict(json.loads(self._state_path.read_text()))

    def set_rauc(self, **changes: Any) -> None:
        """Change it."""
        state = self.rauc if self._state_path.exists() else {}
        part = self._state_path.with_suffix(".part")
        part.write_text(json.dumps({**state, **changes}))
        part.replace(self._state_path)

    def start(self) -> None:
        """Start the agent of the booted slot, on the port it had before."""
        state = self.rauc
        words = [
            "--board", "sim", "--release", state["slots"][state["booted"]]["version"], "--home", self.home, "--data",
            self.data, "--settings", self.settings, "--recordings", self.recordings, "--segment",
            self.folder / "segment", "--decisions", self.data / "state" / "decisions.jsonl",
            "--seed", self.folder / "seed.toml", "--restart-request", self._restart_request,
            "--listen", "127.0.0.1", "--port", self.port, "--rauc", self.folder / "rauc", "--journalctl",
            self.folder / "journalctl", "--dumps", self.dumps, "--no-announce", *self._options, "--parent", os.getpid(),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "firmware.update.agent", *map(str, words)], cwd=ROOT, stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        found = re.search(r"listens on port (\d+)", first)
        assert found, first + self.process.stderr.read()
        self.port = int(found[1])
        self.n_starts += 1
        threading.Thread(target=self.lines.extend, args=[self.process.stderr], daemon=True).start()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the agent and return its status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it take connections and answer nothing, as a machine that is far too busy."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Cut its power, and switch it on again."""
        self.stop(signal.SIGKILL)
        self.start()

    def _run_machine(self) -> None:
        while not self._is_over.wait(0.02):
            if self._restart_request.exists() and self.fate != "stuck":
                self._restart_request.unlink()
                self._boot()

    def _boot(self) -> None:
        """Do as the boot loader and the health check do."""
        self.stop()
        state = self.rauc
        trial, primary = state["trial"], state["primary"]
        self.set_rauc(trial=None)
        if trial is None:
            self.set_rauc(booted=primary)
        elif self.fate != "dead":
            self.set_rauc(booted=trial)
        self.start()
        if trial is None or self.fate == "dead":
            return
        self._is_over.wait(0.3)
        if self.fate == "well":
            self.set_rauc(primary=trial)
        else:
            state["slots"][trial]["is_good"] = False
            self.set_rauc(slots=state["slots"])
            for stage in ("without selection", "without service"):  # the agent ends after what it asks
                self.set_rauc(is_going_down=stage)
                self._is_over.wait(1.0)
            self.stop()
            self.set_rauc(booted=primary, is_going_down="")
            self.start()

    def _fake(self, name: str, script: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    # ---------------------------------------------------------------------------------------------------- the laptop

    def pair(self, laptop: str = "test") -> PairedBox:
        """Return this box as a laptop knows it that has just been paired."""
        code = (self.home / "pairing-code").read_text().strip()
        return pair("127.0.0.1", self.port, code, laptop)

    def pair_again(self) -> PairedBox:
        """Return it as yet another laptop knows it."""
        return self.pair("another")

    @contextlib.contextmanager
    def paired(self) -> Iterator[Device]:
        """Yield a connection to it."""
        with Device.of(self.pair()) as device:
            yield device
