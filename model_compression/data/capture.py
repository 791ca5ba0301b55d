"""Every source through every path into every channel at once: overlap-save with a matrix product a frequency."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .rooms import N_TAPS

BLOCK = 2 * N_TAPS  # frames of one FFT; half of each is new
N_BINS = N_TAPS + 1
_CHUNK = 16  # blocks at a time: what is worked on stays within a few MB


def path_matrix(taps: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Return the spectra of impulse responses ``(n_sources, n_channels, N_TAPS)`` as ``(..., N_BINS)``."""
    return scipy.fft.rfft(taps, BLOCK, axis=-1)


def convolve(
    sources: NDArray[np.float32], spectra: NDArray[np.complex64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Send sources through a matrix of filters.

    Parameters
    ----------
    sources
        ``(n_sources, n_frames)`` float32.
    spectra
        ``(n_sources, n_channels, N_BINS)``: from ``path_matrix``, times what else bends them. Their impulse responses
        must have died within ``N_TAPS``.

    Returns
    -------
    channels
        ``(n_channels, n_frames)`` float32.
    power
        ``(n_sources, N_BINS)`` float64: mean power spectrum of each source.
    """
    n_sources, n_frames = sources.shape
    n_blocks = -(-n_frames // N_TAPS)
    padded = np.zeros((n_sources, (n_blocks + 1) * N_TAPS), np.float32)
    padded[:, N_TAPS : N_TAPS + n_frames] = sources
    blocks = np.lib.stride_tricks.sliding_window_view(padded, BLOCK, axis=1)[:, ::N_TAPS]
    matrix = np.ascontiguousarray(spectra.transpose(2, 0, 1).astype(np.complex64))
    out = np.empty((spectra.shape[1], n_blocks * N_TAPS), np.float32)
    power = np.zeros((n_sources, N_BINS))
    for start in range(0, n_blocks, _CHUNK):
        x = scipy.fft.rfft(blocks[:, start : start + _CHUNK], axis=-1)
        once = x[:, ::2]  # every second block: together they hold each frame once
        power += np.einsum("sbf,sbf->sf", once.real, once.real) + np.einsum("sbf,sbf->sf", once.imag, once.imag)
        y = np.ascontiguousarray(x.transpose(2, 1, 0)) @ matrix
        wave = scipy.fft.irfft(np.ascontiguousarray(y.transpose(2, 1, 0)), BLOCK, axis=-1)[..., N_TAPS:]
        out[:, start * N_TAPS : start * N_TAPS + wave.shape[1] * N_TAPS] = wave.reshape(len(out), -1)
    return out[:, :n_frames], power / ((n_blocks + 1) // 2)
