"""Twin of ``eq.c``: the state-variable filter as Simper writes it, with the plain pair of integrator states."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FLAT, BELL, LOW_SHELF, HIGH_SHELF, HIGH_PASS, TILT = range(6)


@dataclass(frozen=True, kw_only=True)
class Design:
    """One second-order section; ``type`` is a value of ``eh_section_type``."""

    type: int
    freq_hz: float = 1000.0
    gain_db: float = 0.0
    q: float = 0.7


class Section(NamedTuple):
    """Coefficients of ``out = n0 v0 + n1 band + n2 high``; ``g = tan(pi f/fs)``, ``k = 1/Q``."""

    g: float
    k: float
    n0: float
    n1: float
    n2: float


IDLE = Section(0.0, 1.0, 1.0, 0.0, 0.0)


def section(design: Design, sample_rate_hz: float) -> Section:
    """Return the coefficients of a design, from Simper's mix of input, band and low."""
    freq_hz = min(max(design.freq_hz, 1.0), 0.49 * sample_rate_hz)
    g, k, a = math.tan(math.pi * freq_hz / sample_rate_hz), 1 / design.q, 10 ** (design.gain_db / 40)
    scale = 1.0
    if design.type == BELL:
        k /= a
        m = (1.0, k * (a**2 - 1), 0.0)
    elif design.type == LOW_SHELF:
        g /= math.sqrt(a)
        m = (1.0, k * (a - 1), a**2 - 1)
    elif design.type == HIGH_SHELF:
        g *= math.sqrt(a)
        m = (a**2, k * (1 - a) * a, 1 - a**2)
    elif design.type == HIGH_PASS:
        m = (1.0, -k, -1.0)
    elif design.type == TILT:
        a, k = 10 ** (design.gain_db / 20), 2.0
        g *= math.sqrt(a)
        m = (a**2, k * (1 - a) * a, 1 - a**2)
        scale = 1 / a
    else:
        return IDLE
    # low = v0 - k band - high
    return Section(g, k, scale * (m[0] + m[2]), scale * (m[1] - k * m[2]), scale * -m[2])


def ramp(start: Section, target: Section, n_ramp: int, n_frames: int) -> NDArray[np.float64]:
    """Return coefficients frame by frame, shape ``(5, n_frames)``: straight lines that end with frame ``n_ramp``."""
    position = np.minimum(np.arange(1, n_frames + 1) / n_ramp, 1.0)
    a, b = np.array(start)[:, None], np.array(target)[:, None]
    return a + (b - a) * position


def run(x: NDArray[np.floating], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter every lane with one section.

    Parameters
    ----------
    x
        Shape ``(n_frames, n_lanes)``.
    coefficients
        ``g, k, n0, n1, n2`` of each lane, shape ``(5, n_lanes)``, or of each frame as well, ``(5, n_frames, n_lanes)``.
    """
    v0 = np.asarray(x, np.float64)
    if coefficients.ndim == 2:
        coefficients = np.broadcast_to(coefficients[:, None, :], (5, *v0.shape))
    g, k, n0, n1, n2 = coefficients
    a1 = 1 / (1 + g * (g + k))
    s1, s2 = np.zeros(v0.shape[1]), np.zeros(v0.shape[1])
    band, high = np.empty_like(v0), np.empty_like(v0)
    damping = g + k
    for n in range(len(v0)):
        high[n] = (v0[n] - damping[n] * s1 - s2) * a1[n]
        band[n] = s1 + g[n] * high[n]
        low = s2 + g[n] * band[n]
        s1 = 2 * band[n] - s1
        s2 = 2 * low - s2
    return n0 * v0 + n1 * band + n2 * high
