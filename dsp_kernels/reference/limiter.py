"""Twin of ``limiter.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .loudness import between_samples

Array = NDArray[np.float64]

LOOKAHEAD_FRAMES = 48
SMOOTH_FRAMES = 16
CREEP_LIN = 2.0**-22


def _delayed(x: Array, n: int) -> Array:
    return np.concatenate([np.zeros((n, x.shape[1])), x])[: len(x)]


def gain(
    x: NDArray[np.floating],
    rate_hz: float,
    *,
    ceiling_lin: float | Array,
    release_ms: float,
    is_true_peak: bool = False,
    is_linked: bool = False,
) -> Array:
    """Return the gain of each frame of the delayed sound, shape ``(n_frames, n_lanes)``.

    ``ceiling_lin`` may be a value per frame, shape ``(n_frames, 1)``.
    """
    x = np.asarray(x, np.float64)
    peak = np.maximum(np.abs(_delayed(x, 6)), np.abs(_delayed(x, 5)))
    if is_true_peak:
        padded = np.concatenate([np.zeros((11, x.shape[1])), x])
        peak = np.maximum(peak, np.abs(between_samples(padded)).max(axis=1))
    needed = np.minimum(1.0, ceiling_lin / np.maximum(peak, 1e-30))
    if is_linked:
        needed = np.repeat(needed.reshape(len(x), -1, 2).min(axis=2), 2, axis=1)
    past = np.concatenate([np.ones((LOOKAHEAD_FRAMES, x.shape[1])), needed])
    lowest = np.lib.stride_tricks.sliding_window_view(past, LOOKAHEAD_FRAMES + 1, axis=0).min(axis=-1)
    released = _released(lowest, 1 - np.exp(-1000 / (release_ms * rate_hz)))
    box = np.ones(SMOOTH_FRAMES) / SMOOTH_FRAMES
    triangle = np.convolve(box, box)
    padded = np.concatenate([np.ones((len(triangle) - 1, x.shape[1])), released])
    return np.stack([np.convolve(lane, triangle, "valid") for lane in padded.T], axis=1)


def _released(lowest: Array, coeff: float) -> Array:
    out, now = np.empty_like(lowest), np.ones(lowest.shape[1])
    for n, low in enumerate(lowest):
        now = np.minimum(low, now + coeff * now * (low - now) + CREEP_LIN)
        out[n] = now
    return out


def limited(x: NDArray[np.floating], gain_lin: Array) -> Array:
    """Return the sound, 48 frames late, at ``gain_lin``."""
    return _delayed(np.asarray(x, np.float64), LOOKAHEAD_FRAMES) * gain_lin
