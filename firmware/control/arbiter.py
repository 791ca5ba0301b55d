"""From what is wanted to what is done: engineer's lock, then safety, then model, then rules; no parameter twitches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import slots
from .decisions import Decision, DecisionLog
from .mixer_state import MixerState, Mode
from .proposals import PRIORITY, Proposal

OWNER_HOLD_S = 2.0  # how long a weaker source is not heard after a stronger one spoke about a parameter (P)
RESTED_S = 1.0  # a move that has stood so long is over, and gets its line
LONG_MOVE_S = 4.0  # a ride that never rests gets a line as often, when it went a log step since the last
CHECK_S = 0.2  # how often moves are looked at

# How a parameter moves, by the end of its name: least change worth making, how fast it goes, least change worth a line.
# Level rates are those of auto level balance (3 dB/s up, 6 dB/s down); the rest is P: slower than a hand, no zipper.
_PACE: tuple[tuple[str, float, float, float], ...] = (
    ("input.trim_db", 0.3, 3.0, 0.7),
    ("fader.level_db", 0.25, 3.0, 0.7),
    ("ride.gain_db", 0.02, 3.0, 1.0),
    ("eq.gain_db", 0.25, 1.5, 0.5),
    ("unmask.gain_db", 0.25, 3.0, 1.0),
    ("pan.position", 0.02, 0.25, 0.05),
    ("pan.width", 0.02, 0.25, 0.05),
    ("_dbfs", 1.0, 6.0, 2.0),
    ("_db", 0.5, 6.0, 1.0),
    ("_hz", 0.05, 0.5, 0.1),  # octaves
    ("_ms", 0.1, 2.0, 0.3),  # octaves
    ("_s", 0.1, 2.0, 0.3),
    ("_bpm", 0.01, 2.0, 0.02),
)
_ASSIST, _MANUAL = int(Mode.ASSIST), int(Mode.MANUAL)
_ANY_PACE = (0.02, 1.0, 0.05)


def _pace(name: str) -> tuple[float, float, float]:
    first, last = name.split(".", 1)[0], name.rsplit(".", 1)[1]
    for key, *pace in _PACE:
        if f"{first}.{last}" == key or name.endswith(key):
            return (pace[0], pace[1], pace[2])
    return _ANY_PACE


_PACE_OF = {p.name: _pace(p.name) for p in slots.ENTRIES.values()}


@dataclass
class Move:
    """A change under way, or resting but not yet told."""

    proposal: Proposal
    from_value: float
    began_s: float
    changed_s: float


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A proposal in a section that asks first."""

    id: int
    time_s: float
    proposal: Proposal


