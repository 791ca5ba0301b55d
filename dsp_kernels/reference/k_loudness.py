"""Twin of the K-weighted loudness of single channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]


def k_weighted(x: NDArray[np.floating], rate_hz: float) -> Array:
    """Return ``x``, shape ``(n_frames, ...)``, behind both filters of ITU-R BS.1770-4."""
    k = np.tan(np.pi * 1681.974450955533 / rate_hz)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]
    y = lfilter(shelf, [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k], np.asarray(x, np.float64), axis=0)
    k, q = np.tan(np.pi * 38.13547087602444 / rate_hz), 0.5003270373238773
    a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    return lfilter([1, -2, 1], a / a[0], y, axis=0)


def loudness_lufs(x: NDArray[np.floating], rate_hz: float, hop_frames: int, window_hops: int) -> Array:
    """Return the loudness at the end of each hop over the ``window_hops`` before it; before the start is silence."""
    y = k_weighted(x, rate_hz)
    n_hops = len(y) // hop_frames
    power = np.mean(np.square(y[: n_hops * hop_frames]).reshape(n_hops, hop_frames, -1), axis=1)
    padded = np.concatenate([np.zeros((window_hops, power.shape[1])), np.cumsum(power, axis=0)])
    mean = (padded[window_hops:] - padded[:-window_hops]) / window_hops
    return np.maximum(10 * np.log10(np.maximum(mean, 1e-30)) - 0.691, -100.0)
