"""Twin of ``pairs.c``: coherence and GCC-PHAT delay of one channel against another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .slow_spectrum import N_WINDOW

GATE_POWER = 10**-7.5
CYCLE_S = 0.06


def pair(
    a: NDArray[np.complex128], b: NDArray[np.complex128], floor_a_dbfs: NDArray[np.floating], rate_hz: float
) -> tuple[float, float | None]:
    """Return how much of ``b`` comes from ``a``, and how much later in ms (None: nothing stands out).

    Parameters
    ----------
    a, b
        Spectra of the long windows, shape ``(n_cycles, 513)``.
    floor_a_dbfs
        Noise floor of ``a`` in each cycle; infinite where its frame is another channel's bleed.
    rate_hz
        The decimated rate.
    """
    first = int(200 / (2 * rate_hz / N_WINDOW)) + 1
    bins = np.arange(first, 185)
    a, b = a[:, 2 * bins], b[:, 2 * bins]
    keep_longest, loudest_keep = np.exp(-CYCLE_S / 2.0), np.exp(-CYCLE_S / 0.5)
    cross = np.zeros(len(bins), complex)
    own_a, own_b = np.zeros(len(bins)), np.zeros(len(bins))
    n_frames, loudest_a, loudest_b = 0, 0.0, 0.0
    mean_square = 4 / (N_WINDOW * N_WINDOW * 0.375)
    for frame_a, frame_b, floor_dbfs in zip(a, b, floor_a_dbfs, strict=True):
        power_a, power_b = np.sum(np.abs(frame_a) ** 2), np.sum(np.abs(frame_b) ** 2)
        loudest_a = max(power_a, loudest_a * loudest_keep)
        loudest_b = max(power_b, loudest_b * loudest_keep)
        if min(power_a, power_b) * mean_square <= GATE_POWER or power_a < 0.5 * power_b:
            continue
        if power_a * mean_square <= 10 ** (
            ((floor_dbfs if np.isinf(floor_dbfs) else min(floor_dbfs, -40.0)) + 3.0) / 10
        ):
            continue
        keep = min(n_frames / (n_frames + 1), keep_longest)
        n_frames += 1
        cross = keep * cross + (1 - keep) * np.conj(frame_a) * frame_b / np.sqrt(loudest_a * loudest_b)
        own_a = keep * own_a + (1 - keep) * np.abs(frame_a) ** 2 / loudest_a
        own_b = keep * own_b + (1 - keep) * np.abs(frame_b) ** 2 / loudest_b
    bands = np.arange(0, len(bins), 8)
    explained = np.add.reduceat(np.abs(cross), bands) ** 2 / np.add.reduceat(own_a, bands)
    coherence = float(explained.sum() / own_b.sum())
    whitened = np.zeros(N_WINDOW // 4 + 1, complex)
    whitened[bins] = cross / np.abs(cross)
    r = np.abs(np.fft.irfft(whitened))
    max_lag = min(int(0.02 * rate_hz), len(r) // 2 - 2)
    lags = np.arange(-max_lag, max_lag + 1)
    best = lags[np.argmax(r[lags])]
    is_broadband = np.sum(np.abs(cross)) ** 2 > 8 * np.sum(np.abs(cross) ** 2)
    if r[best] <= 8 * r.mean() or not is_broadband:
        return coherence, None
    before, at, after = r[best - 1], r[best], r[(best + 1) % len(r)]
    return coherence, float(best + 0.5 * (after - before) / (2 * at - before - after)) * 1000 / rate_hz
