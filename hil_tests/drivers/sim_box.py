"""The simulated box: the processes of a real one, by the command lines of its units, on a card whose clock we move.

Engine, control, recorder and update agent run as ``firmware/system/units`` say, in a folder instead of ``/``. They do
not know that their card is not a real one. It stands still while nobody asks for sound: a run depends on no wall clock
and is faster than real time. What this rig cannot show: watchdogs, sandboxes, the loss of what is not yet on the disk.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from board_configs.board import BoardError, load_board
from hil_tests.board import COMMAND_S, START_S
from hil_tests.errors import HilError, NotWiredError
from hil_tests.rig import Rig
from hil_tests.tap import Tap

from .card_link import ROOT, CardLink
from .data_disk import DataDisk
from .services import Service
from .sim_faults import SimFaults
from .units import SETTINGS, UNITS, BoxPlaces, read_settings, read_unit
from .wire import Wire

SERVICES = ("engine", "control", "agent")  # what an installed box starts
# A still card is not a card that is gone; the audio thread needs no real time where the clock waits for it.
ENGINE_OPTIONS = "--card-timeout-ms 3600000 --priority 0"
MEMORY = Path("/dev/shm")
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
PAIRING_CODE = "BNCH-C0DE"


class SimBox:
    """A ``Box`` of ``hil_tests.board``.

    Settings of the rig's table: ``board``, a board file, from the rig's folder; ``checkout``, whose firmware runs.

    Raises
    ------
    HilError
        When the rig says what cannot be.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        try:
            self.board = load_board(rig.path.parent / rig.settings.text("board"))
            self._checkout = (rig.path.parent / rig.settings.text("checkout", str(ROOT))).resolve()
            rig.settings.close()
        except BoardError as error:
            raise HilError(str(error)) from None
        self._services: dict[str, Service] = {}
        self._power = ExitStack()

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.folder = _fresh_folder()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._stack.callback(self._clear)
        self._places = BoxPlaces(self._checkout, self.folder / "root")
        self._machine = self.folder / "machine"  # what it says of itself; the rest of this one's is not the box's
        self._disk = DataDisk(self.folder / "disk", self._places.file("/var/lib/evenhand"))
        try:
            self._furnish()
            segment = self._places.file("/run/evenhand/segment")
            self.card = self._stack.enter_context(CardLink(self.board, self.folder, segment))
            self._tap = Tap(self.card)
            self._wire = self._stack.enter_context(Wire(self._agent_port))
            self._faults = self._stack.enter_context(SimFaults(self, self._disk, self._wire))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def is_as_new(self) -> bool:
        """Whether it never had power since it was made or renewed."""
        return not self._was_on

    def renew(self) -> None:
        """Cut the power and furnish it anew; its card's clock goes on from where it stands."""
        self._faults.end_all()
        self._clear()
        self._tap.forget()
        self._furnish()

    def restore(self) -> bool:
        """Do nothing: a start takes no second."""
        return False

    # --------------------------------------------------------------------------------------------------- power

    @property
    def has_power(self) -> bool:
        """Whether its processes run."""
        return bool(self._services)

    def power_on(self) -> None:
        """Start what the units start, in an empty ``/run``."""
        self._was_on = True
        if self._services:
            raise HilError("the box has power already")
        for path in ("/run/evenhand", "/run/evenhand-agent"):
            self._places.file(path).mkdir(parents=True)
        setup = read_unit("setup", self._places, read_settings(self._places.file(SETTINGS)))
        _said([*setup.command], START_S, cwd=self._checkout, environment=self._environment())
        for name in SERVICES:
            self._begin(name)

    def power_off(self) -> None:
        """Stop the services in order, the sound last."""
        for name in reversed(self._services):
            self.stop(name)
        self.cut_power()

    def cut_power(self) -> None:
        """Kill everything at once; ``/run`` is forgotten."""
        for service in self._services.values():
            service.kill()
        self._disk.free()  # who waits for it could not die
        self._power.close()
        self._services = {}
        shutil.rmtree(self._places.file("/run/evenhand"), ignore_errors=True)
        shutil.rmtree(self._places.file("/run/evenhand-agent"), ignore_errors=True)

    def wait_until_up(self, timeout_s: float = START_S) -> None:
        """Wait until every service has said that it is ready, and the mixer plays or knows that it has no card."""
        until_s = time.monotonic() + timeout_s
        for name in SERVICES:
            self.service(name).wait_until_ready(until_s - time.monotonic())
        self._wait_for_sound(until_s - time.monotonic(), _plays_or_knows_why_not)

    # --------------------------------------------------------------------------------------------------- shell

    def run(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a shell command with the paths of a box in it; the card's clock keeps to the wall clock meanwhile."""
        self.service("engine")
        with self.card.free_run():
            return _said(
                ["sh", "-c", self._places.here(command)], timeout_s, cwd=self._checkout, environment=self._environment()
            )

    def put(self, content: bytes, path: str) -> None:
        """Write a file on the box, whole or not at all."""
        target = self._places.file(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(content)
        part.replace(target)

    def get(self, path: str) -> bytes:
        """Read a file on the box."""
        try:
            return self._places.file(path).read_bytes()
        except OSError as error:
            raise HilError(f"{path} of the box: {error.strerror}") from None

    def configure(self, **settings: str) -> None:
        """Set variables of ``box.env``; what the rig itself needs there stays."""
        fixed = {
            "EVENHAND_ENGINE_OPTIONS": ENGINE_OPTIONS,
            "EVENHAND_AGENT_OPTIONS": f"--listen 127.0.0.1 --port 0 --no-announce "
            f"--journalctl {self.folder / 'journalctl'} --machine {self._machine}",
        }
        for name, text in settings.items():
            if name not in self._settings:
                raise HilError(f"box.env has no {name}; it has {', '.join(self._settings)}")
            self._settings[name] = f"{fixed[name]} {text}" if name in fixed else text
        lines = (f"{name}={text}\n" for name, text in self._settings.items())
        self.put("".join(lines).encode(), SETTINGS)

    def start(self, *services: str) -> None:
        """Start services, anew what runs, and wait until all are ready."""
        for name in services:
            if name in self._services:
                self.stop(name)
                self._services.pop(name).kill_for_good()
            self._begin(name)
        for name in services:
            self._services[name].wait_until_ready(START_S)
        self._wait_for_sound(START_S, _plays_or_knows_why_not)

    def stop(self, service: str) -> None:
        """Stop a service in order; the card's clock goes on meanwhile, for the engine fades out."""
        with self.card.free_run():
            self.service(service).stop()

    def pass_time(self, seconds: float) -> None:
        """Let the box live through silence, as fast as it can."""
        self.card.pass_time(seconds)

    def log(self, service: str) -> str:
        """Return what a service has said since the box was made."""
        return self.service(service).log

    # --------------------------------------------------------------------------------------------------- wires

    @property
    def audio(self) -> Tap:
        """Its sound."""
        self.rig.need("audio_loopback")
        return self._tap

    @property
    def serial(self) -> NoReturn:
        """Not wired."""
        raise NotWiredError(self.rig.name, "serial", self.rig.has)

    @property
    def network_address(self) -> tuple[str, int]:
        """The end of the cable to the update agent."""
        self.rig.need("network")
        self.service("agent")
        return self._wire.address

    def evenhand(self, *arguments: str, timeout_s: float = COMMAND_S) -> str:
        """Run the laptop's command, with settings of its own, paired when it is first needed."""
        laptop = self._places.folder / "laptop"
        environment = {**os.environ, "EVENHAND_CONFIG": str(laptop)}
        host, port = self.network_address
        command = [sys.executable, "-m", "host_tools"]
        with self.card.free_run():
            if not laptop.exists():
                pair = [*command, "pair", f"{host}:{port}", "--code", PAIRING_CODE]
                _said(pair, timeout_s, cwd=ROOT, environment=environment)
            return _said([*command, *arguments], timeout_s, cwd=ROOT, environment=environment)

    @property
    def release(self) -> NoReturn:
        """None: there are no slots."""
        raise NotWiredError(self.rig.name, "update", self.rig.has)

    @property
    def faults(self) -> SimFaults:
        """Those of the card, of processes, of their machine, its disk, its network and its supply."""
        return self._faults

    # -------------------------------------------------------------------------------------------------- inside

    def _clear(self) -> None:
        self.cut_power()
        self._disk.unmount()
        shutil.rmtree(self._places.folder, ignore_errors=True)

    def _agent_port(self) -> int:
        """Return where the update agent listens, as it says itself."""
        found = re.findall(r"listens on port (\d+)", self._services["agent"].log) if self._services else []
        if not found:
            raise ConnectionRefusedError("the update agent does not listen")
        return int(found[-1])

    def file(self, path: str) -> Path:
        """Return where a file of the box lies on this machine."""
        return self._places.file(path)

    def pids(self) -> tuple[int, ...]:
        """Return the processes of its services that live."""
        return tuple(pid for service in self._services.values() if (pid := service.pid))

    def say_throttled(self, bits: int) -> None:
        """Let the machine say that of its supply and its heat, as a Raspberry Pi does."""
        path = self._machine / THROTTLED
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{bits:x}\n")

    def wait_for_card(self, timeout_s: float = START_S) -> None:
        """Wait, with a clock that stands, until the engine has its card and sleeps for a frame to come.

        One that still runs may be about to give the card up: the last xrun of a fault can be one too many in a row.
        """
        self._wait_for_sound(timeout_s, _sleeps_on_card)

    def _furnish(self) -> None:
        """Lay out what an installed box has before its first start."""
        self._was_on = False
        for path in ("/etc/evenhand", "/var/lib/evenhand", "/var/lib/evenhand-agent", "/boot/select"):
            self._places.file(path).mkdir(parents=True)
        self._disk.mount()
        for path in ("/var/lib/evenhand/state", "/var/lib/evenhand/scenes", "/var/lib/evenhand/recordings"):
            self._places.file(path).mkdir()
        seed = f'name = "bench"\npairing_code = "{PAIRING_CODE}"\n'
        self.put(seed.encode(), "/boot/select/evenhand-seed.toml")
        self.say_throttled(0)
        journal = self.folder / "journalctl"  # stands for systemd's: all that the services have said
        journal.write_text(f"#!/bin/sh\nexec cat '{self.folder}'/*.log\n")
        journal.chmod(0o755)
        self._settings = read_settings(self._checkout / UNITS / "box.env")
        self._settings = {name: self._places.here(text) for name, text in self._settings.items()}
        self.configure(
            EVENHAND_BOARD=str(self.board.path.absolute()), EVENHAND_ENGINE_OPTIONS="", EVENHAND_AGENT_OPTIONS=""
        )

    def _begin(self, name: str) -> None:
        unit = read_unit(name, self._places, read_settings(self._places.file(SETTINGS)))
        service = Service(unit, self.folder, cwd=self._checkout, environment=self._environment())
        self._services[name] = self._power.enter_context(service)

    def _environment(self) -> dict[str, str]:
        binaries = Path(sys.executable).parent
        return {
            **os.environ, "ALSA_CONFIG_PATH": str(self.folder / "asound.conf"),
            "PATH": f"{binaries}:{os.environ.get('PATH', '')}", "PYTHONPATH": str(self._checkout),
        }  # fmt: skip

    def service(self, name: str) -> Service:
        """Return what runs a service of this box.

        Raises
        ------
        HilError
            When it does not run.
        """
        if not self._services:
            raise HilError("the box has no power")
        if name not in self._services:
            raise HilError(f"no service {name!r}; there are {', '.join(self._services)}")
        return self._services[name]

    def _wait_for_sound(self, timeout_s: float, is_enough: Callable[[dict[str, Any]], bool]) -> None:
        until_s = time.monotonic() + timeout_s
        while not is_enough(self.card.report()):
            if time.monotonic() > until_s:
                raise HilError(f"no sound in time; the engine said: {self.service('engine').last_words}")
            time.sleep(0.01)


def _plays_or_knows_why_not(told: dict[str, Any]) -> bool:
    return told["state"] in ("running", "no_card")


def _sleeps_on_card(told: dict[str, Any]) -> bool:
    card = told["card"]
    return told["state"] == "running" and bool(card["capture"]["wait_frame"] > card["frame"])


def _fresh_folder() -> Path:
    """Return a new folder in memory; those of runs that were killed are removed now."""
    for left in MEMORY.glob("evenhand-hil-*-*"):
        pid = left.name.split("-")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"evenhand-hil-{os.getpid()}-", dir=MEMORY))


def _said(command: list[str], timeout_s: float, *, cwd: Path, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HilError(f"{' '.join(command[-3:])}: not done after {timeout_s:.0f} s") from None
    if done.returncode != 0:
        words = " / ".join((done.stderr.strip() or done.stdout.strip())[-400:].splitlines())
        raise HilError(f"{' '.join(command[-3:])}: status {done.returncode}: {words}")
    return done.stdout
