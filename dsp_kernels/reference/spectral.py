"""Twin of ``spectral.c``: bands and shape of one power spectrum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

SILENCE_DBFS = -100.0
BARK_EDGE_HZ = [
    0, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300, 6400,
    7700, 9500, 12000, 15500,
]  # fmt: skip

Array = NDArray[np.float64]


def level_db(power: Array) -> Array:
    """Return 10 log10, not under silence."""
    return np.maximum(10 * np.log10(np.maximum(power, 1e-30)), SILENCE_DBFS)


def mel_filters(rate_hz: float, n_fft: int) -> Array:
    """Return 40 triangles, equally wide in mel from 30 Hz to 16 kHz, shape ``(40, n_fft // 2 + 1)``."""
    mel = 2595 * np.log10(1 + np.arange(n_fft // 2 + 1) * rate_hz / n_fft / 700)
    feet = np.linspace(2595 * np.log10(1 + 30 / 700), 2595 * np.log10(1 + 16000 / 700), 42)
    return np.array([np.interp(mel, feet[m : m + 3], [0, 1, 0]) for m in range(40)])


def bark_filters(rate_hz: float, n_fft: int) -> Array:
    """Return the share of each bin in each critical band; a bin is as wide as bins are apart."""
    spacing = rate_hz / n_fft
    middle = np.arange(n_fft // 2 + 1) * spacing
    filters = []
    for low, high in pairwise(BARK_EDGE_HZ):
        overlap = np.minimum(middle + spacing / 2, high) - np.maximum(middle - spacing / 2, low)
        filters.append(np.clip(overlap / spacing, 0, 1))
    filters[0][0] = 1.0
    return np.array(filters)


def log_mel_db(power: Array, rate_hz: float) -> Array:
    """Return mel bands of ``power``, shape ``(n_bins,)``, relative to a full-scale sine."""
    return level_db(mel_filters(rate_hz, 2 * (len(power) - 1)) @ power * 2)


def mfcc(mel_db: Array) -> Array:
    """Return cepstral coefficients 0 to 12."""
    return dct(mel_db, type=2, norm="ortho")[:13]


def shape(power: Array, rate_hz: float) -> dict[str, float]:
    """Return centroid, roll-off, flatness and brightness."""
    n_fft = 2 * (len(power) - 1)
    spacing = rate_hz / n_fft
    freq_hz = np.arange(len(power)) * spacing
    total = float(power.sum())
    if total <= 1e-10:
        return dict.fromkeys(("centroid_hz", "rolloff_hz", "flatness", "brightness"), 0.0)
    edges = (np.arange(len(power) + 1) - 0.5) * spacing
    cumulated = np.concatenate([[0.0], np.cumsum(power)])
    inner = power[(freq_hz > 100) & (freq_hz <= 10000)] + 1e-13
    return {
        "centroid_hz": float(freq_hz @ power / total),
        "rolloff_hz": max(float(np.interp(0.85 * total, cumulated, edges)), 0.0),
        "flatness": float(np.exp(np.mean(np.log(inner))) / np.mean(inner)),
        "brightness": 1.0 - float(np.interp(1500.0, edges, cumulated)) / total,
    }
