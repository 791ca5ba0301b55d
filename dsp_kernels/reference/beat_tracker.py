"""Twin of ``beat_tracker.c``: the same filter over one flat array of states, moved by index tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS_PER_TICK, FIRST_STEPS, LAST_STEPS = 2, 28, 120  # a step is 10 ms: 214 to 50 BPM
N_PERIODS = LAST_STEPS - FIRST_STEPS + 1
REACH, STIFFNESS = 6, 60.0
ZONE_SHARE, LEAST = 1 / 16, 0.02
RESTART, PRIOR_STEPS, PRIOR_OCTAVES = 1e-3, 52.0, 0.7
NEAR_PERIODS, NEAR_PHASE = 3, 0.1
PRESENCE_KEEP, PRESENT = float(np.exp(-0.02 / 2.0)), 0.5
LEAST_CONFIDENCE, SHORTEST_BEAT, LATEST_PHASE = 0.1, 0.6, 0.25
METERS = (4, 3)
BAR_KEEP, BAR_CONTRAST = 0.6, 0.05


@dataclass
class Beat:
    """What the tracker says in a tick."""

    tempo_bpm: float
    phase: float
    confidence: float
    is_beat: bool
    is_downbeat: bool


class Tracker:
    """The filter: a state is a period in steps and a place in it."""

    def __init__(self) -> None:
        self.steps = np.arange(FIRST_STEPS, LAST_STEPS + 1)
        ends = np.cumsum(self.steps)
        self.first, self.last = ends - self.steps, ends - 1
        self.period = np.repeat(np.arange(N_PERIODS), self.steps)
        self.place = np.arange(ends[-1]) - self.first[self.period]
        self.came_from = np.arange(ends[-1]) - 1
        self.in_zone = self.place < np.ceil(self.steps * ZONE_SHARE)[self.period]
        ratio = self.steps[:, None] / self.steps[None, :]
        move = np.exp(-STIFFNESS * np.abs(ratio - 1))
        move[np.abs(np.subtract.outer(self.steps, self.steps)) > REACH] = 0
        self.move = move / move.sum(axis=0)  # column: where from
        weight = np.exp(-0.5 * (np.log2(self.steps / PRIOR_STEPS) / PRIOR_OCTAVES) ** 2)
        self.prior = (weight / weight.sum() / self.steps)[self.period]
        self.state = self.prior.copy()
        self.presence, self.since = 0.0, 0
        self.bar = [np.zeros(n) for n in METERS]  # mean downbeat activation of each beat of the bar
        self.n_beats = 0
        self.downbeat, self.is_judged = 0.0, True

    def process(self, beat: float, downbeat: float) -> Beat:
        """Take the activations of a tick."""
        for _ in range(STEPS_PER_TICK):
            wrapped = self.move @ self.state[self.last]
            self.state = self.state[self.came_from]
            self.state[self.first] = wrapped
        a = np.clip(beat * beat, LEAST, 1 - LEAST)
        self.state[self.in_zone] *= a * (1 / ZONE_SHARE - 1) / (1 - a)
        self.state = self.state / self.state.sum() * (1 - RESTART) + self.prior * RESTART
        self.presence = max(beat, self.presence * PRESENCE_KEEP)
        return self._read(downbeat)

    def _read(self, downbeat: float) -> Beat:
        mass = np.bincount(self.period, self.state, N_PERIODS)
        around = np.array([mass[max(i - NEAR_PERIODS, 0) : i + NEAR_PERIODS + 1].sum() for i in range(N_PERIODS)])
        best = int(around.argmax())
        low, high = max(best - NEAR_PERIODS, 0), min(best + NEAR_PERIODS, N_PERIODS - 1)
        phases, weights = self._phases(low, high)
        turn = np.sum(weights * np.exp(2j * np.pi * phases))
        phase = float(np.angle(turn) / (2 * np.pi) % 1.0)
        steps = float((mass[low : high + 1] * self.steps[low : high + 1]).sum() / mass[low : high + 1].sum())
        confidence = float(abs(turn)) * min(self.presence / PRESENT, 1.0)
        self.since += 1
        period_ticks = steps / STEPS_PER_TICK
        is_beat = (confidence >= LEAST_CONFIDENCE and phase < LATEST_PHASE
                   and self.since >= SHORTEST_BEAT * period_ticks)  # fmt: skip
        self.downbeat = max(self.downbeat, downbeat)
        if not self.is_judged and self.since >= 0.5 * period_ticks:
            self._judge()
        is_downbeat = is_beat and self._begin_beat()
        if is_beat:
            self.since = 0
        return Beat(6000.0 / steps, phase, confidence, is_beat, is_downbeat)

    def _phases(self, low: int, high: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chosen = (self.period >= low) & (self.period <= high)
        return self.place[chosen] / self.steps[self.period[chosen]], self.state[chosen]

    def _judge(self) -> None:
        """Give what was heard around the last beat to its place in the bar."""
        for score in self.bar:
            score[self.n_beats % len(score)] *= BAR_KEEP
            score[self.n_beats % len(score)] += (1 - BAR_KEEP) * self.downbeat
        self.downbeat, self.is_judged = 0.0, True

    def _begin_beat(self) -> bool:
        self.n_beats, self.is_judged = self.n_beats + 1, False
        contrast = [score.max() - (score.sum() - score.max()) / (len(score) - 1) for score in self.bar]
        score = self.bar[int(np.argmax(contrast))]
        return max(contrast) >= BAR_CONTRAST and self.n_beats % len(score) == int(score.argmax())
