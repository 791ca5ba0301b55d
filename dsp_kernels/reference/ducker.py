"""Twin of ``ducker.c``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .gate import lines_between, one_pole_share

TICK = 16
DETECTOR_MS = 10.0


@dataclass(frozen=True, kw_only=True)
class Ducker:
    """Settings, as the contract names them."""

    threshold_dbfs: float = -45.0
    attack_ms: float = 50.0
    hold_ms: float = 400.0
    release_ms: float = 800.0


def gain_lin(
    key: NDArray[np.floating], depth_db: NDArray[np.float64] | float, settings: Ducker, sample_rate_hz: float
) -> NDArray[np.float64]:
    """Return the gain of each frame of a lane that goes down by ``depth_db`` (one number, or one per 16 frames)."""
    rate_hz = sample_rate_hz / TICK
    n_ticks = len(key) // TICK
    powers = np.square(np.asarray(key, np.float64))[: n_ticks * TICK].reshape(-1, TICK).mean(axis=1)
    detector, attack, release = (
        one_pole_share(ms, rate_hz) for ms in (DETECTOR_MS, settings.attack_ms, settings.release_ms)
    )
    threshold_power = 10 ** (settings.threshold_dbfs / 10)
    hold_ticks = int(settings.hold_ms * 0.001 * rate_hz + 0.5)
    power, amount, since = 0.0, 0.0, hold_ticks + 1
    amounts = np.zeros(n_ticks)
    for tick in range(n_ticks):
        power += detector * (powers[tick] - power)
        since = 0 if power >= threshold_power else since + 1
        amount += attack * (1 - amount) if since <= hold_ticks else -release * amount
        amounts[tick] = amount
    return lines_between(10 ** (-amounts * depth_db / 20), 1.0, len(key), TICK)
