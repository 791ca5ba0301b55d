"""What a chaos run ends with, and what excuses a frame that is not as it should be."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

from numpy.typing import NDArray

# What may cost frames at all; no other fault explains a single one.
COSTLY = ("capture_xrun", "playback_xrun", "unplug", "late_wake", "engine_killed", "engine_stopped", "brown_out")
FADE_S = 0.010  # in again, after the two periods within which an xrun is over


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A promise that was not kept: ``promise`` is its name, the same for the same trouble."""

    promise: str
    at_s: float
    words: str

    def line(self) -> str:
        """Return it in one line."""
        return f"at {self.at_s:.2f} s: {self.promise}: {self.words}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run went: what was broken first, or None, and how much was heard.

    ``n_excused_frames`` were not as they should be, with a reason. ``n_left_out`` events of the script came when they
    could not happen: the card was away, or another such fault had just begun.
    """

    broken: Broken | None
    n_frames: int
    n_excused_frames: int
    n_events: int
    n_left_out: int
    longest_restart_s: float  # on the wall clock, of a box that was killed or lost its power: told, not judged

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))


class Excuses:
    """Which frames may be wrong: while a costly fault is on, and for as long after its end as the box may take.

    Parameters
    ----------
    period_frames, sample_rate_hz
        Of the box: it is back two periods and a fade after a fault, as `ARCHITECTURE.md`, section 6, says.
    slack_frames
        How late a wake-up may be and cost nothing.
    """

    def __init__(self, *, period_frames: int, sample_rate_hz: int, slack_frames: int) -> None:
        self._period_frames, self._fade_frames = period_frames, round(FADE_S * sample_rate_hz)
        self._slack_frames = slack_frames
        self._late_frames = 0  # each wake-up, where that costs nothing by itself
        self._on: set[str] = set()
        self._n_xruns = 0  # to come, while a fault is on
        self._until = 0

    def begin(self, fault: str, amount: float) -> None:
        """Note that a fault begins before the next frame."""
        if fault == "late_wake" and amount <= self._slack_frames:
            self._late_frames = int(amount)
        elif fault in COSTLY:
            self._on.add(fault)

    def has_any_of(self, faults: Collection[str]) -> bool:
        """Return whether one of them is on, and costly."""
        return not self._on.isdisjoint(faults)

    def end(self, fault: str, frame: int, *, n_xruns: int = 1) -> None:
        """Note that it is over before ``frame``; the box recovers from each xrun, which comes at the next period."""
        if fault == "late_wake":
            self._late_frames = 0
        if fault not in self._on:
            return
        self._on.remove(fault)
        self._n_xruns += n_xruns
        if not self._on:  # what broke off while wake-ups were late is over when they are not
            period_frames = self._period_frames + self._late_frames
            self._until = max(self._until, frame + (1 + 2 * self._n_xruns) * period_frames + self._fade_frames)
            self._n_xruns = 0

    def first_unexplained(self, bad_frames: NDArray) -> int | None:
        """Return the first of frames, in order and of now, that nothing explains."""
        unexplained = bad_frames[bad_frames >= self._until] if not self._on else bad_frames[:0]
        return int(unexplained[0]) if len(unexplained) else None
