"""Twin of ``drift.c``: the loop step by step, and what a critically damped loop does in continuous time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDE_HZ, NARROW_HZ = 0.25, 0.02
WIDE_S, NARROWING_S, LOCK_S = 6.0, 1.4, 2.0
LIMIT = 1000e-6
SURPRISE_FRAMES, NEAR_FRAMES, FAR_FRAMES = 8.0, 8.0, 24.0


@dataclass
class Loop:
    """The loop over a fill that counts frames of ``rate_hz``."""

    rate_hz: float
    smooth: float = 0.0
    learned: float = 0.0
    natural_hz: float = WIDE_HZ
    acquired_s: float = 0.0
    calm_s: float = 0.0

    @property
    def is_locked(self) -> bool:
        """Whether the loop is narrow and the error has been small for 2 s."""
        return self.natural_hz == NARROW_HZ and self.calm_s >= LOCK_S

    def process(self, error_frames: float, n_frames: int) -> float:
        """Return by what share faster than nominal the ring has to be emptied."""
        dt = n_frames / self.rate_hz
        w = 2 * np.pi * self.natural_hz
        coefficient = 1 - 1 / (1 + 8 * w * dt)
        self.smooth += coefficient * float(np.clip(error_frames - self.smooth, -SURPRISE_FRAMES, SURPRISE_FRAMES))
        wanted = self.learned + 2 * w * self.smooth / self.rate_hz
        winds_up = abs(wanted) > LIMIT and np.sign(wanted) == np.sign(self.smooth)
        if not winds_up:
            self._learn(w**2 * self.smooth / self.rate_hz * dt)
        self.acquired_s += dt
        self.calm_s = self.calm_s + dt if abs(self.smooth) < NEAR_FRAMES else 0.0
        if abs(self.smooth) > FAR_FRAMES:
            self.natural_hz, self.acquired_s = WIDE_HZ, 0.0
        elif self.acquired_s >= WIDE_S:
            next_hz = max(NARROW_HZ, self.natural_hz * (1 - dt / NARROWING_S))
            self._learn(4 * np.pi * (self.natural_hz - next_hz) * self.smooth / self.rate_hz)
            self.natural_hz = next_hz
        return float(np.clip(wanted, -LIMIT, LIMIT))

    def _learn(self, share: float) -> None:
        self.learned = float(np.clip(self.learned + share, -LIMIT, LIMIT))


def fill_after_drift_step(t_s: NDArray[np.float64], drift: float, rate_hz: float) -> NDArray[np.float64]:
    """Return the fill's error in frames, ``t_s`` after the other clock became faster by ``drift``."""
    return rate_hz * drift * t_s * np.exp(-2 * np.pi * WIDE_HZ * t_s)
