"""Makes room: cuts a channel where it covers one that matters more. The law of live-dsp 2.8, on critical bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..proposals import Proposal
from ..responses import BARK_EDGE_HZ, BARK_HZ, MixGain
from ..view import View

# Who makes room for whom: only a larger number is made room for. P, the order of live-dsp 2.8.
IMPORTANCE = {
    "speech": 4.0, "vocal_lead": 4.0, "vocal_backing": 3.0, "kick": 2.0, "snare": 2.0, "bass": 1.5, "drums": 1.5,
    "playback": 0.0, "ambience": 0.0,
}  # fmt: skip
MARGIN_DB = 3.0  # a masker within 3 dB covers; N = 3 strongest bands count: live-dsp 2.8
N_TOP = 3
VOICE_CUT_DB, OTHER_CUT_DB = 6.0, 3.0  # 6 dB: live-dsp 2.8; for instruments P
Q = 2.0
MEMORY_S = 2.0
DEAD_BAND_DB = 0.7
MOVE_AFTER_S = 5.0  # a band stays so long before it serves another frequency (P)
WINDOW_S = 20
BEGIN_S = 4  # covered so many of those seconds, before a cut begins (P)
RELEASE_MEMORY_S = 6.0  # a cut leaves more slowly than it comes (P)
MASKED_FRACTION = 0.25  # who is heard well enough needs no help (P)


class Unmask:
    """``unmask.1`` and ``unmask.2``."""

    name = "unmask"
    period_ticks = 25

    def __init__(self, mix_gain: MixGain) -> None:
        self._mix_gain = mix_gain
        self._roles_version = -1
        self._depth_db = np.zeros((0, len(BARK_HZ)))

    def _read_roles(self, view: View) -> None:
        if self._roles_version == view.roles_version:
            return
        self._roles_version = view.roles_version
        importance = view.by_role(IMPORTANCE, 1.0)
        self._yields = importance[:, None] > importance[None, :]  # (victim, masker)
        self._cut_limit_db = np.where(importance >= 4.0, VOICE_CUT_DB, OTHER_CUT_DB)
        self._is_yielded_to = self._yields.any(axis=1)
        self._may_happen = bool(self._is_yielded_to.any())
        if len(self._depth_db) != view.n_channels:
            n = view.n_channels
            self._depth_db = np.zeros((n, len(BARK_HZ)))
            self._seconds = np.zeros((WINDOW_S, n, len(BARK_HZ)), bool)
            self._this_second = np.zeros((n, len(BARK_HZ)), bool)
            self._n_looks = 0
            self._victim = np.zeros((n, len(BARK_HZ)), np.intp)
            self._band = np.full((n, 2), -1)
            self._band_since_s = np.full((n, 2), -1e9)

    def propose(self, view: View) -> list[Proposal]:
        """Deepen and release cuts."""
        self._read_roles(view)
        if not self._may_happen:
            return []
        cut_db, victim = self._covering(view)
        dt_s = view.tick_s * self.period_ticks
        self._victim = np.where(cut_db > 0.0, victim, self._victim)
        self._remember(cut_db > 0.0, round(1.0 / dt_s))
        cut_db = np.where((self._seconds.sum(axis=0) >= BEGIN_S) | (self._depth_db > 0.5), cut_db, 0.0)
        memory_s = np.where(cut_db > self._depth_db, MEMORY_S, RELEASE_MEMORY_S)
        self._depth_db += (dt_s / memory_s) * (cut_db - self._depth_db)
        if self._depth_db.max() < 0.3 and not (view.asked("unmask.1.gain_db") < 0.0).any():
            return []
        proposals: list[Proposal] = []
        left_db = self._depth_db.copy()
        for n in range(2):
            proposals += self._serve(view, n, left_db)
        return proposals

    def _covering(self, view: View) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return the cut that would uncover, ``(masker, band)`` dB, and for whose sake."""
        heard = view.listening
        power = heard.bark_power * self._mix_gain.without_unmask() ** 2
        level_db = 10.0 * np.log10(power + 1e-12)
        is_sounding = (heard.quiet_s < 1.0) & (heard.active_s > 1.0)
        top = level_db >= np.partition(level_db, -N_TOP, axis=1)[:, -N_TOP, None]
        is_victim = is_sounding & (heard.masked_fraction > MASKED_FRACTION) & self._is_yielded_to
        who = np.flatnonzero(is_victim)
        if who.size == 0:
            return np.zeros_like(level_db), self._victim
        victims = np.where(top[who], level_db[who] - MARGIN_DB, np.inf)
        maskers = np.where(~top & is_sounding[:, None], level_db, -np.inf)
        over_db = np.where(self._yields[who, :, None], maskers - victims[:, None], -np.inf)
        over_db = np.minimum(over_db, self._cut_limit_db[who, None, None])
        return np.maximum(over_db.max(axis=0), 0.0), who[np.argmax(over_db, axis=0)]

    def _remember(self, is_covering: NDArray[np.bool_], looks_per_s: int) -> None:
        self._this_second |= is_covering
        self._n_looks += 1
        if self._n_looks % looks_per_s == 0:
            self._seconds[(self._n_looks // looks_per_s) % WINDOW_S] = self._this_second
            self._this_second = np.zeros_like(self._this_second)

    def _serve(self, view: View, n: int, left_db: NDArray[np.float64]) -> list[Proposal]:
        every = np.arange(view.n_channels)
        best = np.argmax(left_db, axis=1)
        band = self._band[:, n]
        kept = np.where(band >= 0, left_db[every, band], -1.0)
        is_stale = (kept < 0.5 * left_db[every, best]) & (view.time_s - self._band_since_s[:, n] >= MOVE_AFTER_S)
        is_new = is_stale & (left_db[every, best] > 1.0) & (best != band)
        self._band_since_s[is_new, n] = view.time_s
        band = self._band[:, n] = np.where(is_new, best, band)
        depth_db = np.where(band >= 0, left_db[every, band], 0.0)
        for shift in (-2, -1, 0, 1, 2):  # the second cut goes elsewhere
            left_db[every, np.clip(band + shift, 0, left_db.shape[1] - 1)] = 0.0
        wish = np.where(depth_db < 0.5, 0.0, -depth_db)
        name = f"unmask.{n + 1}"
        proposals = []
        asked = view.asked(f"{name}.gain_db")
        is_over = (wish == 0.0) & (asked < 0.0)
        is_other = (wish < 0.0) & ~(np.abs(wish - asked) <= DEAD_BAND_DB)
        for ch in np.flatnonzero((band >= 0) & (is_over | is_other)).tolist():
            proposals += self._proposals(
                view, ch, name, float(wish[ch]), int(band[ch]), int(self._victim[ch, band[ch]])
            )
        return proposals

    def _proposals(self, view: View, ch: int, name: str, gain_db: float, band: int, victim: int) -> list[Proposal]:
        low_khz, high_khz = BARK_EDGE_HZ[band] / 1000.0, BARK_EDGE_HZ[band + 1] / 1000.0
        seconds = int(self._seconds[:, ch, band].sum())
        if gain_db < 0.0:
            cause = (
                f"masks {view.names[victim]} at {low_khz:.1f}-{high_khz:.1f} kHz in {seconds} of the last {WINDOW_S} s"
            )
        else:
            cause = f"masks nobody at {low_khz:.1f}-{high_khz:.1f} kHz any more"
        evidence = {"masked_s": float(seconds), "window_s": float(WINDOW_S), "excess_db": -gain_db, "victim": victim}
        confidence = min(1.0, 0.3 + seconds / WINDOW_S)
        place = Proposal("channel", ch, f"{name}.freq_hz", float(BARK_HZ[band]), cause, evidence, confidence, "rules",
                         self.name, 8.0, True)  # fmt: skip
        q = place._replace(param=f"{name}.q", value=Q, slew_per_s=None)
        cut = place._replace(param=f"{name}.gain_db", value=gain_db, slew_per_s=None, is_companion=False)
        return [place, q, cut]
