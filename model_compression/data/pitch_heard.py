"""The pitch of a steady sound, by autocorrelation normalised for the overlap (McLeod and Wyvill 2005)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

SILENT = 1e-5
FARTHEST = 3.3  # times higher or lower: an overblown clarinet is a twelfth off
LEAST_ALIKE, NEARLY_BEST = 0.5, 0.96
WIDEST_SHARE = 0.6  # of the sound; two stretches farther apart overlap too little


def pitch_heard_hz(sound: NDArray[np.floating], *, rate_hz: float, near_hz: float) -> float | None:
    """Measure a pitch somewhere near one; None of silence, of noise, and of what is no number.

    Parameters
    ----------
    sound
        ``(n_frames,)``.
    """
    if len(sound) < 8 or not np.isfinite(sound).all():
        return None
    x = sound.astype(np.float64) - sound.mean()
    if np.abs(x).max() < SILENT:
        return None
    alike = _alike(x)
    widest = int(WIDEST_SHARE * len(x))
    low, high = max(2, int(rate_hz / near_hz / FARTHEST)), min(int(rate_hz / near_hz * FARTHEST), widest)
    here = alike[low:high]
    is_peak = (alike[low - 1 : high - 1] < here) & (here >= alike[low + 1 : high + 1])
    most = float(here[is_peak].max(initial=0.0))
    if most < LEAST_ALIKE:
        return None
    period = _between(alike, low + int(np.flatnonzero(is_peak & (here > NEARLY_BEST * most))[0]))
    for multiple in (2, 4, 8, 16):  # a peak farther out says the period more finely
        at, reach = round(period * multiple), max(1, int(0.2 * period))
        if at + reach + 2 > widest:
            break
        k = at - reach + int(np.argmax(alike[at - reach : at + reach + 1]))
        period = _between(alike, k) / multiple
    return float(rate_hz / period)


def _alike(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by lag how alike a sound is to itself, at most 1."""
    n = len(x)
    n_fft = next_fast_len(2 * n, real=True)
    spectrum = rfft(x, n_fft)
    product = irfft(spectrum.real**2 + spectrum.imag**2, n_fft)[:n]
    before = np.concatenate([[0.0], np.cumsum(x**2)])
    lag = np.arange(n)
    overlap = before[n - lag] + before[n] - before[lag]
    return np.asarray(2 * product / np.maximum(overlap, 1e-30))


def _between(alike: NDArray[np.float64], k: int) -> float:
    before, here, after = alike[k - 1 : k + 2]
    bend = before - 2 * here + after
    return k + (float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0)
