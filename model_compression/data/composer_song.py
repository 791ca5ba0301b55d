"""A song on paper: its clock, its sections and the notes of each part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS_PER_BAR = {"4/4": 16, "3/4": 12, "6/8": 12}
STEPS_PER_BEAT = {"4/4": 4, "3/4": 4, "6/8": 6}


@dataclass(frozen=True, kw_only=True)
class Note:
    """One note; ``pitch`` is MIDI (for kits the General MIDI drum key), ``velocity`` 0 to 1.

    ``articulation`` is normal, muted, staccato, legato or accent.
    """

    begin_s: float
    length_s: float
    pitch: float
    velocity: float
    articulation: str = "normal"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one player plays: the function of the part, the kind of instrument, the notes in order of time."""

    function: str
    kind: str
    notes: tuple[Note, ...]
    lead_spans_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Steps (sixteenths) to seconds, with swing and with the small drift of people.

    ``swing`` 0 is straight, 1 a full triplet; it delays every second eighth (or sixteenth where ``is_swung_in_16ths``).
    """

    tempo_bpm: float
    metre: str
    begin_s: float
    swing: float
    is_swung_in_16ths: bool
    drift_s: NDArray[np.float64]

    @property
    def steps_per_bar(self) -> int:
        """Sixteenths in a bar."""
        return STEPS_PER_BAR[self.metre]

    @property
    def step_s(self) -> float:
        """Length of a sixteenth."""
        return 60.0 / self.tempo_bpm / STEPS_PER_BEAT[self.metre]

    def time_s(self, step: float) -> float:
        """Instant of a step counted from the first downbeat."""
        pair = 2 if self.is_swung_in_16ths else 4
        within = step % pair
        late = self.swing / 3 * pair / 2 * max(0.0, 1.0 - abs(within - pair / 2) / (pair / 2))
        beat = step / STEPS_PER_BEAT[self.metre]
        drift_s = float(np.interp(beat, np.arange(len(self.drift_s)), self.drift_s))
        return self.begin_s + (step + late) * self.step_s + drift_s


@dataclass(frozen=True, kw_only=True)
class Section:
    """A stretch of bars with one character; ``energy`` 0 to 1 sets density and loudness."""

    word: str
    begin_bar: int
    n_bars: int
    energy: float


@dataclass(frozen=True, kw_only=True)
class Song:
    """Everything that is written; nothing sounds yet."""

    genre: str
    key: str
    clock: Clock
    duration_s: float
    sections: tuple[Section, ...]
    parts: tuple[Part, ...]
    beats_s: NDArray[np.float64]
    downbeats_s: NDArray[np.float64]

    def section_times_s(self) -> tuple[tuple[float, str], ...]:
        """Begin and word of each section."""
        steps = self.clock.steps_per_bar
        return tuple((max(0.0, self.clock.time_s(s.begin_bar * steps)), s.word) for s in self.sections)
