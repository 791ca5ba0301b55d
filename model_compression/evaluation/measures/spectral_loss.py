"""Multi-resolution spectral distance of two stereo mixes, normalised by item: a quiet one counts like a loud one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .framing import Array, as_stereo, magnitudes

MAGNITUDE_MIN = 1e-4  # |X|^2 is clamped at 1e-8


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """One STFT."""

    n_fft: int
    n_hop: int
    n_window: int


FINE = (
    Resolution(n_fft=1024, n_hop=120, n_window=600),
    Resolution(n_fft=2048, n_hop=240, n_window=1200),
    Resolution(n_fft=512, n_hop=50, n_window=240),
)
COARSE = tuple(Resolution(n_fft=n, n_hop=n // 2, n_window=n) for n in (512, 2048, 8192))


def spectral_distance(mix: Array, reference: Array, resolutions: tuple[Resolution, ...] = COARSE) -> float:
    """Return the mean over resolutions of spectral convergence plus mean log-magnitude difference, one channel."""
    values = []
    for r in resolutions:
        y, x = (
            np.maximum(magnitudes(part, r.n_fft, r.n_hop, n_window=r.n_window), MAGNITUDE_MIN)
            for part in (mix, reference)
        )
        values.append(np.linalg.norm(y - x) / np.linalg.norm(x) + np.mean(np.abs(np.log(y) - np.log(x))))
    return float(np.mean(values))


def stereo_distance(
    mix: NDArray[np.floating], reference: NDArray[np.floating], resolutions: tuple[Resolution, ...] = COARSE
) -> float:
    """Return the mean distance of sum and difference; swapping left and right of either mix changes nothing."""
    n = min(len(mix), len(reference))
    y, x = as_stereo(mix)[:n], as_stereo(reference)[:n]
    return float(
        np.mean(
            [spectral_distance(y[:, 0] + sign * y[:, 1], x[:, 0] + sign * x[:, 1], resolutions) for sign in (1.0, -1.0)]
        )
    )
