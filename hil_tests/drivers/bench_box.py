"""A real board on a bench: power by a relay's command, a serial console, a sound interface of this machine, a network.

Relay, SD multiplexer and shared ports are labgrid's, by its command ``labgrid-client``, which lives in an environment
of its own: labgrid brings a fork of pyserial that cannot stand beside the one of ``evenhand``. Any command will do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn, Self

from board_configs.board import Board, BoardError, load_board
from board_configs.spec import OUTPUTS
from board_configs.table import Table
from hil_tests.board import COMMAND_S
from hil_tests.errors import HilError, NotWiredError
from hil_tests.rig import Rig
from hil_tests.tap import Tap

from .alsa_link import AlsaLink, InterfaceWiring
from .card_link import ROOT
from .console import Console
from .systemd_box import SystemdBox
from .systemd_shell import PLAIN_LINE

START_S = 180.0  # a card that is slow, and a file system that is looked through
RELAY_S = 60.0
PREPARE_S = 3600.0  # a whole card is written
OFF_S, MAX_OFF_S = 2.0, 60.0  # until the capacitors are empty
MAX_CHANNELS = 64


class BenchBox(SystemdBox):
    """A ``Box`` of ``hil_tests.board``.

    Settings of the rig's table stand, with what they mean, in ``rigs/bench_example.toml``.

    Raises
    ------
    HilError
        When the rig says what cannot be.
    """

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        settings = rig.settings
        try:
            self.board = load_board(settings.text("board"))
            self._prepare = [_command(table) for table in settings.tables("prepare")]
            self._relay = {way: _words(settings, f"power_{way}") for way in ("on", "off")}
            self._port, self._baud = settings.text("serial"), settings.integer("baud", 300, 4_000_000, 115200)
            self._prompt = settings.text("prompt", "root@evenhand:~# ")
            self._off_s = settings.number("off_seconds", 0.0, MAX_OFF_S, OFF_S)
            self._address, self._code = settings.text("address", None), settings.text("pairing_code", None)
            self._wiring = _wiring(settings.table("audio")) if settings.has("audio") else None
            settings.close()
        except BoardError as error:
            raise HilError(str(error)) from None
        for fixture, is_there, what in (
            ("audio_loopback", self._wiring, f"a table [{rig.driver}.audio]"),
            ("network", self._address and self._code, "address and pairing_code"),
        ):
            if fixture in rig.has and not is_there:
                raise HilError(f'{rig.path.name}: has "{fixture}", so it needs {what}')
        if self._wiring:
            _check_ends(rig, self.board, self._wiring)
        self._has_power = False

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        try:
            self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="evenhand-hil-")))
            self._switch("off")
            for command in self._prepare:
                _said(command, PREPARE_S)
            log = self.folder / "console.log"
            self._console = self._stack.enter_context(
                Console(self._port, baud=self._baud, log=log, prompt=self._prompt)
            )
            self._stack.callback(self.cut_power)
            self._tap = Tap(AlsaLink(self._wiring, self.board.audio.sample_rate_hz)) if self._wiring else None
        except BaseException:
            self._stack.close()
            raise
        return self

    def renew(self) -> None:
        """Remove what tests have left, through the shell, and take the power away."""
        if not self._has_power:
            self.power_on()
            self.wait_until_up()
        self._shell.forget()
        self.power_off()
        if self._tap is not None:
            self._tap.forget()
        self._is_touched = False

    def restore(self) -> bool:
        """Do nothing: a board has no moments."""
        return False

    # --------------------------------------------------------------------------------------------------- power

    @property
    def has_power(self) -> bool:
        """Whether the relay was switched on last."""
        return self._has_power

    def power_on(self) -> None:
        """Switch the relay on."""
        self._console.skip()
        self._has_shell = False
        self._switch("on")

    def power_off(self) -> None:
        """Shut down, wait for the kernel's last word, and switch the relay off."""
        self._console.type("systemctl poweroff\n")
        self._console.wait_for(r"reboot: Power down", START_S)
        self._switch("off")

    def cut_power(self) -> None:
        """Switch the relay off."""
        self._switch("off")
        time.sleep(self._off_s)

    def wait_until_up(self, timeout_s: float = START_S) -> None:
        """Wait for the shell, and for engine and control."""
        until_s = time.monotonic() + timeout_s
        if not self._has_shell:
            self._console.wait_for(self._prompt, timeout_s)
            self.run(PLAIN_LINE)
            self._has_shell = True
        self._wait_for_services(until_s)

    # --------------------------------------------------------------------------------------------------- shell

    def run(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a command in the shell on its console."""
        return self._console.run(command, timeout_s)

    def pass_time(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    # --------------------------------------------------------------------------------------------------- wires

    @property
    def audio(self) -> Tap:
        """Its sound, over the cables of the interface."""
        self.rig.need("audio_loopback")
        assert self._tap is not None
        return self._tap

    @property
    def serial(self) -> Console:
        """Its console."""
        return self._console

    @property
    def network_address(self) -> tuple[str, int]:
        """Where its update agent is reached."""
        self.rig.need("network")
        host, _, port = self._address.rpartition(":")
        return host, int(port)

    def evenhand(self, *arguments: str, timeout_s: float = COMMAND_S) -> str:
        """Run the laptop's command, with settings of its own, paired when it is first needed."""
        self.rig.need("network")
        laptop = self.folder / "laptop"
        environment = {**os.environ, "EVENHAND_CONFIG": str(laptop)}
        command = [sys.executable, "-m", "host_tools"]
        if not laptop.exists():
            _said([*command, "pair", self._address, "--code", self._code], timeout_s, environment)
        return _said([*command, *arguments], timeout_s, environment)

    @property
    def release(self) -> NoReturn:
        """None: this rig has no bundle of its own."""
        raise NotWiredError(self.rig.name, "update", self.rig.has)

    def _switch(self, way: str) -> None:
        _said(self._relay[way], RELAY_S)
        self._has_power = way == "on"


def _words(table: Table, key: str) -> list[str]:
    raw = table.raw(key)
    if not isinstance(raw, list) or not raw or any(not isinstance(word, str) or not word for word in raw):
        raise table.error(f'{key} must be a command as a list of words, such as ["labgrid-client", "power", "on"]')
    return list(raw)


def _command(table: Table) -> list[str]:
    command = _words(table, "command")
    table.close()
    return command


def _wiring(table: Table) -> InterfaceWiring:
    """Return what is plugged where, each end used once.

    Raises
    ------
    BoardError
        When a channel does not exist or is used twice.
    """
    n_playback, n_capture = (table.integer(key, 1, MAX_CHANNELS) for key in ("n_playback", "n_capture"))
    reference = table.table("reference")
    cables = table.table("from_box")
    wiring = InterfaceWiring(
        interface=table.text("interface"),
        n_playback=n_playback,
        n_capture=n_capture,
        to_box=table.items("to_box", int, "whole numbers"),
        from_box={name: channel for name in OUTPUTS if (channel := cables.integer(name, 1, n_capture, None))},
        reference=(reference.integer("output", 1, n_playback), reference.integer("input", 1, n_capture)),
    )
    for part in (reference, cables):
        part.close()
    table.close()
    outputs, inputs = [*wiring.to_box, wiring.reference[0]], [*wiring.from_box.values(), wiring.reference[1]]
    if not wiring.to_box or not wiring.from_box:
        raise table.error("to_box and from_box must each name a cable")
    if any(not 1 <= channel <= n_playback for channel in outputs):
        raise table.error(f"to_box names a channel outside 1 to {n_playback}, the interface's outputs")
    for what, used in (("output", outputs), ("input", inputs)):
        twice = {channel for channel in used if used.count(channel) > 1}
        if twice:
            raise table.error(f"{what} {min(twice)} of the interface has two cables; the reference needs its own")
    return wiring


def _check_ends(rig: Rig, board: Board, wiring: InterfaceWiring) -> None:
    """Refuse a cable that ends outside the box."""
    has = sorted({output.name for output in board.outputs})
    n_inputs = board.main_card.n_capture or 0
    missing = [name for name in wiring.from_box if name not in has]
    if missing:
        raise HilError(f"{rig.path.name}: from_box: {board.name} has no output {missing[0]}; it has {', '.join(has)}")
    if len(wiring.to_box) > n_inputs:
        raise HilError(f"{rig.path.name}: to_box: {len(wiring.to_box)} cables, {board.name} has {n_inputs} inputs")


def _said(command: list[str], timeout_s: float, environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, cwd=ROOT,
            env=environment,
        )  # fmt: skip
    except OSError as error:
        raise HilError(f"{command[0]}: {error.strerror}; install it, or name its path in the rig") from None
    except subprocess.TimeoutExpired:
        raise HilError(f"{' '.join(command[:4])}: not done after {timeout_s:.0f} s") from None
    if done.returncode != 0:
        words = " / ".join((done.stderr.strip() or done.stdout.strip())[-300:].splitlines())
        raise HilError(f"{' '.join(command[:4])}: status {done.returncode}: {words}")
    return done.stdout
