"""Twin of ``saturation.c``: the difference quotient of the antiderivative as it stands, in double precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .gate import lines_between, one_pole_share

LIMIT = 15 / 8
TICK = 16
PROPORTION_MS = 5.0
POWER_MIN = 1e-12
TOO_CLOSE = 1e-5  # where double precision, too, loses more in the quotient than in the value at the middle


def curve(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return f: odd, slope 1 at 0, +/-1 from +/-LIMIT on, where slope and curvature are 0."""
    c = np.clip(v, -LIMIT, LIMIT)
    return c - 2 * c**3 / (3 * LIMIT**2) + c**5 / (5 * LIMIT**4)


def antiderivative(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the integral of ``curve(v) - v`` from 0."""
    c = np.clip(v, -LIMIT, LIMIT)
    excess = np.abs(v - c)
    return -(c**4) / (6 * LIMIT**2) + c**6 / (30 * LIMIT**4) + (1 - LIMIT) * excess - excess**2 / 2


def averaged_residual(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of ``curve(v) - v`` on the way from each frame to the next, silence before the first."""
    before = np.concatenate([[0.0], v[:-1]])
    way, middle = v - before, (v + before) / 2
    is_close = np.abs(way) < TOO_CLOSE
    quotient = (antiderivative(v) - antiderivative(before)) / np.where(is_close, 1.0, way)
    return np.where(is_close, curve(middle) - middle, quotient)


def mean_of_two(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each frame and the one before."""
    return (v + np.concatenate([[0.0], v[:-1]])) / 2


def proportion(v: NDArray[np.float64], sample_rate_hz: float) -> NDArray[np.float64]:
    """Return k of each frame: how much of the residual is the signal itself, negative."""
    share = one_pole_share(PROPORTION_MS, sample_rate_hz / TICK)
    ticks = v[: len(v) // TICK * TICK].reshape(-1, TICK)
    powers, products = (ticks**2).mean(axis=1), (ticks * (curve(ticks) - ticks)).mean(axis=1)
    power = smooth_power = POWER_MIN
    product = smooth_product = 0.0
    values = []
    for new_power, new_product in zip(powers, products, strict=True):
        power += share * (new_power + POWER_MIN - power)
        product += share * (new_product - product)
        smooth_power += share * (power - smooth_power)
        smooth_product += share * (product - smooth_product)
        values.append(smooth_product / smooth_power)
    return lines_between(np.array(values), 0.0, len(v), TICK)


def saturate(
    x: NDArray[np.floating],
    drive_lin: NDArray[np.float64] | float,
    mix: NDArray[np.float64] | float = 1.0,
    *,
    sample_rate_hz: float = 48000.0,
) -> NDArray[np.float64]:
    """Return the mono signal ``x`` saturated; ``drive_lin`` and ``mix`` may change from frame to frame."""
    x = np.asarray(x, np.float64)
    v = drive_lin * x
    lag = v - mean_of_two(mean_of_two(v))
    added = mean_of_two(averaged_residual(v)) + proportion(v, sample_rate_hz) * lag
    return x + mix / drive_lin * added
