"""Rides the loudness: the programme's integrated loudness stays at the target, whenever it ends.

Three layers: in the first 0.4 s a guess from the channels' levels; then the gated mean of what the mix had been without
the ride, over a window that grows; and on top a small lead or lag that pays back what the integrated loudness owes.
The gain is worked out from the loudness before the ride, not by feedback, so it cannot oscillate.
"""

from __future__ import annotations

import math
from collections import deque

from .. import slots
from ..listening import power_of
from ..proposals import Proposal
from ..view import View

SILENCE_LUFS = -50.0  # frozen under this
GATE_LU = 10.0  # as the relative gate of BS.1770
METER_TICKS_S = 0.4  # momentary window
WINDOW_SHARE, WINDOW_MIN_S, WINDOW_MAX_S = 0.35, 0.4, 9.0  # of the time since the first sound (P)
DEBT_SHARE, DEBT_MIN_S, DEBT_MAX_S = 0.2, 2.5, 60.0  # horizon over which a debt is paid, of the programme (P)
DEBT_LIMIT_DB = 4.5  # P
URGENT_LU = 0.25  # a debt of this size is paid twice as fast; +/-0.5 LU is what is promised (P)
PRIOR_LUFS = (
    -20.0
)  # what a mix of channels at their working level has; the first tenths of a second may be a breath (P)
RISE_FACTOR = 1.2  # louder is believed so much sooner than quieter (P)
ACQUIRE_S = 1.0  # fast causal acquisition in the first second
ACQUIRE_SLEW_DB_PER_S, SLEW_DB_PER_S = 80.0, 3.0
JUMP_DB, JUMP_SLEW_DB_PER_S = 5.0, 10.0  # so much too loud is another programme: caught as a hand would (P)
LIMITER_LIMIT_DB = -5.0  # no more gain while the limiter takes away so much (P)
GAIN_LIMIT_DB = 30.0
DEAD_BAND_DB = 0.05
STEREO_DB = 3.0  # a stereo channel reaches both sides at full level


