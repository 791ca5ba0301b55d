"""Twin of ``mix.c`` and ``pan.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .gain import ramp


def mix(x: NDArray[np.floating], gain_lin: NDArray[np.floating], n_ramp: int) -> NDArray[np.float64]:
    """Return the buses, shape ``(n_frames, n_buses)``, of lanes ``x`` whose gains ramp from 0 to ``gain_lin``.

    ``gain_lin`` has shape ``(n_lanes, n_buses)``.
    """
    rise = ramp(0.0, 1.0, n_ramp, len(x))[:, None]
    return np.matmul(x.astype(np.float64) * rise, gain_lin.astype(np.float64))


def pan_mono(position: float) -> NDArray[np.float64]:
    """Return left and right gain by the sine law."""
    angle = (position + 1) * np.pi / 4
    return np.array([np.cos(angle), np.sin(angle)])


def pan_stereo(position: float, width: float) -> NDArray[np.float64]:
    """Return gains ``[from][to]`` of balance and width."""
    narrowing = 0.5 * np.array([[1 + width, 1 - width], [1 - width, 1 + width]])
    balance = np.minimum(np.sqrt(2) * pan_mono(position), 1.0)
    return narrowing * balance[None, :]
