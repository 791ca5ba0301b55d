"""Twin of ``gate.c``: the curve and the smoothing in double precision, at the same quarter rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TICK = 4
DETECTOR_FALL_MS = 10.0
HYSTERESIS_DB = 3.0
RANGE_KNEE_DB = 6.0
LEVEL_MIN_LIN = 1e-9


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Settings of one gate, as the contract names them."""

    threshold_dbfs: float = -50.0
    ratio: float = 2.0
    range_db: float = 12.0
    attack_ms: float = 1.0
    hold_ms: float = 50.0
    release_ms: float = 150.0


def one_pole_share(tau_ms: float, rate_hz: float) -> float:
    """Return the share of the distance that a one-pole covers per sample of ``rate_hz``."""
    return float(-np.expm1(-1000.0 / (tau_ms * rate_hz)))


def tick_peaks(x: NDArray[np.floating], n_frames: int = TICK) -> NDArray[np.float64]:
    """Return the largest magnitude in each whole run of ``n_frames``, of ``x`` of shape ``(n_frames,)``."""
    whole = np.abs(np.asarray(x, np.float64))[: len(x) // n_frames * n_frames]
    return whole.reshape(-1, n_frames).max(axis=1)


def lines_between(gains_lin: NDArray[np.float64], start_lin: float, n_frames: int, tick: int) -> NDArray[np.float64]:
    """Return the gain of each frame: constant for a tick, then a line from gain to gain that lags a tick behind."""
    knots = np.concatenate([[start_lin, start_lin], gains_lin])
    return np.interp(np.arange(n_frames), np.arange(len(knots)) * tick, knots)


def reduction_db(under_db: NDArray[np.float64] | float, settings: Gate) -> NDArray[np.float64]:
    """Return what the closed gate takes away when the level is ``under_db`` under the threshold."""
    knee_db = min(RANGE_KNEE_DB, 2 * settings.range_db)
    wanted = np.maximum(under_db, 0.0) * (settings.ratio - 1)
    start = settings.range_db - knee_db / 2
    bent = wanted - (wanted - start) ** 2 / (2 * knee_db)
    return np.where(wanted <= start, wanted, np.where(wanted >= start + knee_db, settings.range_db, bent))


def gain_lin(x: NDArray[np.floating], settings: Gate, sample_rate_hz: float) -> NDArray[np.float64]:
    """Return the gain of each frame for the mono signal ``x``, from unity on."""
    rate_hz = sample_rate_hz / TICK
    fall = 1 - one_pole_share(DETECTOR_FALL_MS, rate_hz)
    attack, release = (one_pole_share(ms, rate_hz) for ms in (settings.attack_ms, settings.release_ms))
    hold_ticks = int(settings.hold_ms * 0.001 * rate_hz + 0.5)
    level, gain, hold_left, gains = LEVEL_MIN_LIN, 1.0, -1, []
    for peak in tick_peaks(x):
        level = max(peak, level * fall, LEVEL_MIN_LIN)
        under_db = settings.threshold_dbfs - 20 * np.log10(level)
        if under_db <= 0 or (hold_left >= 0 and under_db <= HYSTERESIS_DB):
            hold_left = hold_ticks
        else:
            hold_left = max(hold_left - 1, -1)
        wanted = 1.0 if hold_left >= 0 else 10 ** (-float(reduction_db(under_db, settings)) / 20)
        gain += (attack if wanted > gain else release) * (wanted - gain)
        gains.append(gain)
    return lines_between(np.array(gains), 1.0, len(x), TICK)
