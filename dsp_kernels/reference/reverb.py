"""Twin of ``reverb.c``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard
from scipy.signal import lfilter

Array = NDArray[np.float64]

LINE_FRAMES = (1031, 1187, 1367, 1571, 1811, 2081, 2393, 2753)
DIFFUSER_FRAMES = (113, 191, 313, 463)
DIFFUSION_LIN = 0.5
EARLY_LIN = float(np.float32(0.4))
INPUT_SIGNS = np.array([1, 1, 1, -1, 1, 1, -1, 1])
CHUNK_FRAMES = 512  # shorter than any line, so that a chunk never feeds back into itself


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters, at the contract's defaults."""

    decay_s: float = 1.4
    predelay_ms: float = 20.0
    damping_hz: float = 5000.0
    low_cut_hz: float = 150.0
    level_db: float = 0.0


def _scaled_prime(n_frames: int, rate_hz: float) -> int:
    n = int(n_frames * rate_hz / 48000.0 + 0.5)
    while any(n % i == 0 for i in range(2, int(np.sqrt(n)) + 1)):
        n += 1
    return n


def _delayed(x: Array, n: int) -> Array:
    return np.concatenate([np.zeros(n), x])[: len(x)]


def line_coefficients(settings: Settings, rate_hz: float) -> tuple[NDArray[np.int64], Array, Array]:
    """Return length, gain and pole of each line."""
    lengths = np.array([_scaled_prime(n, rate_hz) for n in LINE_FRAMES])
    gain = 10 ** (-3 * lengths / (settings.decay_s * rate_hz))
    a, b = 1 - gain**2, 1 - gain**2 * np.cos(2 * np.pi * settings.damping_hz / rate_hz)
    return lengths, gain, (b - np.sqrt(b**2 - a**2)) / a


def reverb(x: NDArray[np.floating], rate_hz: float, settings: Settings) -> Array:
    """Return the wet sound of the mono ``x``, shape ``(n_frames, 2)``, all parameters at rest from the beginning."""
    y = _delayed(np.asarray(x, np.float64), int(settings.predelay_ms * 0.001 * rate_hz + 0.5))
    y = _low_cut(y, settings.low_cut_hz, rate_hz)
    early = []
    for n in (_scaled_prime(n, rate_hz) for n in DIFFUSER_FRAMES):
        b, a = np.zeros(n + 1), np.zeros(n + 1)
        b[0], b[n], a[0], a[n] = -DIFFUSION_LIN, 1.0, 1.0, -DIFFUSION_LIN
        y = lfilter(b, a, y)
        early.append(EARLY_LIN * y)
    late = _network(y, rate_hz, settings)
    return (np.stack([early[1], -early[3]], axis=1) + late) * 10 ** (settings.level_db / 20)


def _low_cut(x: Array, freq_hz: float, rate_hz: float) -> Array:
    g = np.tan(np.pi * freq_hz / rate_hz)
    a0 = 1 + np.sqrt(2) * g + g * g
    return lfilter(np.array([1, -2, 1]) / a0, np.array([a0, 2 * (g * g - 1), 1 - np.sqrt(2) * g + g * g]) / a0, x)


def _network(x: Array, rate_hz: float, settings: Settings) -> Array:
    lengths, gain, pole = line_coefficients(settings, rate_hz)
    mix = hadamard(8) / np.sqrt(8)
    power = np.mean(gain**2)
    input_lin = INPUT_SIGNS * np.sqrt((1 - EARLY_LIN**2) * (1 - power) / power)
    written = np.zeros((len(x) + max(lengths), 8))  # line inputs, the silence before the beginning included
    memory = np.zeros((8, 1))
    out = np.zeros((len(x), 2))
    for start in range(0, len(x), CHUNK_FRAMES):
        n = min(CHUNK_FRAMES, len(x) - start)
        lines = np.empty((n, 8))
        for i, length in enumerate(lengths):
            first = start + max(lengths) - length
            delayed = written[first : first + n, i]
            b, a = [gain[i] * (1 - pole[i])], [1, -pole[i]]
            lines[:, i], memory[i] = lfilter(b, a, delayed, zi=memory[i])
        mixed = lines @ mix.T
        written[start + max(lengths) : start + max(lengths) + n] = mixed + np.outer(x[start : start + n], input_lin)
        out[start : start + n] = mixed[:, 1:3]
    return out
