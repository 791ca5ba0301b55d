"""What a box with systemd is asked through a shell, wherever that comes from: files, settings, services, faults."""

from __future__ import annotations

import base64
import shlex
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from hil_tests.errors import HilError

SETTINGS = "/data/settings/box.env"  # its lines win over /etc/evenhand/box.env
CHUNK_CHARACTERS = 2000  # of base64 in a command line: a terminal takes 4096
PLAIN_LINE = "set +o emacs +o vi"  # else bash redraws a line that is longer than its terminal, and nobody can read that
START_S = 90.0  # for services
COMMAND_S = 30.0
SIGNALS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}
CLOCK_JUMP = "clock_jump_s"  # the clock is so many seconds ahead
OWN = ("state", "scenes", "recordings", "restored", "house", "venue")  # folders of /data/evenhand


class SystemdShell:
    """The shell of a box, and its ``Faults``: those of processes, and ``clock_jump_s``, a clock that is set.

    Parameters
    ----------
    run
        Runs a command within so many seconds and returns what it printed, or raises HilError.
    """

    kinds = (*(f"{name}_{way}" for name in ("engine", "control", "recorder") for way in SIGNALS), CLOCK_JUMP)
    lacking: Mapping[str, str] = {"brown_out": "a shell has no power: cut_power and power_on of the box do it"}

    def __init__(self, run: Callable[[str, float], str]) -> None:
        self._run = run
        self._ahead_s = 0

    def put(self, content: bytes, path: str) -> None:
        """Write a file, whole or not at all; for what is small."""
        text, name, folder = base64.b64encode(content).decode(), shlex.quote(path), shlex.quote(str(Path(path).parent))
        self._run(f"mkdir -p {folder} && : >{name}.b64", COMMAND_S)
        for at in range(0, len(text), CHUNK_CHARACTERS):
            self._run(f"printf %s {text[at : at + CHUNK_CHARACTERS]} >>{name}.b64", COMMAND_S)
        self._run(f"base64 -d {name}.b64 >{name}.part && rm {name}.b64", COMMAND_S)
        self._run(f"sync {name}.part && mv {name}.part {name} && sync {folder}", COMMAND_S)  # not the whole machine

    def get(self, path: str) -> bytes:
        """Read a file; for what is small."""
        return base64.b64decode(self._run(f"base64 -w 76 {shlex.quote(path)}", COMMAND_S))

    def configure(self, settings: dict[str, str]) -> None:
        """Set variables on the data partition."""
        lines = self._run(f"cat {SETTINGS} 2>/dev/null || true", COMMAND_S).strip().splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in settings]
        kept += [f"{name}={text}" for name, text in settings.items()]
        self.put("".join(f"{line}\n" for line in kept).encode(), SETTINGS)

    def start(self, services: tuple[str, ...]) -> None:
        """Start services, anew what runs, and wait until they are ready."""
        if "recorder" in services:
            self.configure({"EVENHAND_RECORDER": "on"})
        units = " ".join(f"evenhand-{name}" for name in services)
        self._run(f"systemctl reset-failed {units}; systemctl restart {units} && systemctl is-active {units}", START_S)

    def stop(self, service: str) -> None:
        """Stop a service."""
        self._run(f"systemctl stop evenhand-{service}", COMMAND_S)

    def are_up(self) -> bool:
        """Whether engine and control run; where they do not, the box rests before it is asked again."""
        said = self._run("systemctl is-active evenhand-engine evenhand-control || sleep 0.3", COMMAND_S)
        return said.split() == ["active", "active"]

    def log(self, service: str) -> str:
        """Return what a service has said since this start."""
        return self._run(f"journalctl -b -o cat --no-pager -n 400 -u evenhand-{service}", COMMAND_S)

    def forget(self) -> None:
        """Remove what tests have left: state, scenes, recordings, settings."""
        content = " ".join(f"/data/evenhand/{name}/*" for name in OWN)
        self._run(f"systemctl stop evenhand-control; rm -rf {content} {SETTINGS}", COMMAND_S)
        folders = " ".join(f"/data/evenhand/{name}/" for name in OWN)
        self._run(
            f"for folder in {folders} {Path(SETTINGS).parent}; do [ ! -d $folder ] || sync $folder; done", COMMAND_S
        )

    def begin(self, kind: str, amount: float = 1.0) -> None:
        """Let a fault of ``kinds`` happen."""
        name, _, way = kind.rpartition("_")
        if kind not in self.kinds:
            raise HilError(f"this rig cannot {kind!r}; it can {', '.join(self.kinds)}")
        if kind == CLOCK_JUMP:
            self._set_clock(int(amount))
            return
        command = f"systemctl kill -s {SIGNALS[way].name} evenhand-{name}"
        if way == "killed":  # else the one that is about to die is still the one that runs
            pid = f"systemctl show --property=MainPID --value evenhand-{name}"
            command = f'p=$({pid}); {command}; while [ "$({pid})" = "$p" ]; do sleep 0.05; done'
        self._run(command, COMMAND_S)

    def end(self, kind: str) -> None:
        """Put it right again."""
        if kind == CLOCK_JUMP:
            self._set_clock(-self._ahead_s)
        if kind.endswith("_stopped"):
            self._run(f"systemctl kill -s SIGCONT evenhand-{kind.removesuffix('_stopped')}", COMMAND_S)

    def _set_clock(self, ahead_s: int) -> None:
        self._run(f"date -s @$(($(date +%s) + {ahead_s}))", COMMAND_S)
        self._ahead_s += ahead_s
