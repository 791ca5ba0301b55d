"""Twin of ``resampler.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0

TAPS, PHASES = 48, 256
DELAY_FRAMES = 24
BETA = 11.0


def table() -> NDArray[np.float64]:
    """Return the weights of every phase, and of the phase behind the last, shape ``(PHASES + 1, TAPS)``."""
    t = np.arange(TAPS) - (TAPS / 2 - 1) - np.arange(PHASES + 1)[:, None] / PHASES
    window = i0(BETA * np.sqrt(np.maximum(1 - (2 * t / TAPS) ** 2, 0))) / i0(BETA)
    h = np.sinc(t) * window
    return h / h.sum(axis=1, keepdims=True)


def ratios(start: float, target: float, ramp_frames: int, n_frames: int) -> NDArray[np.float64]:
    """Return the steps between output frames when the ratio begins to move before the first of them."""
    ramp = start + (target - start) * np.arange(1, ramp_frames + 1) / ramp_frames
    return np.concatenate([ramp, np.full(max(n_frames - ramp_frames, 0), target)])[:n_frames]


def places(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where in the input each output frame lies, the delay left out."""
    return np.concatenate([[0.0], np.cumsum(steps)])


def resample(x: NDArray[np.floating], where: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``x``, shape ``(n_frames, n_lanes)``, at the places ``where``, 24 frames late."""
    nothing = np.zeros((TAPS - 1, x.shape[1]))
    padded = np.concatenate([nothing, np.asarray(x, np.float64), nothing[:1]])  # a place may round up to the end
    whole = np.floor(where).astype(int)
    phase = (where - whole) * PHASES
    row = np.minimum(phase.astype(int), PHASES - 1)
    share = (phase - row)[:, None]
    h = table()
    weights = h[row] + share * (h[row + 1] - h[row])
    frames = padded[whole[:, None] + np.arange(TAPS)]
    return np.einsum("nk,nkl->nl", weights, frames)
