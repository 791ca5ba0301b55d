"""Twin of ``chroma.c``: each note's resonators as the correlation of the past with their impulse response."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NOTES_HZ = 440.0 * 2.0 ** ((np.arange(60) - 33) / 12.0)  # C2 to B6
BANDWIDTH = 0.02


def chroma(mono: NDArray[np.floating], sample_rate_hz: float) -> NDArray[np.float64]:
    """Return the 12 pitch classes, C first, at the end of ``mono``, shape ``(n_frames,)``."""
    x, rate_hz = _decimated(np.asarray(mono, np.float64), sample_rate_hz)
    age = np.arange(len(x))[::-1]
    pole = np.exp((-BANDWIDTH + 1j) * 2 * np.pi * NOTES_HZ / rate_hz)
    decay = np.exp(-BANDWIDTH * 2 * np.pi * NOTES_HZ / rate_hz)
    # Two equal poles in a row answer an impulse with (k + 1) p^k.
    strength = [abs((1 - r) ** 2 * np.sum(x * (age + 1) * p**age)) for r, p in zip(decay, pole, strict=True)]
    classes = np.reshape(strength, (5, 12)).sum(axis=0)
    return classes / classes.max() if classes.max() > 1e-5 else np.zeros(12)


def _decimated(x: NDArray[np.float64], sample_rate_hz: float) -> tuple[NDArray[np.float64], float]:
    factor = max(int(sample_rate_hz / 6000.0), 1)
    n_taps = 12 * factor
    at = (np.arange(n_taps) - 0.5 * (n_taps - 1)) / factor
    taps = np.sinc(at) * np.cos(np.pi * at / 12) ** 2
    y = np.convolve(x, taps / taps.sum())[: len(x)]
    return y[factor - 1 :: factor], sample_rate_hz / factor
