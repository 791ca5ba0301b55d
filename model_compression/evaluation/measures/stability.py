"""How restless a control signal is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .framing import Array

REVERSAL_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Of one or more parameters; units are the parameter's."""

    variation_per_minute: float
    max_slew_per_s: float
    reversed_percent: float


def of_trajectory(values: NDArray[np.floating], tick_s: float, *, dead_band: float = 0.0) -> Stability:
    """Return the restlessness of ``(n_ticks, n)``, mean over the n; moves up to ``dead_band`` a tick do not count."""
    steps = np.diff(np.asarray(values, np.float64), axis=0)
    steps = np.where(np.abs(steps) > dead_band, steps, 0.0)
    minutes = max(len(values) * tick_s / 60, 1e-9)
    n_moves = n_reversed = 0
    for column in steps.T:
        at = np.flatnonzero(column)
        n_moves += len(at)
        n_reversed += _n_reversed(at * tick_s, np.sign(column[at]))
    return Stability(
        variation_per_minute=float(np.abs(steps).sum(axis=0).mean() / minutes),
        max_slew_per_s=float(np.abs(steps).max(initial=0.0) / tick_s),
        reversed_percent=100.0 * n_reversed / n_moves if n_moves else 0.0,
    )


def of_moves(moves: Sequence[tuple[int, float, float, float]], n_channels: int, duration_s: float) -> Stability:
    """Return the restlessness of a decision log: ``(channel, time_s, from, to)`` of one parameter.

    A decision says where to go, not how fast: the slew is the step over the time since the channel's decision before,
    at least one second.
    """
    variation, slew, n_reversed = 0.0, 0.0, 0
    for ch in range(n_channels):
        mine = sorted((time_s, to - start) for channel, time_s, start, to in moves if channel == ch and to != start)
        times, steps = np.array([t for t, _ in mine]), np.array([s for _, s in mine])
        variation += float(np.abs(steps).sum())
        n_reversed += _n_reversed(times, np.sign(steps))
        if len(mine):
            gaps = np.maximum(np.diff(times, prepend=-np.inf), 1.0)
            slew = max(slew, float(np.max(np.abs(steps[1:]) / gaps[1:], initial=0.0)))
    n_moves = sum(to != start for _, _, start, to in moves)
    return Stability(
        variation_per_minute=variation / max(n_channels, 1) / max(duration_s / 60, 1e-9),
        max_slew_per_s=slew,
        reversed_percent=100.0 * n_reversed / n_moves if n_moves else 0.0,
    )


def _n_reversed(times_s: Array, signs: Array) -> int:
    if len(times_s) < 2:
        return 0
    return int(np.sum((np.diff(times_s) <= REVERSAL_S) & (signs[1:] * signs[:-1] < 0)))


def overshoot_percent(values: NDArray[np.floating], start: float, target: float) -> float:
    """Return how far ``(n_ticks,)`` went past ``target`` after a step from ``start``, per cent of the step."""
    step = target - start
    return float(max(0.0, np.max((np.asarray(values) - target) * np.sign(step))) / abs(step) * 100)
