"""Twin of ``loudness.c``, ``kweight.c`` and ``true_peak.c``: every block kept, every gate exact."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

Array = NDArray[np.float64]

SILENCE_LUFS = -100.0
# ITU-R BS.1770-4, tables 1 and 2, for 48 kHz.
SHELF_B = (1.53512485958697, -2.69169618940638, 1.19839281085285)
SHELF_A = (1.0, -1.69065929318241, 0.73248077421585)
RLB_B = (1.0, -2.0, 1.0)
RLB_A = (1.0, -1.99004745483398, 0.99007225036621)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The figures of a loudness meter."""

    momentary_lufs: float
    short_term_lufs: float
    integrated_lufs: float
    loudness_range_lu: float
    sample_peak_dbfs: float
    true_peak_dbtp: float


def _analog(a: tuple[float, ...]) -> tuple[float, float]:
    """Undo the bilinear transform of a denominator; return half the corner in radians per sample, and Q."""
    at_nyquist = a[0] - a[1] + a[2]
    g_squared = (a[0] + a[1] + a[2]) / at_nyquist
    g_over_q = 2 * (a[0] - a[2]) / at_nyquist
    return float(np.arctan(np.sqrt(g_squared))), float(np.sqrt(g_squared) / g_over_q)


def k_sections(rate_hz: float) -> Array:
    """Return the two sections as SciPy's ``sos``, shape ``(2, 6)``."""
    if rate_hz == 48000.0:
        return np.array([[*SHELF_B, *SHELF_A], [*RLB_B, *RLB_A]])
    half_angle, q = _analog(SHELF_A)
    g = np.tan(half_angle * 48000.0 / rate_hz)
    top_lin = (SHELF_B[0] - SHELF_B[1] + SHELF_B[2]) / (SHELF_A[0] - SHELF_A[1] + SHELF_A[2])
    middle_lin = (SHELF_B[0] - SHELF_B[2]) / (SHELF_A[0] - SHELF_A[2])
    shelf = np.array([_digital(top_lin, middle_lin / q, 1.0, g), _digital(1.0, 1 / q, 1.0, g)])
    half_angle, q = _analog(RLB_A)
    g = np.tan(half_angle * 48000.0 / rate_hz)
    rlb = _digital(1.0, 1 / q, 1.0, g)
    return np.array([[*(shelf[0] / shelf[1, 0]), *(shelf[1] / shelf[1, 0])], [*RLB_B, *(rlb / rlb[0])]])


def _digital(a: float, b: float, c: float, g: float) -> Array:
    """Return ``a s^2 + b s + c`` in powers of z^-1, with s = (1 - z^-1) / (g (1 + z^-1))."""
    return np.array([a + b * g + c * g * g, 2 * (c * g * g - a), a - b * g + c * g * g])


def k_weighted(x: NDArray[np.floating], rate_hz: float) -> Array:
    """Return ``x``, shape ``(n_frames, n_lanes)``, through both filters."""
    return sosfilt(k_sections(rate_hz), np.asarray(x, np.float64), axis=0)


def lufs(power: float) -> float:
    """Return the loudness of a summed K-weighted power."""
    return float(max(SILENCE_LUFS, 10 * np.log10(power) - 0.691)) if power > 0 else SILENCE_LUFS


def between_samples(x: NDArray[np.floating]) -> Array:
    """Return the points at 1/4, 1/2, 3/4 behind each frame, shape ``(n_frames - 11, 3, n_lanes)``; first at frame 5."""
    taps = np.arange(12) - 5
    window = np.lib.stride_tricks.sliding_window_view(np.asarray(x, np.float64), 12, axis=0)
    t = taps - np.array([[0.25], [0.5], [0.75]])
    return np.einsum("nlk,pk->npl", window, np.sinc(t) * np.cos(np.pi * t / 12) ** 2)


def peaks_dbfs(x: NDArray[np.floating]) -> tuple[float, float]:
    """Return sample peak and true peak."""
    padded = np.concatenate([np.zeros((11, x.shape[1])), x])
    sample = float(np.abs(padded).max())
    true = max(sample, float(np.abs(between_samples(padded)).max()))
    return 20 * np.log10(max(sample, 1e-5)), 20 * np.log10(max(true, 1e-5))


def read(x: NDArray[np.floating], rate_hz: float) -> Reading:
    """Return the reading after the stereo programme ``x``, shape ``(n_frames, 2)``."""
    power = np.sum(k_weighted(x, rate_hz) ** 2, axis=1)
    n_subblocks = int(len(x) * 10 / rate_hz)
    ends = np.floor(np.arange(n_subblocks + 1) * rate_hz / 10 + 0.5).astype(int)
    sub = np.array([power[a:b].mean() for a, b in pairwise(ends)])
    momentary = _running_mean(sub, 4)
    short_term = _running_mean(sub, 30)
    gated = _gated(momentary, -10.0)
    sample_peak_dbfs, true_peak_dbtp = peaks_dbfs(x)
    return Reading(
        momentary_lufs=lufs(momentary[-1]) if len(momentary) else SILENCE_LUFS,
        short_term_lufs=lufs(short_term[-1]) if len(short_term) else SILENCE_LUFS,
        integrated_lufs=lufs(float(gated.mean())) if len(gated) else SILENCE_LUFS,
        loudness_range_lu=_range_lu(_gated(short_term, -20.0)),
        sample_peak_dbfs=sample_peak_dbfs,
        true_peak_dbtp=true_peak_dbtp,
    )


def _running_mean(sub: Array, n: int) -> Array:
    return np.lib.stride_tricks.sliding_window_view(sub, n).mean(axis=1) if len(sub) >= n else np.zeros(0)


def _gated(blocks: Array, relative_lu: float) -> Array:
    loud = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
    return loud[loud > loud.mean() * 10 ** (relative_lu / 10)] if len(loud) else loud


def _range_lu(blocks: Array) -> float:
    if len(blocks) < 2:
        return 0.0
    ordered = np.sort(blocks)
    low, high = (ordered[int((len(blocks) - 1) * p + 0.5)] for p in (0.10, 0.95))
    return float(10 * np.log10(high / low))
