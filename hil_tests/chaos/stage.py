"""Performs a script on a box, and holds every frame and every look at the box against what it promises.

The promises: ``sound`` (each frame that is lost, repeated or changed has a reason), ``settings`` (no fader ever moves,
whoever died and whatever lost its power), ``engine`` and ``control`` (up again after all, never gone by themselves),
``memory`` (bounded), ``network`` (the box answers its laptop whenever it can).
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil_tests.board import Box
from hil_tests.errors import HilError
from hil_tests.scene import STILL

from .outcome import COSTLY, Broken, Excuses, Outcome
from .programme import Programme, what_became
from .script import Event, Script

NEEDS = ("audio_loopback", "lockstep", "power", "shell")
BLOCK_FRAMES = 4800
LOOK_S = 60.0  # of the card's clock, between two looks
KEPT_BLOCKS = 6  # that the probe is shown
SETTLE_S = 0.5
PATIENCE_S = 600.0  # of the wall clock: whether at all, on a machine that is busy; how soon is told, not judged
GO_WITH_POWER = {"engine_stopped", "control_stopped", "disk_stuck", "disk_slow"}
BAD_LINES = {"network_delay_ms", "network_loss"}  # over which the box answers its laptop all the same
XRUNS = {"capture_xrun", "playback_xrun"}
NO_STREAM = {"unplug", "engine_stopped", "late_wake"}  # xruns that are due then would all come once it is back
TRIES = 8  # of a laptop: 5 s for a handshake are soon over where packets are lost and the machine is busy
LATE_PARTS = 8  # a wake-up that comes within a period less so much of it costs nothing
RESTORED = "/var/lib/evenhand/restored/last.toml"
PROCESSES = {"engine": "[e]ngine_process", "control": "[c]ontrol_process"}
MAX_GROWTH_KB = {"engine": 16384, "control": 65536}  # from the first look on, whatever was restarted meanwhile
# Plain shell: a small Debian has no pgrep.
RSS = (
    "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '{name} .*--segment /run/evenhand/segment' "
    "&& grep VmRSS $p/status && break; done 2>/dev/null"
)


class _PromiseError(Exception):
    def __init__(self, promise: str, words: str) -> None:
        super().__init__(words)
        self.promise = promise


@dataclass(frozen=True, order=True)
class _Point:
    """A moment of the script: an event begins, or (first, where both fall together) one ends."""

    frame: int
    is_begin: bool
    number: int


@contextmanager
def _promised(promise: str) -> Iterator[None]:
    """Take what the rig says of the box inside for a promise that is broken."""
    try:
        yield
    except HilError as error:
        raise _PromiseError(promise, str(error)) from None


class Stage:
    """One performance. Leaves the box as it is then, for who wants to look at it.

    Parameters
    ----------
    box
        With what ``NEEDS`` names.
    say
        Takes a line for the log: what happens, and when.
    """

    def __init__(self, box: Box, script: Script, *, say: Callable[[str], None] = lambda line: None) -> None:
        for fixture in NEEDS:
            box.rig.need(fixture)
        self._box, self._script, self._say = box, script, say
        self._port = box.audio
        self._rate_hz = self._port.sample_rate_hz
        self._programme = Programme(self._port.n_inputs)
        period = box.board.audio.period_frames
        self._excuses = Excuses(
            period_frames=period, sample_rate_hz=self._rate_hz, slack_frames=period - period // LATE_PARTS
        )
        self._main, self._aux = (self._port.output_names.index(name) for name in ("main_l", "aux_1"))
        self._way = 0
        self._frame = 0  # of the run: what was played and judged
        self._place = 0  # of the code; begins again after each look
        self._n_excused = self._n_done = self._n_left_out = 0
        self._on: set[str] = set()
        self._shaken: set[str] = set()  # what was killed, and the box not waited for yet
        self._longest_s = 0.0
        self._break_frame = -1  # where the stream broke off, or was back, last
        self._starts = {"engine": 1, "control": 1}  # since the power came
        self._had_memory_short = False
        self._first_kb: dict[str, int] = {}
        self._kept: deque[NDArray[np.float32]] = deque(maxlen=KEPT_BLOCKS)

    def perform(self) -> Outcome:
        """Do it all; end with the first promise that is broken.

        Raises
        ------
        HilError
            When the rig itself fails.
        """
        broken = None
        try:
            self._set_up()
            self._play_through()
        except _PromiseError as error:
            broken = Broken(promise=error.promise, at_s=round(self._frame / self._rate_hz, 3), words=str(error))
        finally:
            for fault in sorted(self._on - {"brown_out"}):
                with suppress(HilError):  # a box that is broken stays so; the next one is as new
                    self._box.faults.end(fault)
        return Outcome(
            broken=broken, n_frames=self._frame, n_excused_frames=self._n_excused, n_events=self._n_done,
            n_left_out=self._n_left_out, longest_restart_s=round(self._longest_s, 2),
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------------- the course

    def _set_up(self) -> None:
        box = self._box
        box.renew()
        box.configure(EVENHAND_CONTROL_OPTIONS=STILL)
        box.put(self._programme.scene().encode(), RESTORED)
        box.power_on()
        with _promised("engine"):
            box.wait_until_up(PATIENCE_S)
        box.pass_time(SETTLE_S)
        with _promised("sound"):
            self._way = self._programme.way_frames(self._heard_main, box.board.budget.max_round_trip_frames)
        self._look()

    def _play_through(self) -> None:
        looked_frame = 0
        for point in self._points():
            self._play_until(point.frame)
            event = self._script.events[point.number]
            (self._begin if point.is_begin else self._end)(event)
            if not self._on and self._frame - looked_frame >= LOOK_S * self._rate_hz:
                self._settle()
                self._look()
                looked_frame = self._frame
        self._play_until(self._frame_of(self._script.length_s))
        for fault in sorted(self._on):
            self._end(Event(at_s=0.0, fault=fault, amount=0.0, for_s=self._script.length_s))
        self._settle()
        self._play_until(self._frame + self._rate_hz)
        self._look()

    def _points(self) -> list[_Point]:
        points = []
        for number, event in enumerate(self._script.events):
            points.append(_Point(self._frame_of(event.at_s), True, number))
            if event.for_s:
                points.append(_Point(self._frame_of(event.end_s), False, number))
        return sorted(points)

    def _frame_of(self, time_s: float) -> int:
        return round(time_s * self._rate_hz)

    # ------------------------------------------------------------------------------------------------------- faults

    def _begin(self, event: Event) -> None:
        fault = event.fault
        self._say(f"{event.at_s:9.2f} s  {fault} {event.amount:g}" + (f" for {event.for_s:g} s" if event.for_s else ""))
        is_away = bool(self._shaken) and fault.endswith(("_killed", "_stopped"))  # it may still wait for the disk
        # More than five in a row, and the engine gives the card up: how long it is away then is for the wall clock.
        is_away |= fault in XRUNS and self._excuses.has_any_of(NO_STREAM)
        is_away |= fault in COSTLY and self._frame == self._break_frame
        if not self._box.has_power or fault in self._on or is_away:
            self._n_left_out += 1
            return
        self._n_done += 1
        if fault in XRUNS:
            self._break_frame = self._frame
        self._excuses.begin(fault, event.amount)
        if event.for_s:
            self._on.add(fault)
        self._had_memory_short |= fault == "memory_short"
        self._box.faults.begin(fault, event.amount)
        if fault.endswith("_killed"):
            self._starts[fault.removesuffix("_killed")] += 1
            self._shaken.add(fault)
            self._settle()
        elif not event.for_s:
            self._excuses.end(fault, self._frame, n_xruns=max(1, int(event.amount)))
        elif self._on <= BAD_LINES:
            self._settle()
            self._look()

    def _end(self, event: Event) -> None:
        fault = event.fault
        if fault not in self._on:
            return
        began_s = time.monotonic()
        with _promised("engine"):
            self._box.faults.end(fault)
        self._on.remove(fault)
        if fault in NO_STREAM:
            self._break_frame = self._frame
        if fault == "brown_out":
            self._longest_s = max(self._longest_s, time.monotonic() - began_s)
            self._starts = {"engine": 1, "control": 1}
            self._had_memory_short = False
            for gone in self._shaken | (self._on & GO_WITH_POWER):
                self._excuses.end(gone, self._frame)
            self._shaken.clear()
            self._on -= GO_WITH_POWER
        self._excuses.end(fault, self._frame)
        self._settle()

    def _settle(self) -> None:
        """Let the card's clock stand until what was killed is there again, but where that waits for the disk."""
        if not self._shaken or "disk_stuck" in self._on or not self._box.has_power:
            return
        began_s = time.monotonic()
        with _promised("engine"):
            self._box.wait_until_up(PATIENCE_S)
        self._longest_s = max(self._longest_s, time.monotonic() - began_s)
        for fault in self._shaken:
            self._excuses.end(fault, self._frame)
        self._shaken.clear()

    # -------------------------------------------------------------------------------------------------------- sound

    def _play_until(self, end_frame: int) -> None:
        while self._frame < end_frame:
            n_frames = min(BLOCK_FRAMES, end_frame - self._frame)
            heard = self._heard(self._programme.played(self._place, n_frames))
            self._kept.append(heard[:, self._aux])
            n_early = min(n_frames, max(0, self._way - self._place))  # still what was before the code
            main = heard[n_early:, self._main]
            wrong = n_early + self._programme.wrong_frames(main, self._place + n_early - self._way)
            first = self._excuses.first_unexplained(self._frame + wrong)
            self._frame += n_frames
            self._place += n_frames
            if first is not None:
                self._tell(first, len(wrong))
            self._n_excused += len(wrong)

    def _tell(self, first_frame: int, n_wrong: int) -> None:
        """Say what the frames are that nothing explains; the probe gets a little more to read on."""
        more = self._heard(self._programme.played(self._place, BLOCK_FRAMES))
        on = f"while {', '.join(sorted(self._on))} is on" if self._on else "with no fault on"
        where = f"frame {first_frame} ({first_frame / self._rate_hz:.3f} s)"
        if moved := self._programme.moved(more[self._way :, self._main], self._place):
            raise _PromiseError("settings", f"from {where} on, {on}: {'; '.join(moved)}")
        recent = np.concatenate([*self._kept, more[:, self._aux]])
        seen = what_became(recent, self._frame + BLOCK_FRAMES - len(recent))
        raise _PromiseError("sound", f"{where} is wrong, and {n_wrong} in all of its block, {on}; {seen}")

    def _heard(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        with _promised("engine"):
            return np.concatenate([part.sound for part in self._port.stream([sound])])

    def _heard_main(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._heard(sound)[:, self._main]

    # -------------------------------------------------------------------------------------------------------- looks

    def _look(self) -> None:
        """Ask the box how it is. Its clock goes on meanwhile over silence, so the code begins again."""
        for service, name in PROCESSES.items():
            with _promised("engine"):
                told = self._box.run(RSS.format(name=name), PATIENCE_S).split()
            kb = int(told[1])
            self._first_kb.setdefault(service, kb)
            if kb - self._first_kb[service] > MAX_GROWTH_KB[service]:
                words = f"{service} holds {kb} kB, {self._first_kb[service]} at first"
                raise _PromiseError("memory", words)
        if "network" in self._box.rig.has:
            self._ask()
        self._place = 0
        self._kept.clear()

    def _ask(self) -> None:
        try:
            (told,) = json.loads(self._status_text())["boxes"]
            engine = told["engine"]
            state, counters = engine["state"], engine["counters"]
        except (HilError, ValueError, KeyError, TypeError) as error:
            raise _PromiseError("network", f"the box does not tell its laptop how it is: {error}") from None
        if state != "running":
            raise _PromiseError("engine", f"it is {state}")
        if counters["engine_starts"] != self._starts["engine"]:
            words = f"the engine began {counters['engine_starts']} times, and {self._starts['engine']} are explained"
            raise _PromiseError("engine", words)
        if counters["control_starts"] != self._starts["control"] and not self._had_memory_short:
            words = f"control began {counters['control_starts']} times, {self._starts['control']} are explained"
            raise _PromiseError("control", words)

    def _status_text(self) -> str:
        """Return what the box tells its laptop: at once, or over a bad line at one of a few tries."""
        for _ in range(TRIES - 1 if self._on & BAD_LINES else 0):
            with suppress(HilError):
                return self._box.evenhand("status", "--json", timeout_s=PATIENCE_S)
        return self._box.evenhand("status", "--json", timeout_s=PATIENCE_S)