class Ride:
    """``ride.gain_db`` of main and record.

    Parameters
    ----------
    target_lufs
        Integrated loudness of the programme on the record bus.
    """

    name = "ride"
    period_ticks = 1

    def __init__(self, target_lufs: float) -> None:
        self.target_lufs = target_lufs
        self._slot = slots.slot("record", 0, "ride.gain_db")
        self._gain_power: deque[float] = deque()
        self._gain_power_sum = 0.0
        self._sounding_s = 0.0  # since the first sound, pauses not counted
        self._mean_power = 10.0 ** (PRIOR_LUFS / 10.0)  # of the mix without the ride, gated
        self._loose_power = self._mean_power  # the same without the gate, which hangs on it
        self._limiter_db = 0.0
        self._n_ticks = 0
        self._asked_db = math.nan

    def propose(self, view: View) -> list[Proposal]:
        """Take a look each tick; move when there is a reason."""
        self._n_ticks += 1
        gain_power = 10.0 ** (float(view.state.values[self._slot]) / 10.0)
        self._remember_gain(gain_power, view.tick_s)
        momentary_lufs = view.loudness.momentary_lufs
        if self._sounding_s < METER_TICKS_S:
            return self._acquire_blindly(view)
        if momentary_lufs < SILENCE_LUFS:
            return []
        self._sounding_s += view.tick_s
        self._limiter_db += 0.02 * (view.limiter_gain_db - self._limiter_db)
        self._hear(10.0 ** (momentary_lufs / 10.0) * len(self._gain_power) / self._gain_power_sum, view.tick_s)
        is_acquiring = self._sounding_s < METER_TICKS_S + ACQUIRE_S
        if not is_acquiring and self._n_ticks % 5:
            return []
        mean_lufs = self.mean_lufs
        debt_db = self._debt_db(view)
        plain_db = self.target_lufs - mean_lufs
        is_jump = plain_db < float(view.state.values[self._slot]) - JUMP_DB
        slew = ACQUIRE_SLEW_DB_PER_S if is_acquiring else JUMP_SLEW_DB_PER_S if is_jump else SLEW_DB_PER_S
        return self._move(view, plain_db + debt_db, mean_lufs, debt_db, slew)

    def _remember_gain(self, gain_power: float, tick_s: float) -> None:
        """Keep the ride's own part in the momentary window."""
        self._gain_power.append(gain_power)
        self._gain_power_sum += gain_power
        if len(self._gain_power) * tick_s > METER_TICKS_S:
            self._gain_power_sum = max(self._gain_power_sum - self._gain_power.popleft(), 1e-9)

    def _acquire_blindly(self, view: View) -> list[Proposal]:
        """Before the meter reads: sum what the channels send to the mix."""
        heard = view.listening
        level_dbfs = heard.feature("rms_dbfs") + view.value("fader.level_db") + STEREO_DB * view.is_stereo
        power = float(power_of(level_dbfs).sum())
        if power < 10.0 ** (SILENCE_LUFS / 10.0):
            return []
        self._sounding_s += view.tick_s
        self._hear(power, view.tick_s)
        return self._move(view, self.target_lufs - self.mean_lufs, self.mean_lufs, 0.0, ACQUIRE_SLEW_DB_PER_S)

    def _hear(self, power: float, tick_s: float) -> None:
        """Follow the gated mean of the mix as it would be without the ride."""
        window_s = min(max(WINDOW_SHARE * self._sounding_s, WINDOW_MIN_S), WINDOW_MAX_S)
        self._loose_power += (tick_s / window_s) * (power - self._loose_power)
        if power < self._loose_power * 10.0 ** (-GATE_LU / 10.0):
            return
        if power > self._mean_power:
            window_s /= RISE_FACTOR
        self._mean_power += (tick_s / window_s) * (power - self._mean_power)

    def _debt_db(self, view: View) -> float:
        """Return by how much the near future must differ from the target to bring the programme's mean there.

        E blocks of mean power p so far, h to come at x: (E p + h x) / (E + h) = target, so
        x / target = 1 + (1 - p / target) E / h.
        """
        integrated_lufs = view.loudness.integrated_lufs
        if integrated_lufs < -70.0 or self._sounding_s < 2.0:
            return 0.0
        urgency = 1.0 + ((integrated_lufs - self.target_lufs) / URGENT_LU) ** 2
        horizon_s = min(max(DEBT_SHARE * self._sounding_s / urgency, DEBT_MIN_S), DEBT_MAX_S)
        owed = (1.0 - 10.0 ** ((integrated_lufs - self.target_lufs) / 10.0)) * self._sounding_s / horizon_s
        limit = 10.0 ** (DEBT_LIMIT_DB / 10.0)
        return 10.0 * math.log10(min(max(1.0 + owed, 1.0 / limit), limit))

    def _move(self, view: View, wish_db: float, mean_lufs: float, debt_db: float, slew: float) -> list[Proposal]:
        wish_db = min(max(wish_db, -GAIN_LIMIT_DB), GAIN_LIMIT_DB)
        now_db = float(view.state.values[self._slot])
        if self._limiter_db < LIMITER_LIMIT_DB and wish_db > now_db:
            return []
        if abs(wish_db - self._asked_db) < DEAD_BAND_DB:
            return []
        self._asked_db = wish_db
        cause = f"the mix has {mean_lufs:.1f} LUFS before the ride; held at {self.target_lufs:g}"
        if abs(debt_db) > 0.5:
            cause += f", {abs(debt_db):.1f} dB {'more' if debt_db > 0 else 'less'} to bring the whole there"
        evidence = {"mean_lufs": mean_lufs, "integrated_lufs": view.loudness.integrated_lufs, "debt_db": debt_db}
        ride = Proposal("record", 0, "ride.gain_db", wish_db, cause, evidence, 1.0, "rules", self.name, slew)
        return [ride, ride._replace(scope="main", is_companion=True)]

    @property
    def mean_lufs(self) -> float:
        """Loudness of the mix as it would be without the ride."""
        return 10.0 * math.log10(max(self._mean_power, 1e-10))
