"""Rides the loudness: the programme's integrated loudness stays at the target, whenever it ends.

Three layers: in the first 0.4 s a guess from the channels' levels; then the gated mean of what the mix had been without
the ride, over a window that grows; and on top a small lead or lag that pays back what the integrated loudness owes.
The gain is worked out from the loudness before the ride, not by feedback, so it cannot oscillate. What was heard is
kept for each channel at trim and fader 0 dB: when control itself moves one of them, the mean is at once what it will
be, and the ride makes up for it at the same pace instead of hearing it seconds later.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from .. import slots
from ..listening import power_of
from ..mixer_state import Mode
from ..proposals import Proposal
from ..view import View

SILENCE_LUFS = -50.0  # frozen under this
GATE_LU = 10.0  # as the relative gate of BS.1770
METER_TICKS_S = 0.4  # momentary window
METER_TICKS, METER_STEP_TICKS = 20, 5  # the same in ticks; the meter goes on every 100 ms
WINDOW_SHARE, WINDOW_MIN_S, WINDOW_MAX_S = 0.3, 0.4, 9.0  # of the time since the first sound (P)
DEBT_SHARE, DEBT_MIN_S, DEBT_MAX_S = 0.2, 2.0, 60.0  # horizon over which a debt is paid, of the programme (P)
DEBT_UP_DB, DEBT_DOWN_DB = 4.5, 6.0  # P
URGENT_LU = 0.25  # a debt of this size is paid twice as fast; +/-0.5 LU is what is promised (P)
# What a mix of channels at their working level has; the first tenths of a second may be a breath. P.
PRIOR_LUFS = -20.0
RISE_FACTOR = 1.2  # louder is believed so much sooner than quieter (P)
ACQUIRE_S = 1.0  # fast causal acquisition in the first second
ACQUIRE_SLEW_DB_PER_S, SLEW_DB_PER_S = 80.0, 3.0
# In a hurry, as the programme is off by more than HURRY_LU; at most EARLY_SLEW_DB over the seconds so far: the younger
# the programme, the more each second weighs. Sooner while control's own moves took the mean about lately: then it is no
# song's dynamics that would be flattened. P.
OWN_MEMORY_S, RESTLESS_DB, RESTLESS_HURRY_LU = 1.5, 1.0, 0.25
HURRY_LU, HURRY_SLEW_PER_S, EARLY_SLEW_DB = 1.0, 60.0, 80.0
JUMP_DB, JUMP_SLEW_DB_PER_S = 5.0, 10.0  # so much too loud is another programme: caught as a hand would (P)
LIMITER_LIMIT_DB = -5.0  # no more gain while the limiter takes away so much (P)
OWN_SLEW_DECAY = 0.8  # each tick: what is left of an own move when it ends is caught up with (P)
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
        # Mean power of the mix without the ride, as each channel's part at trim and fader 0: gated, and without the
        # gate, which hangs on it. What stands at first belongs to no channel.
        self._parts: NDArray[np.float64] = np.zeros((2, 0))
        self._prior_power = np.full(2, 10.0 ** (PRIOR_LUFS / 10.0))
        self._sent: NDArray[np.float64] = np.zeros((METER_TICKS, 2, 0))  # power of trim, and of trim and fader
        self._now: NDArray[np.float64] = np.zeros((2, 0))
        self._gains: tuple[bytes, ...] = ()
        self._sections: NDArray[np.intp] = np.zeros((2, 0), np.intp)
        self._has_moved = False  # since the last tick
        self._mean_lufs = PRIOR_LUFS
        self._heard_at, self._meter_lufs = 0, -math.inf  # tick and reading
        self._limiter_db = 0.0
        self._n_ticks = 0
        self._own_db = 0.0  # way that control's own moves took the mean lately, up and down
        self._own_slew = 0.0  # dB/s by which control's own moves carry the mean
        self._asked_db = math.nan

    def propose(self, view: View) -> list[Proposal]:
        """Take a look each tick; move when there is a reason."""
        self._n_ticks += 1
        gain_power = 10.0 ** (float(view.state.values[self._slot]) / 10.0)
        self._remember_gain(gain_power, view)
        momentary_lufs = view.loudness.momentary_lufs
        if self._sounding_s < METER_TICKS_S:
            return self._acquire_blindly(view)
        if momentary_lufs < SILENCE_LUFS:
            return []
        self._sounding_s += view.tick_s
        self._limiter_db += 0.02 * (view.limiter_gain_db - self._limiter_db)
        n_ticks = self._n_ticks - self._heard_at
        if n_ticks >= 2 * METER_STEP_TICKS - 1 or (n_ticks >= METER_STEP_TICKS and momentary_lufs != self._meter_lufs):
            self._heard_at, self._meter_lufs = self._n_ticks, momentary_lufs
            power = 10.0 ** (momentary_lufs / 10.0) * len(self._gain_power) / self._gain_power_sum
            source = power_of(view.listening.feature("strip_loudness_momentary_lufs"))
            self._hear(power, source, min(n_ticks, 2 * METER_STEP_TICKS) * view.tick_s)
        own_db = abs(self._follow_own_moves())
        self._own_db += own_db - view.tick_s / OWN_MEMORY_S * self._own_db
        own_slew = max(own_db / view.tick_s, OWN_SLEW_DECAY * self._own_slew)
        self._own_slew = own_slew
        is_acquiring = self._sounding_s < METER_TICKS_S + ACQUIRE_S
        if not is_acquiring and self._n_ticks % METER_STEP_TICKS and own_slew < SLEW_DB_PER_S:
            return []
        mean_lufs = self._mean_lufs
        debt_db = self._debt_db(view)
        plain_db = self.target_lufs - mean_lufs
        is_jump = plain_db < float(view.state.values[self._slot]) - JUMP_DB
        off_lu = abs(view.loudness.integrated_lufs - self.target_lufs)
        hurry_lu = RESTLESS_HURRY_LU if self._own_db > RESTLESS_DB else HURRY_LU
        hurry = min(HURRY_SLEW_PER_S * max(off_lu - hurry_lu, 0.0), EARLY_SLEW_DB / self._sounding_s)
        slew = max(JUMP_SLEW_DB_PER_S if is_jump else SLEW_DB_PER_S, hurry) + own_slew
        slew = ACQUIRE_SLEW_DB_PER_S if is_acquiring else min(slew, ACQUIRE_SLEW_DB_PER_S)
        return self._move(view, plain_db + debt_db, mean_lufs, debt_db, slew)

    def _remember_gain(self, gain_power: float, view: View) -> None:
        """Keep the ride's own part in the momentary window, and the channels'."""
        self._gain_power.append(gain_power)
        self._gain_power_sum += gain_power
        if len(self._gain_power) > METER_TICKS:
            self._gain_power_sum = max(self._gain_power_sum - self._gain_power.popleft(), 1e-9)
        trim_db, fader_db = view.value("input.trim_db"), view.value("fader.level_db")
        gains = (trim_db.tobytes(), fader_db.tobytes())
        self._has_moved = gains != self._gains
        if self._has_moved:
            self._gains, before = gains, self._now
            # A stereo channel is heard as one and reaches both sides at full level.
            self._now = power_of(np.stack((trim_db, trim_db + fader_db + STEREO_DB * view.is_stereo)))
            if self._parts.size:
                self._leave_hand_alone(view, before[1])
            else:
                self._begin(view)
        self._sent[self._n_ticks % METER_TICKS] = self._now

    def _begin(self, view: View) -> None:
        self._parts = np.zeros((2, view.n_channels))
        self._sent = np.repeat(self._now[None], METER_TICKS, axis=0)
        of = view.state.section
        self._sections = np.array([[of("channel", ch, s) for ch in range(view.n_channels)] for s in ("input", "fader")])

    def _leave_hand_alone(self, view: View, sent_power: NDArray[np.float64]) -> None:
        """Where the engineer moves a channel nothing is made up for: it is heard as a change of the programme."""
        is_manual = (view.state.mode[self._sections] == Mode.MANUAL).any(axis=0)
        if is_manual.any():
            self._parts[:, is_manual] *= (sent_power / self._now[1])[is_manual]

    def _acquire_blindly(self, view: View) -> list[Proposal]:
        """Before the meter reads: sum what the channels send to the mix."""
        source = power_of(view.listening.feature("rms_dbfs"))
        trim_power, sent_power = self._now
        power = float((source / trim_power) @ sent_power)
        if power < 10.0 ** (SILENCE_LUFS / 10.0):
            return []
        self._sounding_s += view.tick_s
        self._hear(power, source, view.tick_s)
        self._follow_own_moves()
        return self._move(view, self.target_lufs - self._mean_lufs, self._mean_lufs, 0.0, ACQUIRE_SLEW_DB_PER_S)

    def _hear(self, power: float, strip_power: NDArray[np.float64], dt_s: float) -> None:
        """Follow the gated mean of the mix as it would be without the ride.

        The meter's power is shared out in proportion to what each channel sent in the meter's window, and each part
        divided by the channel's gain.
        """
        window_s = min(max(WINDOW_SHARE * self._sounding_s, WINDOW_MIN_S), WINDOW_MAX_S)
        trim_power, sent_power = self._sent.mean(axis=0)
        source = strip_power / trim_power
        part = source * (power / max(float(source @ sent_power), 1e-12))
        now = self._now[1]
        power_now = float(part @ now)
        self._take_in(1, part, dt_s / window_s)
        if power_now < self._power(1, now) * 10.0 ** (-GATE_LU / 10.0):
            return
        if power_now > self._power(0, now):
            window_s /= RISE_FACTOR
        self._take_in(0, part, dt_s / window_s)
        self._mean_lufs = self.mean_lufs

    def _take_in(self, row: int, part: NDArray[np.float64], share: float) -> None:
        share = min(share, 1.0)
        self._parts[row] += share * (part - self._parts[row])
        self._prior_power[row] *= 1.0 - share

    def _power(self, row: int, sent_power: NDArray[np.float64]) -> float:
        return float(self._parts[row] @ sent_power + self._prior_power[row])

    def _follow_own_moves(self) -> float:
        """Return by how many dB the channels' gains have moved the mean since the last tick."""
        if not self._has_moved:
            return 0.0
        before = self._mean_lufs
        self._mean_lufs = self.mean_lufs
        return self._mean_lufs - before

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
        return min(10.0 * math.log10(max(1.0 + owed, 10.0 ** (-DEBT_DOWN_DB / 10.0))), DEBT_UP_DB)

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
        """Loudness of the mix as it would be without the ride, at the gains of now."""
        return 10.0 * math.log10(max(self._power(0, self._now[1]), 1e-10))
