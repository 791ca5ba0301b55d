"""Twin of ``meters.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TICK_FRAMES = 16
RMS_TAU_S = 0.3


def mean_square(x: NDArray[np.floating], sample_rate_hz: float) -> NDArray[np.float64]:
    """Return the smoothed power of one lane after each whole tick, shape ``(n_frames // 16,)``."""
    n_ticks = len(x) // TICK_FRAMES
    powers = np.mean(np.square(np.asarray(x[: n_ticks * TICK_FRAMES], np.float64)).reshape(-1, TICK_FRAMES), axis=1)
    coeff = np.exp(-TICK_FRAMES / (RMS_TAU_S * sample_rate_hz))
    smoothed, state = np.empty(n_ticks), 0.0
    for n, power in enumerate(powers):
        state = coeff * state + (1 - coeff) * power
        smoothed[n] = state
    return smoothed
