"""A bench without wires: a relay, a board on a serial cable and a sound interface, each a program of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hil_tests.drivers.card_link import ROOT
from hil_tests.drivers.messages import receive, send
from host_tools.tests.cable import Cable

RATE_HZ, PERIOD_FRAMES, N_CHANNELS = 48000, 64, 4
RELAY = """#!/bin/sh
echo "$1" >>{folder}/relay.log
[ -f {folder}/board.pid ] && kill -9 "$(cat {folder}/board.pid)" 2>/dev/null
rm -f {folder}/board.pid
[ "$1" = on ] || exit 0
{python} -m hil_tests.tests.fake_board {port} {folder} >{folder}/board.log 2>&1 &
echo $! >{folder}/board.pid
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$FOLDER/systemctl.log"
[ "$1" = show ] && date +%s%N
[ "$1" = is-active ] && printf 'active\\nactive\\n'
exit 0
"""
DATE = """#!/bin/sh
[ "$1" = -s ] || exec /usr/bin/date "$@"
echo "$*" >>"$FOLDER/date.log"
"""


class Bench:
    """A context manager; ``rig_path`` is the rig file of a bench that has all this."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "commands").mkdir()
        (folder / "data").mkdir()
        self._cable = Cable(folder / "cable")
        self._program("commands/systemctl", SYSTEMCTL)
        self._program("commands/journalctl", '#!/bin/sh\necho "said by $9"\n')
        self._program("commands/date", DATE)
        self._program("relay", RELAY.format(folder=folder, python=sys.executable, port=self._cable.ends["box"]))
        self.rig_path = folder / "my_bench.toml"
        self.rig_path.write_text(self.rig_text())

    def __enter__(self) -> Self:
        self._cable.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / "board.pid").read_text()), signal.SIGKILL)
        self._cable.__exit__(kind, error, trace)

    def rig_text(self) -> str:
        """Return the rig's TOML: input 1 and 2 of a box whose main outputs they come back from."""
        return f"""
title = "A bench without wires"
driver = "bench"
has = ["audio_loopback", "power", "shell", "serial", "process_faults"]
[bench]
board = "raspberry_pi_4"
power_on = ["{self.folder}/relay", "on"]
power_off = ["{self.folder}/relay", "off"]
off_seconds = 0
serial = "{self._cable.ends["laptop"]}"
[bench.audio]
interface = "interface"
n_playback = {N_CHANNELS}
n_capture = {N_CHANNELS}
to_box = [3, 1]
from_box = {{ main_l = 2, main_r = 1 }}
reference = {{ output = 4, input = 3 }}
"""

    def log(self, name: str) -> list[str]:
        """Return what a program has noted."""
        path = self.folder / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []

    def _program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)


class Interface:
    """A sound interface with cables on it, as ALSA's ``interface``. Its clock waits for who plays and who records."""

    def __init__(self, folder: Path, cables: Sequence[str]) -> None:
        self._folder, self._cables = folder, cables

    def __enter__(self) -> Self:
        self._link, theirs = socket.socketpair()
        words: list[object] = [
            "--fd", theirs.fileno(), "--folder", self._folder, "--pcm", "interface", "--segment", self._folder / "none",
            "--inputs", N_CHANNELS, "--outputs", N_CHANNELS, "--rate", RATE_HZ, "--period", PERIOD_FRAMES, "--parent",
            os.getpid(), *(word for cable in self._cables for word in ("--cable", cable)),
        ]  # fmt: skip
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hil_tests.drivers.card_bridge", *map(str, words)], cwd=ROOT,
                pass_fds=[theirs.fileno()],
            )  # fmt: skip
        receive(self._link)
        self.ask(do="free_run", is_on=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.close()
        self._process.wait()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask the process of the card for something."""
        send(self._link, request)
        answer, _ = receive(self._link)
        assert answer is not None, "the interface is gone"
        assert "error" not in answer, answer
        return answer
