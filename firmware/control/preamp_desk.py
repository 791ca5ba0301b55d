"""The preamps as control sees them: gain goes from the trim into the hardware, and nothing clicks.

Whatever is set is set behind a mute: the strips are silent before the card is asked, and until what it did has settled.
The mute lies over the snapshots and not in the state, so it ends with whoever laid it. One operation at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware.preamp_messages import Place, PreampStatus, PreampWish, Reading, Setting

from .control import Control

LEAD_S = 0.06  # the mute's ramp of 10 ms, a period, and the ticks on both ends
GAIN_SETTLE_S = 0.2  # the trim's ramp of 50 ms and the way through the card, with room
PAD_SETTLE_S = 0.1  # P: a relay bounces for a few ms, and the step rings through the high-pass
HANDOVER_S = 1.5  # how long a mute of a control that was killed goes on: phantom power may be charging
ANSWER_S = 2.0  # then the card is taken for stuck
LEAST_STEP_DB = 3.0  # P: less is not worth a mute
CLOSE_DB = 0.05
FLAGS = {"is_pad_on": "pad", "is_phantom_on": "phantom power"}


@dataclass
class _Operation:
    settings: tuple[Setting, ...]
    strips: frozenset[int]
    cause: str
    source: str
    settle_s: float
    began_s: float
    number: int = 0  # of the wish; 0 before it is made
    done_s: float = math.nan


class PreampDesk:
    """Works the preamps in front of the strips of one control.

    Parameters
    ----------
    strips
        For each strip the one or two places that feed it.
    """

    def __init__(self, strips: Sequence[tuple[Place, ...]]) -> None:
        self._strips = strips
        self._strip_of = {place: ch for ch, places in enumerate(strips) for place in places}
        self._readings: dict[Place, Reading] = {}
        self._operation: _Operation | None = None
        self._queue: list[tuple[str, dict[Place, float], str]] = []  # field, values, cause
        self._stuck: set[int] = set()  # strips whose gain does not do what it is told
        self._boot, self._heard, self._done = 0, 0, 0
        self._time_s, self._status_s = 0.0, -math.inf
        self._lines: list[str] = []

    # ------------------------------------------------------------------------------------------------- hearing

    def take_up(self, control: Control, params: NDArray[np.void] | None) -> None:
        """Go on muting what a predecessor, killed meanwhile, had muted for a card."""
        if params is None:
            return
        muted = params["channel"]["fader.is_muted"] > control.state.params["channel"]["fader.is_muted"]
        strips = frozenset(np.flatnonzero(muted[: len(self._strips)]).tolist())
        if strips:
            self._time_s = control.time_s
            self._operation = _Operation((), strips, "", "rules", HANDOVER_S, self._time_s, 1, self._time_s)

    def hear(self, control: Control, status: PreampStatus) -> None:
        """Take in what the preamps' process says."""
        if status.boot != self._boot:
            self._boot, self._heard = status.boot, 0
        self._status_s = self._time_s
        self._readings = {reading.place: reading for reading in status.readings}
        self._done = status.done
        hands = [hand for hand in status.hands if hand.number > self._heard and hand.place in self._strip_of]
        for ch, places in enumerate(self._strips):
            turned_db = [h.after - h.before for h in hands if h.field == "gain_db" and h.place in places]
            self._account(control, ch, sum(turned_db) / len(places))
        for hand in hands:
            ch = self._strip_of[hand.place]
            if hand.field != "gain_db":
                cause = f"{FLAGS[hand.field]} was switched at the card"
                control.log_preamp(ch, f"preamp.{hand.field}", hand.before, hand.after, cause, "engineer")
        self._heard = max([self._heard, *(hand.number for hand in status.hands)])
        operation = self._operation
        if operation and operation.number and math.isnan(operation.done_s) and status.done >= operation.number:
            self._conclude(control, operation)

    def _account(self, control: Control, ch: int, turned_db: float) -> None:
        gain_db = self._gain_db(ch)
        if gain_db is None:
            return
        known_db = float(control.state.preamp_gain_db[ch])
        if math.isnan(known_db):
            control.state.preamp_gain_db[ch] = gain_db
            return
        ours_db = gain_db - turned_db
        if abs(ours_db - known_db) > CLOSE_DB:
            control.follow_preamp(ch, ours_db)
            operation = self._operation
            is_asked = operation is not None and ch in operation.strips and operation.number > 0
            cause = operation.cause if operation and is_asked else "was turned while the box was off; the trim makes up"
            control.log_preamp(ch, "preamp.gain_db", known_db, ours_db, cause, "rules")
        if abs(turned_db) > CLOSE_DB:
            control.yield_to_preamp(ch, gain_db)
            cause = "was turned at the card; the input is manual from now on"
            control.log_preamp(ch, "preamp.gain_db", ours_db, gain_db, cause, "engineer")

    def _conclude(self, control: Control, operation: _Operation) -> None:
        operation.done_s = self._time_s
        for setting in operation.settings:
            ch, reading = self._strip_of.get((setting.card, setting.channel)), self._readings.get(
                (setting.card, setting.channel))  # fmt: skip
            if ch is None or reading is None:
                continue
            name, now = control.channels[ch].name, getattr(reading, setting.field)
            if setting.field == "gain_db" and abs(now - setting.value) > LEAST_STEP_DB:
                self._stuck.add(ch)
                self._lines.append(f"{name}: the preamp stays at {now:g} dB; digital gain does it")
            elif setting.field in FLAGS and float(now) == setting.value:
                control.log_preamp(
                    ch, f"preamp.{setting.field}", 1.0 - setting.value, setting.value, operation.cause, operation.source
                )

    # -------------------------------------------------------------------------------------------------- acting

    def switch(self, ch: int, field: str, is_on: bool) -> bool:
        """Switch pad or phantom power of a strip by hand, behind a mute; False when its card has no such switch."""
        values = {
            place: float(is_on)
            for place in self._strips[ch]
            if place in self._readings and getattr(self._readings[place], field) is not None
        }
        if values:
            self._queue.append((field, values, "set by hand"))
        return bool(values)

    def tick(self, control: Control, time_s: float) -> list[str]:
        """Go on with what is under way or begin what is next; return what the log should say."""
        self._time_s = time_s
        operation = self._operation
        if operation is None:
            if time_s - self._status_s < ANSWER_S:
                self._operation = self._next_switch() or self._next_gain(control)
        elif operation.number == 0:
            if time_s >= operation.began_s + LEAD_S:
                operation.number = self._done + 1
        elif math.isnan(operation.done_s):
            if time_s >= operation.began_s + LEAD_S + ANSWER_S:
                self._lines.append(f"the preamps do not answer within {ANSWER_S:g} s; digital gain does it")
                self._stuck |= operation.strips
                self._operation = None
        elif time_s >= operation.done_s + operation.settle_s:
            self._operation = None
        lines, self._lines = self._lines, []
        return lines

    def _next_switch(self) -> _Operation | None:
        """Return what a person or the board file wants switched."""
        if self._queue:
            field, values, cause = self._queue.pop(0)
            return self._switching(field, values, cause, "engineer")
        for field, wish in (("is_phantom_on", "wants_phantom"), ("is_pad_on", "wants_pad")):
            values = {
                place: float(getattr(reading, wish))
                for place, reading in self._readings.items()
                if getattr(reading, wish) not in (None, getattr(reading, field))
            }
            if values:
                return self._switching(field, values, "the board file says so", "rules")
        return None

    def _switching(self, field: str, values: dict[Place, float], cause: str, source: str) -> _Operation:
        touched = [self._readings[place] for place in values]
        shared = {(r.card, r.phantom_switch) for r in touched if field == "is_phantom_on"}
        places = {r.place for r in self._readings.values() if (r.card, r.phantom_switch) in shared} | {*values}
        settle_s = max(r.phantom_settle_ms for r in touched) / 1000 if shared else PAD_SETTLE_S
        settings = [Setting(card=p[0], channel=p[1], field=field, value=value) for p, value in values.items()]
        return self._begun(settings, places, cause, source, settle_s)

    def _next_gain(self, control: Control) -> _Operation | None:
        """Return a strip's hand-over from the trim to the preamp, where there is one to make."""
        for ch, places in enumerate(self._strips):
            gain_db = self._gain_db(ch)
            if ch in self._stuck or gain_db is None:
                continue
            readings = [self._readings[place] for place in places]
            step_db = float(math.trunc(control.trim_for_preamp_db(ch)))
            for r in readings:
                lowest, highest = r.min_gain_db or 0.0, r.max_gain_db or 0.0
                step_db = min(max(step_db, lowest - (r.gain_db or 0.0)), highest - (r.gain_db or 0.0))
            if abs(step_db) < LEAST_STEP_DB:
                continue
            settings = [
                Setting(card=r.card, channel=r.channel, field="gain_db", value=(r.gain_db or 0.0) + step_db)
                for r in readings
            ]
            cause = f"takes {step_db:+.0f} dB over from the trim; the sum stays"
            return self._begun(settings, places, cause, "rules", GAIN_SETTLE_S)
        return None

    def _begun(
        self, settings: list[Setting], places: Iterable[Place], cause: str, source: str, settle_s: float
    ) -> _Operation:
        strips = frozenset(self._strip_of[place] for place in places if place in self._strip_of)
        return _Operation(tuple(settings), strips, cause, source, settle_s, self._time_s)

    # ------------------------------------------------------------------------------------------------ readings

    @property
    def muted(self) -> frozenset[int]:
        """The strips that are silent for their preamp's sake."""
        return self._operation.strips if self._operation else frozenset()

    def cover(self, params: NDArray[np.void]) -> NDArray[np.void]:
        """Lay the mutes over a snapshot, in place, and return it."""
        for ch in self.muted:
            params["channel"][ch]["fader.is_muted"] = 1.0
        return params

    @property
    def wish(self) -> PreampWish:
        """What the preamps' process should be told now."""
        operation = self._operation
        if operation is None or operation.number == 0 or not math.isnan(operation.done_s):
            return PreampWish(boot=self._boot, heard=self._heard)
        return PreampWish(boot=self._boot, heard=self._heard, number=operation.number, settings=operation.settings)

    def as_record(self) -> list[dict[str, float | bool | None]]:
        """Return each strip's preamp for a status page; empty where no card answers."""
        first = [self._readings.get(places[0]) for places in self._strips]
        return [
            {"gain_db": r.gain_db, "is_pad_on": r.is_pad_on, "is_phantom_on": r.is_phantom_on} if r else {}
            for r in first
        ] if any(first) else []  # fmt: skip

    def _gain_db(self, ch: int) -> float | None:
        """Return what the preamps of a strip amplify on average; None unless all of them say so."""
        readings = [self._readings.get(place) for place in self._strips[ch]]
        gains_db = [r.gain_db for r in readings if r is not None and r.gain_db is not None]
        return sum(gains_db) / len(gains_db) if gains_db and len(gains_db) == len(readings) else None
