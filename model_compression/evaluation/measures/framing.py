"""Frames, spectra and resampling that several measures share."""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly
from scipy.signal.windows import hann

Array = NDArray[np.float64]


def as_stereo(x: NDArray[np.floating]) -> Array:
    """Return ``x``, shape ``(n_frames,)`` or ``(n_frames, 1 or 2)``, as two channels of the same power in all."""
    y = np.asarray(x, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    return np.repeat(y, 2, axis=1) / np.sqrt(2.0) if y.shape[1] == 1 else y


def at_rate(x: NDArray[np.floating], from_hz: float, to_hz: float) -> Array:
    """Return ``x`` (time first) at another sample rate."""
    if from_hz == to_hz:
        return np.asarray(x, np.float64)
    common = gcd(int(from_hz), int(to_hz))
    return resample_poly(np.asarray(x, np.float64), int(to_hz) // common, int(from_hz) // common, axis=0)


def frames_of(x: Array, n_frame: int, n_hop: int) -> Array:
    """Return a view ``(n, n_frame, ...)`` of the whole frames of ``x``; one padded frame where it is shorter."""
    if len(x) < n_frame:
        x = np.concatenate([x, np.zeros((n_frame - len(x), *x.shape[1:]))])
    windows = np.lib.stride_tricks.sliding_window_view(x, n_frame, axis=0)[::n_hop]
    return np.moveaxis(windows, -1, 1)


def magnitudes(x: Array, n_fft: int, n_hop: int, *, n_window: int | None = None, is_root: bool = False) -> Array:
    """Return ``|STFT|`` of one channel, ``(n, n_fft / 2 + 1)``: periodic Hann (or its root), no centring."""
    n_window = n_window or n_fft
    window = hann(n_window, sym=False)
    window = np.sqrt(window) if is_root else window
    framed = frames_of(x, n_window, n_hop)
    return np.concatenate(
        [np.abs(np.fft.rfft(framed[k : k + 256] * window, n_fft, axis=1)) for k in range(0, len(framed), 256)]
    )
