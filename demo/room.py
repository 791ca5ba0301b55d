"""A shoebox room by the image-source method (Allen, Berkley, JASA 65(4), 1979): who hears whom, how loud, how late."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SOUND_M_PER_S = 343.0
N_TAPS = 32  # length of the windowed sinc that places an echo between two samples


def impulse_response(
    source_m: NDArray[np.float64],
    microphone_m: NDArray[np.float64],
    *,
    room_m: tuple[float, float, float],
    reflection: float,
    length_s: float,
    sample_rate_hz: int,
) -> NDArray[np.float64]:
    """Return what the microphone hears of an impulse at the source; an echo at 1 m has gain 1."""
    size = np.array(room_m)
    reach = np.ceil(length_s * SOUND_M_PER_S / (2 * size)).astype(int)
    cells = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, 1, 3)
    flips = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(1, 8, 3)
    images_m = ((1 - 2 * flips) * source_m + 2 * cells * size).reshape(-1, 3)
    n_walls = (np.abs(cells - flips) + np.abs(cells)).sum(-1).ravel()
    distance_m = np.linalg.norm(images_m - microphone_m, axis=1)
    n_frames = round(length_s * sample_rate_hz)
    delay_frames = distance_m / SOUND_M_PER_S * sample_rate_hz
    heard = delay_frames < n_frames - N_TAPS
    response = np.zeros(n_frames)
    taps = np.arange(N_TAPS) - N_TAPS // 2 + 1
    first = np.floor(delay_frames[heard]).astype(int)
    offset = taps - (delay_frames[heard] - first)[:, None]
    kernel = np.sinc(offset) * np.cos(np.pi * offset / (N_TAPS + 2)) ** 2
    at = first[:, None] + taps
    gain = reflection ** n_walls[heard] / distance_m[heard]
    inside = at >= 0
    np.add.at(response, at[inside], (kernel * gain[:, None])[inside])
    return response
