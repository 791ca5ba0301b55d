"""Twin of ``roughness.c``: Vassilakis' dissonance of the ten largest peaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def peaks(amplitude: Array, n_max: int = 10) -> tuple[Array, Array]:
    """Return places (in bins) and heights of the largest peaks within 40 dB, by a parabola through three points."""
    inner = amplitude[1:-1]
    is_peak = (inner > amplitude[:-2]) & (inner >= amplitude[2:]) & (inner > 0.01 * amplitude.max())
    k = np.flatnonzero(is_peak) + 1
    k = k[np.argsort(-amplitude[k])][:n_max]
    before, at, after = amplitude[k - 1], amplitude[k], amplitude[k + 1]
    shift = 0.5 * (after - before) / (2 * at - before - after)
    return k + shift, at + 0.25 * (after - before) * shift


def dissonance(freq_hz: Array, amplitude: Array) -> float:
    """Return the summed roughness of all pairs, with amplitudes scaled to unit power."""
    a = amplitude / np.sqrt(np.sum(amplitude**2))
    total = 0.0
    for i in range(len(a)):
        for j in range(i + 1, len(a)):
            fluctuation = 2 * min(a[i], a[j]) / (a[i] + a[j])
            s = 0.24 / (0.0207 * min(freq_hz[i], freq_hz[j]) + 18.96)
            apart = s * abs(freq_hz[i] - freq_hz[j])
            total += (a[i] * a[j]) ** 0.1 * 0.5 * fluctuation**3.11 * (np.exp(-3.5 * apart) - np.exp(-5.75 * apart))
    return total
