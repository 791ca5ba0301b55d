"""Twin of ``envelope.c``: crest, noise floor, syllabic modulation, and the rise and fall of single notes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter

Array = NDArray[np.float64]


def hop_power(x: NDArray[np.floating], hop_frames: int) -> Array:
    """Return the mean square of each whole hop of ``x``, shape ``(n_frames,)``."""
    n_hops = len(x) // hop_frames
    return np.mean(np.square(np.asarray(x[: n_hops * hop_frames], np.float64)).reshape(n_hops, hop_frames), axis=1)


def crest_db(x: NDArray[np.floating], hop_frames: int, hop_rate_hz: float) -> Array:
    """Return peak over RMS, both forgetting with 200 ms."""
    power = hop_power(x, hop_frames)
    peaks = np.max(np.square(np.asarray(x[: len(power) * hop_frames], np.float64)).reshape(-1, hop_frames), axis=1)
    keep = np.exp(-1 / (0.2 * hop_rate_hz))
    mean = lfilter([1 - keep], [1, -keep], power)
    held = np.zeros_like(peaks)
    for i, peak in enumerate(peaks):
        held[i] = max(peak, held[i - 1] * keep if i else 0.0)
    return np.where(mean > 1e-10, np.maximum(10 * np.log10(np.maximum(held, 1e-10) / np.maximum(mean, 1e-10)), 0), 0)


def noise_floor_dbfs(level_dbfs: Array, is_slow: NDArray[np.bool_], hop_rate_hz: float) -> Array:
    """Return the floor under ``level_dbfs`` of each hop; where ``is_slow`` it rises over 30 s, else over 5 s."""
    fall, rise, rise_slow = (1 - np.exp(-1 / (tau_s * hop_rate_hz)) for tau_s in (0.5 / 3, 5.0, 30.0))
    floor = np.zeros_like(level_dbfs)
    floor[0] = min(level_dbfs[0], -50.0)
    for i in range(1, len(level_dbfs)):
        speed = fall if level_dbfs[i] < floor[i - 1] else rise_slow if is_slow[i] else rise
        floor[i] = max(floor[i - 1] + speed * (level_dbfs[i] - floor[i - 1]), -100.0)
    return floor


def syllabic_modulation(x: NDArray[np.floating], hop_frames: int, hop_rate_hz: float) -> Array:
    """Return the share of modulation from 3 to 8 Hz in that from 0.5 to 20 Hz, averaged over 2 s."""
    envelope = np.sqrt(hop_power(x, hop_frames))
    rate = {"fs": hop_rate_hz}
    whole = lfilter(*butter(2, 20, **rate), lfilter(*butter(2, 0.5, "high", **rate), envelope))
    syllabic = lfilter(*butter(2, 8, **rate), lfilter(*butter(2, 3, "high", **rate), whole))
    keep = np.exp(-1 / (2 * hop_rate_hz))
    below, above = (lfilter([1 - keep], [1, -keep], np.square(y)) for y in (whole, syllabic))
    return np.where(below > 1e-14, np.minimum(above / np.maximum(below, 1e-14), 1), 0)


def rise_ms(envelope: Array, rate_hz: float) -> float:
    """Return the time in which the RMS over 5 ms of ``envelope`` goes from 10 to 90 % of its largest."""
    n = round(0.005 * rate_hz)
    rms = np.sqrt(np.convolve(np.square(envelope), np.ones(n) / n)[: len(envelope)])
    top = rms.max()
    return float((np.argmax(rms >= 0.9 * top) - np.argmax(rms >= 0.1 * top)) / rate_hz * 1000)