class Arbiter:
    """The one way from a wish to a parameter.

    Parameters
    ----------
    name_of
        Says what a strip is called, from scope and index.
    why
        Says what is known about a move's cause by the time that its line is written; empty for nothing.
    """

    def __init__(
        self,
        state: MixerState,
        decisions: DecisionLog,
        name_of: Callable[[str, int], str],
        why: Callable[[Move], str] = lambda _: "",
    ) -> None:
        self.state = state
        self.decisions = decisions
        self.name_of = name_of
        self.why = why
        self.asked = np.full(slots.N_SLOTS, np.nan, np.float32)  # last wish heard, done or not: rules do not repeat it
        self.wanted = np.full(slots.N_SLOTS, np.nan, np.float32)  # last wish taken, before the amount
        self.causes: dict[int, Proposal] = {}  # slot -> wish in force: the reasons
        self.n_refused = 0  # wishes that were no number
        self._n_pending = 0
        self._pending: dict[int, Pending] = {}  # by slot
        self._moves: dict[int, Move] = {}
        self._owner = np.zeros(slots.N_SLOTS, np.int8)
        self._owner_until_s = np.full(slots.N_SLOTS, -math.inf)
        self.heading = state.values.copy()  # where each slot is going, or stands
        self.rate_per_s = np.zeros(slots.N_SLOTS, np.float32)
        self._gliding: set[int] = set()
        self._gliding_slots: NDArray[np.intp] = np.empty(0, np.intp)
        self._checked_s = -math.inf

    # ------------------------------------------------------------------------------------------------ wishes

    def offer(self, proposals: Iterable[Proposal], time_s: float) -> None:
        """Hear all wishes of a tick."""
        wishes = list(proposals)
        if len({p.source for p in wishes}) > 1:
            wishes.sort(key=lambda p: -PRIORITY[p.source])
        for proposal in wishes:
            self._hear(proposal, time_s)

    def _hear(self, proposal: Proposal, time_s: float) -> None:
        slot = slots.slot(proposal.scope, proposal.index, proposal.param)
        info = slots.INFO[slot]
        mover = "rules" if proposal.source == "safety" else proposal.source
        if mover not in info.entry.moved_by:
            raise ValueError(f"{proposal.rule}: {proposal.source} may not move {proposal.param}")
        if not math.isfinite(proposal.value):
            self.n_refused += 1
            return
        self.asked[slot] = proposal.value
        section = slots.SECTION[slot]
        mode = self.state.mode[section]
        if self.state.is_locked[section] or mode == _MANUAL:
            return
        priority = PRIORITY[proposal.source]
        is_held = priority < self._owner[slot] and time_s < self._owner_until_s[slot]
        if is_held and not self._takes_back(slot, proposal):
            self.asked[slot] = np.nan
            return
        self._owner[slot], self._owner_until_s[slot] = priority, time_s + OWNER_HOLD_S
        if mode == _ASSIST:
            self._ask(slot, proposal, time_s)
        else:
            self._take(slot, proposal, time_s)

    def _takes_back(self, slot: int, proposal: Proposal) -> bool:
        """Whether a rule speaks again about what a model moved through it, with the model's share the smaller now."""
        moved_by = self.causes.get(slot)
        if moved_by is None or moved_by.rule != proposal.rule or self._owner[slot] != PRIORITY["model"]:
            return False
        # "trust": the rule's own answer with a model's part in it, not a model's word.
        return moved_by.source == "model" and "trust" in moved_by.evidence

    def _ask(self, slot: int, proposal: Proposal, time_s: float) -> None:
        wish = self.state.clamped(slot, proposal.value)
        if _distance(slot, wish, float(self.state.values[slot])) < _PACE_OF[proposal.param][0]:
            self._pending.pop(slot, None)
            return
        before = self._pending.get(slot)
        if before is None:
            self._n_pending += 1
        self._pending[slot] = Pending(
            id=before.id if before else self._n_pending, time_s=time_s, proposal=proposal._replace(value=wish)
        )

    def _take(self, slot: int, proposal: Proposal, time_s: float) -> None:
        wish = self.state.clamped(slot, proposal.value)
        self.wanted[slot] = wish
        self.causes[slot] = proposal
        target = self.state.clamped(slot, self.state.blended(slot, wish))
        dead_band, rate, _ = _PACE_OF[proposal.param]
        current = float(self.state.values[slot])
        aim = float(self.heading[slot])
        if _distance(slot, target, aim) < dead_band and not (slots.IS_DISCRETE[slot] and target != current):
            return
        move = self._moves.get(slot)
        if proposal.is_companion:
            pass
        elif move is None:
            self._moves[slot] = Move(proposal, current, time_s, time_s)
        else:
            move.proposal, move.changed_s = proposal, time_s
        self.heading[slot] = target
        if slots.IS_DISCRETE[slot] or slots.IS_TIMING[slot]:
            self.state.write(slot, target)
            return
        rate = rate if proposal.slew_per_s is None else proposal.slew_per_s
        if slots.IS_LOGARITHMIC[slot]:  # octaves a second, as the size of a step near the middle of the way
            rate *= math.log(2.0) * math.sqrt(target * current)
        self.rate_per_s[slot] = rate
        if slot not in self._gliding:
            self._gliding.add(slot)
            self._gliding_slots = np.fromiter(sorted(self._gliding), np.intp)

    # ------------------------------------------------------------------------------------------------ motion

    def advance(self, time_s: float, dt_s: float) -> None:
        """Let every parameter under way go on for ``dt_s``, and tell what came to rest."""
        where = self._gliding_slots
        if where.size:
            current, target = self.state.values[where], self.heading[where]
            step = self.rate_per_s[where] * np.float32(dt_s)
            reached = np.minimum(np.maximum(target, current - step), current + step)
            self.state.write_checked(where, reached)
            arrived = reached == target
            if arrived.any():
                for slot in where[arrived].tolist():
                    self._arrive(slot, time_s)
                self._gliding_slots = np.fromiter(sorted(self._gliding), np.intp)
        if time_s >= self._checked_s + CHECK_S:
            self._checked_s = time_s
            self._tell_moves(time_s)

    def _arrive(self, slot: int, time_s: float) -> None:
        self._gliding.discard(slot)
        if slot in self._moves:
            self._moves[slot].changed_s = time_s

    def moved_by_model(self) -> list[Move]:
        """Return the moves of channels that a model has a part in and that go far enough to get a line."""
        return [
            move
            for slot, move in self._moves.items()
            if move.proposal.scope == "channel" and "sigma" in move.proposal.evidence
            and self._is_worth_a_line(slot, move, float(self.heading[slot]))
        ]  # fmt: skip

    def settle(self, time_s: float) -> None:
        """Jump to all targets and tell the moves: before sound runs."""
        self.advance(time_s, math.inf)
        self._tell_moves(time_s, is_last=True)

    def flush(self, time_s: float) -> None:
        """Tell the moves that are still open: the session is over."""
        self._tell_moves(time_s, is_last=True)

    def _tell_moves(self, time_s: float, is_last: bool = False) -> None:
        told = []
        for slot, move in self._moves.items():
            now = float(self.state.values[slot])
            has_rested = slot not in self._gliding and (is_last or time_s - move.changed_s >= RESTED_S)
            is_long = is_last or time_s - move.began_s >= LONG_MOVE_S
            if not has_rested and not is_long:
                continue
            if self._is_worth_a_line(slot, move, now):
                self._log(slot, move, now, time_s)
                move.from_value, move.began_s = now, time_s
            if has_rested and now == move.from_value:
                told.append(slot)
        for slot in told:
            del self._moves[slot]

    @staticmethod
    def _is_worth_a_line(slot: int, move: Move, to_value: float) -> bool:
        return _distance(slot, to_value, move.from_value) >= _PACE_OF[move.proposal.param][2]

    def _log(self, slot: int, move: Move, to_value: float, time_s: float) -> Decision:
        p = move.proposal
        return self.decisions.add(
            time_s=time_s,
            scope=p.scope,
            index=p.index,
            channel=self.name_of(p.scope, p.index),
            parameter=p.param,
            from_value=move.from_value,
            to_value=to_value,
            unit=slots.INFO[slot].entry.unit,
            cause=" ".join(filter(None, (p.cause, self.why(move)))),
            evidence=p.evidence,
            confidence=p.confidence,
            source=p.source,
            rule=p.rule,
        )

    # ---------------------------------------------------------------------------------------- the engineer

    def hold_still(self, slot: int) -> None:
        """Forget every wish about a slot: the engineer has his hand on it."""
        if slot in self._gliding:
            self._gliding.discard(slot)
            self._gliding_slots = np.fromiter(sorted(self._gliding), np.intp)
        self.heading[slot] = self.state.values[slot]
        self._moves.pop(slot, None)
        self._pending.pop(slot, None)
        self.causes.pop(slot, None)
        self.wanted[slot] = self.asked[slot] = np.nan

    def let_go_of_model(self, time_s: float) -> None:
        """Let rest, where it is, what goes where a model had a part in: nobody stands behind that wish any more."""
        for slot in sorted(self._gliding):
            if slot in self.causes and "trust" in self.causes[slot].evidence:
                self.heading[slot] = self.asked[slot] = self.wanted[slot] = self.state.values[slot]
                self._arrive(slot, time_s)
        self._gliding_slots = np.fromiter(sorted(self._gliding), np.intp)

    def shift(self, slot: int, by: float) -> None:
        """Move a value and every wish about it alike: what it stands on has moved the other way, nothing is heard."""
        lowest, highest = slots.MINIMUM[slot], slots.MAXIMUM[slot]
        for row in (self.state.base, self.asked, self.wanted, self.heading):
            row[slot] = np.clip(row[slot] + np.float32(by), lowest, highest)  # no wish, NaN, stays none
        self.state.write(slot, float(self.state.values[slot]) + by)
        if slot not in self._gliding:
            self.heading[slot] = self.state.values[slot]
        if (move := self._moves.get(slot)) is not None:
            move.from_value += by
        if (waiting := self._pending.get(slot)) is not None:
            self._pending[slot] = replace(
                waiting, proposal=waiting.proposal._replace(value=waiting.proposal.value + by)
            )

    def hold_section_still(self, section: int) -> None:
        """Forget every wish about the slots of a section: its mode or lock has changed."""
        for slot in slots.SLOTS_OF_SECTION[section].tolist():
            self.hold_still(slot)

    def apply_amount(self, section: int, time_s: float) -> None:
        """Go where the section's new amount leads from the wishes in force."""
        for slot in slots.SLOTS_OF_SECTION[section].tolist():
            if not math.isnan(self.wanted[slot]) and slot in self.causes and self.state.may_move(slot):
                self._take(slot, self.causes[slot]._replace(value=float(self.wanted[slot])), time_s)

    @property
    def pending(self) -> tuple[Pending, ...]:
        """Proposals that wait for a tap, oldest first."""
        return tuple(sorted(self._pending.values(), key=lambda p: p.id))

    def accept(self, pending_id: int, time_s: float) -> bool:
        """Do what was proposed; False when it is gone or the section is locked."""
        for slot, waiting in self._pending.items():
            if waiting.id == pending_id:
                del self._pending[slot]
                section = slots.SECTION[slot]
                if self.state.is_locked[section] or self.state.mode[section] == _MANUAL:
                    return False
                self._take(slot, waiting.proposal, time_s)
                return True
        return False

    def reject(self, pending_id: int) -> bool:
        """Drop what was proposed; False when it is gone."""
        for slot, waiting in self._pending.items():
            if waiting.id == pending_id:
                del self._pending[slot]
                return True
        return False

    def evidence_of(self, scope: str, index: int, param: str) -> Mapping[str, float]:
        """Return the evidence of the wish in force; empty when there is none."""
        proposal = self.causes.get(slots.slot(scope, index, param))
        return proposal.evidence if proposal else {}


def _distance(slot: int, a: float, b: float) -> float:
    if slots.IS_LOGARITHMIC[slot]:
        return abs(math.log2(a / b))
    if slots.IS_DISCRETE[slot]:
        return math.inf if a != b else 0.0
    return abs(a - b)
