"""Pickups and microphones: a broad colour that differs from take to take; amplifiers with cabinets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve, sosfilt

from model_compression.data.performance import SAMPLE_RATE_HZ

N_TAPS = 1024


def shaped(audio: NDArray[np.float32], points: list[tuple[float, float]]) -> NDArray[np.float32]:
    """Filter by a magnitude curve of ``(hz, dB)`` points, joined on a log axis; minimum phase, so nothing rings ahead.

    ``audio`` is ``(n_frames, n_channels)``.
    """
    n_fft = 4 * N_TAPS
    hz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE_HZ)
    xs = np.log([p[0] for p in points])
    gain_db = np.interp(np.log(np.maximum(hz, 5.0)), xs, [p[1] for p in points])
    cepstrum = np.fft.irfft(gain_db * (np.log(10) / 20))
    fold = np.zeros(n_fft)
    fold[0], fold[1 : n_fft // 2], fold[n_fft // 2] = 1.0, 2.0, 1.0
    taps = np.fft.irfft(np.exp(np.fft.rfft(cepstrum * fold)))[:N_TAPS]
    taps[N_TAPS // 2 :] *= np.hanning(N_TAPS)[N_TAPS // 2 :]
    return oaconvolve(audio, taps[:, None].astype(np.float32), axes=0)[: len(audio)].astype(np.float32)


def coloured(rng: np.random.Generator, audio: NDArray[np.float32], role: str) -> NDArray[np.float32]:
    """Colour a source as its pickup and player do: tilt, broad resonances, a little saturation."""
    tilt_db = rng.normal(0.0, 1.2)
    hz = np.geomspace(40.0, 18000.0, 14)
    wander = np.convolve(rng.normal(0.0, 2.2, len(hz) + 2), [0.25, 0.5, 0.25], mode="valid")
    curve = [(float(f), float(w + tilt_db * np.log2(f / 800) / 2)) for f, w in zip(hz, wander, strict=True)]
    if role != "bass" and rng.random() < 0.3:
        curve = [(f, g - 12 * max(0.0, np.log2(90 / f))) for f, g in curve]
    sound = shaped(audio, curve)
    if rng.random() < 0.25:
        peak = float(np.abs(sound).max()) + 1e-9
        drive = rng.uniform(0.5, 2.0)
        sound = np.tanh(sound * (drive / peak)).astype(np.float32)
    return sound


def amplified(rng: np.random.Generator, audio: NDArray[np.float32], gain: float) -> NDArray[np.float32]:
    """Play through a guitar amplifier: high-pass, two stages of soft clipping, a cabinet with edges and peaks.

    ``gain`` 1 is clean, 5 crunch, 40 and more lead.
    """
    peak = float(np.percentile(np.abs(audio), 99.5)) + 1e-9
    tight_hz = rng.uniform(80.0, 250.0)
    dry = sosfilt(_one_pole_high(tight_hz), audio / peak, axis=0)
    asymmetry = rng.uniform(0.0, 0.25)
    stage = np.tanh(dry * np.sqrt(gain) + asymmetry) - np.tanh(asymmetry)
    stage = np.tanh(stage * np.sqrt(gain))
    presence_hz, edge_hz = rng.uniform(2000.0, 3800.0), rng.uniform(4200.0, 6500.0)
    cone = [
        (30.0, -30.0), (75.0, -6.0), (rng.uniform(95.0, 140.0), rng.uniform(1.0, 5.0)), (400.0, rng.uniform(-4.0, 0.0)),
        (900.0, rng.uniform(-2.0, 2.0)), (presence_hz, rng.uniform(2.0, 8.0)), (edge_hz, 0.0), (edge_hz * 1.5, -18.0),
        (min(edge_hz * 3, 20000.0), -42.0), (23000.0, -60.0),
    ]  # fmt: skip
    return shaped(stage.astype(np.float32), cone)


def _one_pole_high(freq_hz: float) -> NDArray[np.float64]:
    pole = np.exp(-2 * np.pi * freq_hz / SAMPLE_RATE_HZ)
    return np.array([[(1 + pole) / 2, -(1 + pole) / 2, 0.0, 1.0, -pole, 0.0]])
