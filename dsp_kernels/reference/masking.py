"""Twin of ``masking.c``: how much of each channel the others mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def spreading() -> Array:
    """Return the excitation of band ``i`` by band ``j``: 25 dB per Bark down, 10 dB per Bark up."""
    i, j = np.indices((24, 24))
    return np.where(i >= j, 10.0 ** -(i - j).astype(float), 10.0 ** (-2.5 * (j - i)))


def masked(power: Array) -> tuple[Array, Array]:
    """Return masked fractions and, for each channel (row), the part of its masking that each other does.

    ``power`` holds the Bark powers in the mix, shape ``(n_channels, 24)``.
    """
    spread = power @ spreading().T
    n = len(power)
    fraction, share = np.zeros(n), np.zeros((n, n))
    for i in range(n):
        others = np.delete(np.arange(n), i)
        sum_of_others = spread[others].sum(axis=0)
        is_masked = sum_of_others > power[i] * 10**-0.6
        total = power[i].sum()
        if total <= 0:
            continue
        fraction[i] = power[i][is_masked].sum() / total
        share[i, others] = np.sum(spread[others] / sum_of_others * np.where(is_masked, power[i], 0) / total, axis=1)
    return fraction, share
