"""Test signals: one channel each, float64, full scale is 1. What is random is seeded: a signal is its arguments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import max_len_seq

from .levels import gain_lin

Frames = NDArray[np.float64]
PEAK_DBFS = -12.0  # of the largest frame; the mixer's limiters stay far away
TONE_HZ = 997.0  # AES17: prime, so that it falls on every code of a converter
_SPEECH_BANDS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000)
_SPEECH_BANDS_DB = (2.9, 2.9, -0.8, -6.8, -12.8, -18.8, -24.8)  # IEC 60268-16:2011, Annex C, male speech


def silence(n_frames: int) -> Frames:
    """Return digital silence."""
    return np.zeros(n_frames)


def impulse(n_frames: int, *, at_frame: int = 0, peak_dbfs: float = PEAK_DBFS) -> Frames:
    """Return one frame among zeros."""
    frames = np.zeros(n_frames)
    frames[at_frame] = gain_lin(peak_dbfs)
    return frames


def tone(sample_rate_hz: float, n_frames: int, *, freq_hz: float = TONE_HZ, peak_dbfs: float = PEAK_DBFS) -> Frames:
    """Return a sine."""
    return gain_lin(peak_dbfs) * np.sin(2 * np.pi * freq_hz / sample_rate_hz * np.arange(n_frames))


def mls(n_bits: int = 14, *, peak_dbfs: float = PEAK_DBFS) -> Frames:
    """Return one period of a maximum length sequence: ``2 ** n_bits - 1`` frames, white, of two values."""
    return gain_lin(peak_dbfs) * (2.0 * max_len_seq(n_bits)[0] - 1.0)


def sweep(
    sample_rate_hz: float, duration_s: float = 4.0, *, start_hz: float = 5.0, peak_dbfs: float = PEAK_DBFS
) -> Frames:
    """Return an exponential swept sine up to 0.49 of the rate (Farina, AES 108, 2000), with soft ends.

    Harmonics of what it passes through arrive before the linear response: the second one by
    ``duration_s * ln 2 / ln(end / start)``, 0.33 s at 48 kHz.
    """
    end_hz = 0.49 * sample_rate_hz
    n_frames = round(duration_s * sample_rate_hz)
    octaves = np.log(end_hz / start_hz)
    time = np.arange(n_frames) / n_frames
    frames = np.sin(2 * np.pi * start_hz * duration_s / octaves * np.expm1(time * octaves))
    n_in, n_out = n_frames // 20, n_frames // 400
    frames[:n_in] *= np.sin(np.linspace(0, np.pi / 2, n_in)) ** 2
    frames[-n_out:] *= np.cos(np.linspace(0, np.pi / 2, n_out)) ** 2
    return gain_lin(peak_dbfs) * frames


def tone_bins(n_frames: int, sample_rate_hz: float, n_tones: int, low_hz: float, high_hz: float) -> NDArray[np.int64]:
    """Return odd bins of a period of ``n_frames``, spread by equal ratios; second-order products fall on even ones."""
    wanted = np.geomspace(low_hz, high_hz, n_tones) * n_frames / sample_rate_hz
    bins = 2 * np.floor(wanted / 2).astype(np.int64) + 1
    return np.unique(bins[bins < n_frames // 2])


def multitone(n_frames: int, bins: NDArray[np.int64], *, seed: int = 1, peak_dbfs: float = PEAK_DBFS) -> Frames:
    """Return one period of equal sines on bins of it; repeated, it is periodic without a seam."""
    spectrum = np.zeros(n_frames // 2 + 1, dtype=np.complex128)
    spectrum[bins] = np.exp(2j * np.pi * np.random.default_rng(seed).random(len(bins)))
    frames = np.fft.irfft(spectrum, n_frames)
    return np.asarray(gain_lin(peak_dbfs) * frames / np.max(np.abs(frames)))


def speech_like(sample_rate_hz: float, duration_s: float, *, seed: int = 1, peak_dbfs: float = PEAK_DBFS) -> Frames:
    """Return noise with the spectrum of speech, in syllables, four or so a second, and phrases with pauses."""
    random = np.random.default_rng(seed)
    n_frames = round(duration_s * sample_rate_hz)
    freq_hz = np.fft.rfftfreq(n_frames, 1.0 / sample_rate_hz)
    # Levels of octave bands as a density: 3 dB an octave less.
    shape_db = np.array(_SPEECH_BANDS_DB) - 10.0 * np.log10(np.array(_SPEECH_BANDS_HZ) / 1000.0)
    gain_db = np.interp(np.log2(np.maximum(freq_hz, 1.0)), np.log2(_SPEECH_BANDS_HZ), shape_db)
    gain = 10.0 ** (gain_db / 20.0) * ((freq_hz > 90.0) & (freq_hz < 11000.0))
    noise = np.fft.irfft(np.fft.rfft(random.standard_normal(n_frames)) * gain, n_frames)
    frames = noise * _syllables(n_frames, sample_rate_hz, random)
    return np.asarray(gain_lin(peak_dbfs) * frames / np.max(np.abs(frames)))


def _syllables(n_frames: int, sample_rate_hz: float, random: np.random.Generator) -> Frames:
    envelope, at_frame = np.zeros(n_frames), 0
    while at_frame < n_frames:
        for _ in range(int(random.integers(5, 12))):
            length = round(sample_rate_hz * random.uniform(0.15, 0.32))
            syllable = random.uniform(0.4, 1.0) * np.sin(np.linspace(0, np.pi, length)) ** 2
            room = max(0, min(length, n_frames - at_frame))
            envelope[at_frame : at_frame + room] = syllable[:room]
            at_frame += length
        at_frame += round(sample_rate_hz * random.uniform(0.3, 0.7))
    return envelope
