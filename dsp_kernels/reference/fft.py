"""Twin of ``fft.c``: windows and power spectra by NumPy's FFT."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hann(n: int) -> NDArray[np.float64]:
    """Return the periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


def power_spectrum(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the one-sided power of ``x``, shape ``(n, ...)``, under a Hann window; its sum is the mean square."""
    window = hann(len(x))
    spectrum = np.fft.rfft(np.asarray(x, np.float64) * window.reshape(-1, *[1] * (x.ndim - 1)), axis=0)
    power = np.abs(spectrum) ** 2 * 2 / (len(x) * np.sum(window**2))
    power[[0, -1]] /= 2
    return power
