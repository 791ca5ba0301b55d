"""Paths with known answers: a delay line, filters of analytic response, noise of known level."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 48000
Frames = NDArray[np.float64]


def delayed(frames: Frames, n_frames: int, *, tail_frames: int = 4800) -> Frames:
    """Return what a delay line gives, and what comes after."""
    return np.concatenate([np.zeros(n_frames), frames, np.zeros(tail_frames)])


def with_noise(frames: Frames, below_db: float, *, seed: int = 1) -> Frames:
    """Return frames with white noise, so many dB under their own level while they sound."""
    power = np.mean(np.square(frames[np.abs(frames) > 0])) * 10.0 ** (-below_db / 10.0)
    return frames + np.random.default_rng(seed).standard_normal(len(frames)) * np.sqrt(power)


def peaking(freq_hz: float, gain_db: float, q: float) -> tuple[Frames, Frames]:
    """Return a bell (Bristow-Johnson, Audio EQ Cookbook)."""
    a, w = 10.0 ** (gain_db / 40.0), 2 * np.pi * freq_hz / RATE_HZ
    alpha = np.sin(w) / (2 * q)
    return (
        np.array([1 + alpha * a, -2 * np.cos(w), 1 - alpha * a]),
        np.array([1 + alpha / a, -2 * np.cos(w), 1 - alpha / a]),
    )


def high_pass(freq_hz: float, q: float = 2**-0.5) -> tuple[Frames, Frames]:
    """Return a second-order high-pass (the same source)."""
    w = 2 * np.pi * freq_hz / RATE_HZ
    alpha, cos = np.sin(w) / (2 * q), np.cos(w)
    return np.array([(1 + cos) / 2, -(1 + cos), (1 + cos) / 2]), np.array([1 + alpha, -2 * cos, 1 - alpha])
