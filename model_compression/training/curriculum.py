"""From easy to hard as training goes on: which parameters count, how many channels, how much bleed and fault."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..nets.layout import SIGMA_GROUPS

STARTS = dict(zip(SIGMA_GROUPS, (0.0, 0.05, 0.1, 0.15, 0.2), strict=True))  # share of the steps done
RAMP = 0.05
CHANNELS = ((0.0, 4), (0.1, 8), (0.25, 16), (0.5, 64))
EASY_SHARE = 0.4  # of the sessions, by difficulty, at the start
ALL_AT = 0.4


def group_weights(progress: float) -> NDArray[np.float32]:
    """Weight of each of ``SIGMA_GROUPS`` at ``progress`` in 0..1: offset, then pan, tone, compressor, send."""
    return np.array([np.clip((progress - start) / RAMP + 1e-3, 0.0, 1.0) for start in STARTS.values()], np.float32)


def max_channels(progress: float, most: int) -> int:
    """Return the largest session to learn from."""
    return min(most, max(count for start, count in CHANNELS if progress >= start))


def allowed(
    difficulty: NDArray[np.float64], n_channels: NDArray[np.int64], progress: float, most: int
) -> NDArray[np.int64]:
    """Numbers of the sessions to learn from; the smallest sessions where all are too large."""
    bound = max_channels(progress, most)
    fits = np.flatnonzero(n_channels <= bound)
    if not len(fits):
        fits = np.flatnonzero(n_channels == n_channels.min())
    share = EASY_SHARE + (1.0 - EASY_SHARE) * min(1.0, progress / ALL_AT)
    order = fits[np.argsort(difficulty[fits], kind="stable")]
    return np.sort(order[: max(1, int(np.ceil(share * len(order))))])
