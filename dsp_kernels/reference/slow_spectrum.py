"""Twin of ``slow_spectrum.c``: the decimated sound and its long Hann window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from .fft import hann

N_WINDOW = 1024
CYCLE_HOPS = 6


def decimated(x: NDArray[np.floating], factor: int) -> NDArray[np.float64]:
    """Return every ``factor``-th frame of ``x``, shape ``(n_frames, ...)``, behind the low-pass."""
    n = 8 * factor
    i = np.arange(n) - (n - 1) / 2
    taps = np.sinc(0.84 * i / factor) * np.cos(np.pi * i / n) ** 2
    return lfilter(taps / taps.sum(), [1.0], np.asarray(x, np.float64), axis=0)[factor - 1 :: factor]


def windows(x: NDArray[np.floating], factor: int, hop_frames: int) -> NDArray[np.complex128]:
    """Return the spectrum of each cycle's window, shape ``(n_cycles, 513, ...)``; it ends with the first hop."""
    low = decimated(x, factor)
    low = np.concatenate([np.zeros((N_WINDOW, *low.shape[1:])), low])
    spectra = []
    for cycle in range((len(x) // hop_frames + CYCLE_HOPS - 1) // CYCLE_HOPS):
        end = (cycle * CYCLE_HOPS + 1) * hop_frames // factor
        spectra.append(np.fft.rfft(low[end : end + N_WINDOW] * hann(N_WINDOW)[:, None], axis=0))
    return np.array(spectra)
