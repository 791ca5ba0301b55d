"""Twin of ``compressor.c``: the published formulas in double precision, at the same quarter rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .gate import TICK, lines_between, one_pole_share, tick_peaks

RENEWAL_TICKS = 8
CREST_MS = 200.0
AVERAGE_MS = 2000.0
AVERAGE_MAX_DB = 12.0
ATTACK_MIN_MS = 0.1
RELEASE_MIN_MS = 5.0
POWER_MIN = 1e-12


@dataclass(frozen=True, kw_only=True)
class Compressor:
    """Settings of one compressor, as the contract names them."""

    threshold_dbfs: float = -18.0
    ratio: float = 3.0
    knee_db: float = 6.0
    attack_ms: float = 10.0
    release_ms: float = 120.0
    makeup_db: float = 0.0
    mix_percent: float = 100.0
    is_automatic: bool = False


def reduction_db(level_dbfs: float, threshold_dbfs: float, ratio: float, knee_db: float) -> float:
    """Return the static gain reduction: 0 under the knee, a parabola inside, a line above."""
    over = level_dbfs - threshold_dbfs
    if over <= -knee_db / 2:
        return 0.0
    bent = (over + knee_db / 2) ** 2 / (2 * knee_db) if over < knee_db / 2 else over
    return bent * (1 - 1 / ratio)


@dataclass
class _Automatic:
    """What the automatic mode measures, and the parameters that follow from it."""

    settings: Compressor
    rate_hz: float
    peak_power: float = POWER_MIN
    mean_power: float = POWER_MIN
    average_db: float = 0.0

    def __post_init__(self) -> None:
        self.average_db = -self.settings.threshold_dbfs / 2 * (1 - 1 / self.settings.ratio)

    def renew(self, peak_power: float, mean_power: float, reduction: float) -> None:
        crest, average = (one_pole_share(ms, self.rate_hz / RENEWAL_TICKS) for ms in (CREST_MS, AVERAGE_MS))
        peak = peak_power + POWER_MIN
        is_first = self.mean_power < 2 * POWER_MIN
        self.mean_power += (1.0 if is_first else crest) * (mean_power + POWER_MIN - self.mean_power)
        self.peak_power = max(peak, self.peak_power + crest * (peak - self.peak_power))
        self.average_db += average * (reduction - self.average_db)

    @property
    def bounded_average_db(self) -> float:
        return min(self.average_db, AVERAGE_MAX_DB)

    @property
    def times_ms(self) -> tuple[float, float]:
        crest_power = max(self.peak_power / self.mean_power, 2.0)
        attack_max, release_max = self.settings.attack_ms, self.settings.release_ms
        attack = 2 * attack_max / crest_power
        release = 2 * release_max / crest_power - attack
        shortest_ms = max(ATTACK_MIN_MS, 1200 / self.rate_hz)
        return max(attack, shortest_ms), min(max(release, RELEASE_MIN_MS), release_max)


def gain_lin(x: NDArray[np.floating], settings: Compressor, sample_rate_hz: float) -> NDArray[np.float64]:
    """Return the gain of each frame for the mono signal ``x``, all ramps at their end."""
    rate_hz = sample_rate_hz / TICK
    peaks = tick_peaks(x)
    powers = np.square(np.asarray(x, np.float64))[: len(peaks) * TICK].reshape(-1, TICK).sum(axis=1)
    automatic = _Automatic(settings, rate_hz)
    attack_ms, release_ms, knee_db, makeup_db = (
        settings.attack_ms, settings.release_ms, max(settings.knee_db, 1e-6), settings.makeup_db,
    )  # fmt: skip

    def mixed(gain_db: float) -> float:
        wet = settings.mix_percent / 100
        return 1 - wet + wet * 10 ** (gain_db / 20)

    held = reduction = 0.0
    gains = []
    for tick, peak in enumerate(peaks):
        if settings.is_automatic and tick % RENEWAL_TICKS == 0:
            if tick > 0:
                since = slice(tick - RENEWAL_TICKS, tick)
                mean_power = powers[since].sum() / (RENEWAL_TICKS * TICK)
                automatic.renew(peaks[since].max() ** 2, mean_power, reduction)
            attack_ms, release_ms = automatic.times_ms
            knee_db = max(2.5 * automatic.bounded_average_db, 0.001 * 6.0206)
            makeup_db = settings.makeup_db + automatic.bounded_average_db
        level_dbfs = 20 * np.log10(max(peak, 1e-9))
        wanted = reduction_db(level_dbfs, settings.threshold_dbfs, settings.ratio, knee_db)
        held = max(wanted, held + one_pole_share(release_ms, rate_hz) * (wanted - held))
        reduction += one_pole_share(attack_ms, rate_hz) * (held - reduction)
        gains.append(mixed(makeup_db - reduction))
    start_db = settings.makeup_db + (_Automatic(settings, rate_hz).bounded_average_db if settings.is_automatic else 0.0)
    return lines_between(np.array(gains), mixed(start_db), len(x), TICK)
