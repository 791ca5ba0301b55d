"""Levels and weightings. 0 dBFS is the RMS of a sine of full scale (AES17-2020, 3.12): a full square is +3.01 dBFS."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SILENCE_DBFS = -200.0  # stands for digital silence: JSON has no infinity
FULL_SCALE_SINE_POWER = 0.5
AUDIO_BAND_HZ = (20.0, 20000.0)
_A_POLES_HZ = (20.598997, 107.65265, 737.86223, 12194.217)  # IEC 61672-1:2013, Annex E


def gain_lin(gain_db: float) -> float:
    """Return the factor of a ratio in dB."""
    return float(10.0 ** (gain_db / 20.0))


def ratio_db(power: float, reference: float) -> float:
    """Return a ratio of two powers in dB; -200 stands for nothing at all."""
    if power <= reference * 10.0 ** (SILENCE_DBFS / 10.0):
        return SILENCE_DBFS
    return float(10.0 * np.log10(power / reference))


def power_dbfs(power: float) -> float:
    """Return the level of a mean square."""
    return ratio_db(power, FULL_SCALE_SINE_POWER)


def level_dbfs(frames: ArrayLike) -> float:
    """Return the RMS level of a channel."""
    return power_dbfs(float(np.mean(np.square(np.asarray(frames, dtype=np.float64)))))


def a_weighting_db(freq_hz: ArrayLike) -> NDArray[np.float64]:
    """Return the A weighting, 0 dB at 1 kHz (IEC 61672-1:2013, E.1)."""

    def weight(f: NDArray[np.float64]) -> NDArray[np.float64]:
        f1, f2, f3, f4 = (p**2 for p in _A_POLES_HZ)
        s = f**2
        return f4 * s**2 / ((s + f1) * np.sqrt((s + f2) * (s + f3)) * (s + f4))

    f = np.asarray(freq_hz, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(20.0 * np.log10(weight(f) / weight(np.array(1000.0))))


def band_power(
    frames: NDArray[np.float64],
    sample_rate_hz: float,
    *,
    band_hz: tuple[float, float] = AUDIO_BAND_HZ,
    is_a_weighted: bool = False,
) -> float:
    """Return the mean square of a channel within a band, by one Hann-windowed spectrum; the mean does not count."""
    window = np.hanning(len(frames))
    spectrum = np.fft.rfft((frames - np.mean(frames)) * window)
    freq_hz = np.fft.rfftfreq(len(frames), 1.0 / sample_rate_hz)
    power = np.square(np.abs(spectrum)) * 2.0 / (len(frames) * np.sum(window**2))
    is_in = (freq_hz >= band_hz[0]) & (freq_hz <= band_hz[1])
    if is_a_weighted:
        power[is_in] *= 10.0 ** (a_weighting_db(freq_hz[is_in]) / 10.0)
    return float(np.sum(power[is_in]))
