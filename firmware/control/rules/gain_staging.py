"""Brings every source to its working level with the trim: fast while learning, then slow and reluctant."""

from __future__ import annotations

import numpy as np

from ..proposals import Proposal
from ..view import View

# Active RMS behind the trim. Speech: Q-SYS nominal, live-dsp 2.4. Instruments: P, the usual -18 dBFS working level.
SPEECH_RMS_DBFS = -20.0
MUSIC_RMS_DBFS = -18.0
HEADROOM_DB = 12.0  # peaks stay so far under full scale: live-dsp 2.4
# Speech has 12 to 16 dB between RMS and peaks: at -20 dBFS RMS (L3: +/-1.5) it cannot keep 12 dB as well. P.
SPEECH_HEADROOM_DB = 3.0
SPEECH_SNR_DB = 15.0  # less is reported: live-dsp 2.4
LEARN_AFTER_S, LEARNED_S = 0.3, 6.0  # of activity: L3 asks for 6 s
LEARN_DEAD_BAND_DB, SETTLED_DEAD_BAND_DB = 0.5, 4.0  # P
LEARN_SLEW_DB_PER_S, SETTLED_SLEW_DB_PER_S = 40.0, 1.0  # P
CLIP_CUT_DB, CLIP_SLEW_DB_PER_S = 3.0, 60.0  # P: down at once when the source clips the working level
LIMIT_DB = 30.0  # P: what no sane preamp needs more of


class GainStaging:
    """``input.trim_db`` from the active RMS of the source and its peaks."""

    name = "gain_staging"
    period_ticks = 10

    def __init__(self) -> None:
        self._roles_version = -1
        self._told_poor = np.zeros(0, bool)

    def _read_roles(self, view: View) -> None:
        if self._roles_version == view.roles_version:
            return
        self._roles_version = view.roles_version
        self._is_speech = view.is_role("speech")
        self._headroom_db = np.where(self._is_speech, SPEECH_HEADROOM_DB, HEADROOM_DB)
        self._target_dbfs = np.where(self._is_speech, SPEECH_RMS_DBFS, MUSIC_RMS_DBFS)
        if self._told_poor.size != view.n_channels:
            self._told_poor = np.zeros(view.n_channels, bool)

    def propose(self, view: View) -> list[Proposal]:
        """Move trims; report a poor signal-to-noise ratio in the reason."""
        self._read_roles(view)
        heard = view.listening
        rms_dbfs, peak_dbfs = heard.source_rms_dbfs, heard.source_peak_dbfs
        wish = np.clip(np.minimum(self._target_dbfs - rms_dbfs, -self._headroom_db - peak_dbfs), -LIMIT_DB, LIMIT_DB)
        is_known = heard.active_s >= LEARN_AFTER_S
        is_learning = heard.active_s < LEARNED_S
        asked = view.asked("input.trim_db")
        off_db = np.abs(wish - asked)
        dead_band = np.where(is_learning, LEARN_DEAD_BAND_DB, SETTLED_DEAD_BAND_DB)
        is_too_hot = asked > -self._headroom_db / 2 - peak_dbfs  # half the headroom is gone: do not wait
        move = is_known & (~(off_db <= dead_band) | (is_too_hot & (wish < asked - 0.5)))
        if not move.any():
            return []
        return [self._proposal(view, ch, wish[ch], is_learning[ch], is_too_hot[ch]) for ch in np.flatnonzero(move)]

    def _proposal(self, view: View, ch: int, wish_db: float, is_learning: bool, is_too_hot: bool) -> Proposal:
        heard = view.listening
        rms_dbfs, peak_dbfs = float(heard.source_rms_dbfs[ch]), float(heard.source_peak_dbfs[ch])
        snr_db = rms_dbfs - float(heard.source_floor_dbfs[ch])
        is_peak_bound = -self._headroom_db[ch] - peak_dbfs < self._target_dbfs[ch] - rms_dbfs
        if is_peak_bound:
            cause = f"peaks at {peak_dbfs:.0f} dBFS; keeps {self._headroom_db[ch]:.0f} dB of headroom"
        else:
            cause = f"active level is {rms_dbfs:.0f} dBFS RMS; brought to {self._target_dbfs[ch]:.0f}"
        if self._is_speech[ch] and snr_db < SPEECH_SNR_DB:
            cause += f"; poor S/N, noise is only {snr_db:.0f} dB lower"
        slew = LEARN_SLEW_DB_PER_S if is_learning else CLIP_SLEW_DB_PER_S if is_too_hot else SETTLED_SLEW_DB_PER_S
        return Proposal(
            "channel", int(ch), "input.trim_db", float(wish_db), cause,
            {"rms_dbfs": rms_dbfs, "peak_dbfs": peak_dbfs, "snr_db": snr_db, "active_s": float(heard.active_s[ch])},
            confidence=min(1.0, float(heard.active_s[ch]) / LEARNED_S),
            source="safety" if is_too_hot and not is_learning else "rules", rule=self.name, slew_per_s=slew,
        )  # fmt: skip
