"""Balances the channels by loudness: every one at the mean of all, plus what its role is worth.

The mean is over the channels that were heard (Perez-Gonzalez and Reiss), not an absolute number, and loudness is gated
by activity: a channel that falls silent keeps its fader, and one that never sounded moves nobody.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ..learned import BALANCE
from ..proposals import Proposal
from ..responses import MixGain
from ..view import VOICES, View
from .refine import STEREO_LU, Refinement

# Loudness of a role in the mix relative to the lead, LU. P: usual pop balances, voice on top; the order and rough size
# agree with the fader medians per instrument in MedleyDB's published mixing coefficients (backing vocals -5, cymbals
# -8, brass -4, the rest within 2 dB of each other) and with unity sums of artists' own stems. Not fitted.
ROLE_OFFSET_LU = {
    "speech": 0.0, "vocal_lead": 0.0, "vocal_backing": -5.0,
    "kick": -3.0, "snare": -4.0, "hihat": -10.0, "tom": -5.0, "cymbal": -10.0, "drums": -2.0, "percussion": -8.0,
    "bass": -3.0, "elec_guitar": -5.0, "ac_guitar": -6.0, "piano": -5.0, "synth": -6.0, "strings": -6.0,
    "brass": -5.5, "woodwind": -5.5, "playback": -2.0, "ambience": -14.0, "other": -8.0,
}  # fmt: skip
SOLO_LU = 3.0  # P: an instrument called lead or solo, when nobody sings or speaks
CROWD_DB_PER_DOUBLING = 1.5  # P: channels of one role share half of the 3 dB per doubling that their sum would grow
NOMINAL_LUFS = -21.0  # what a channel at its working level reads, until it was heard
LIMIT_DB = 12.0  # live-dsp 2.4
NOISE_LIMIT_DBFS = -50.0  # speech is never lifted until its noise passes this: live-dsp 2.4 (AGC2)
SPEECH_MEMORY_S, MUSIC_MEMORY_S = 6.0, 25.0  # of activity (P): a song's own dynamics live
KNOWN_AFTER_S, ACQUIRED_S = 0.3, 3.0  # of gated loudness
ACQUIRE_SLEW_DB_PER_S, UP_DB_PER_S, DOWN_DB_PER_S = 30.0, 3.0, 6.0  # the latter two: live-dsp 2.4
ACQUIRE_DEAD_BAND_DB, SPEECH_DEAD_BAND_DB, SETTLED_DEAD_BAND_DB = 0.3, 0.5, 1.0  # P
MEAN_MEMORY_S = 20.0  # P
TOLD_LU, BACKS_LU = 0.3, -9.0  # a model's part under the one is not told; under the other nobody is heard apart

_SOLO = re.compile(r"(?<![a-z])(lead|solo|ld)|lead(?=gtr|guitar|synth)", re.IGNORECASE)


class Balance:
    """``fader.level_db`` from the loudness behind the strip: feed-forward, and a few looks at what it has reached."""

    name = "balance"
    period_ticks = 10

    def __init__(self, mix_gain: MixGain) -> None:
        self.refinement = Refinement(mix_gain)
        self._roles_version = -1
        self._mean_lufs = NOMINAL_LUFS
        self._mean_s = 0.0

    def _read_roles(self, view: View) -> None:
        if self._roles_version == view.roles_version:
            return
        self._roles_version = view.roles_version
        self._is_speech = view.is_role("speech")
        self._offset_lu = view.by_role(ROLE_OFFSET_LU, ROLE_OFFSET_LU["other"])
        self._has_voice = bool(view.is_role(*VOICES).any())
        self._is_called_solo = np.array([_SOLO.search(name) is not None for name in view.names])
        self._dead_band_db = np.where(self._is_speech, SPEECH_DEAD_BAND_DB, SETTLED_DEAD_BAND_DB)
        self._same_role = np.array([[a == b for b in view.roles] for a in view.roles], float)
        self._same_role[self._is_speech] = 0.0  # talkers take turns, and share gain
        view.listening.set_loudness_memory(np.where(self._is_speech, SPEECH_MEMORY_S, MUSIC_MEMORY_S))
        self._noise_room_db = NOISE_LIMIT_DBFS + 10.0 * np.log10(max(1, int(self._is_speech.sum())))

    def propose(self, view: View) -> list[Proposal]:
        """Move faders towards the balance."""
        self._read_roles(view)
        heard, trim_db = view.listening, view.heading("input.trim_db")
        is_known = heard.strip_s >= KNOWN_AFTER_S
        # The strip is heard as one channel; a stereo one reaches both sides in full.
        loudness_lufs = np.where(
            is_known, heard.strip_loudness_lufs + trim_db + STEREO_LU * view.is_stereo, NOMINAL_LUFS
        )
        crowd = self._same_role @ is_known
        rule_lu = self._offset_lu + self._solo_lu(view) - CROWD_DB_PER_DOUBLING * np.log2(np.maximum(crowd, 1.0))
        model_lu = self._led(view, rule_lu, view.learned.residual(BALANCE, rule_lu))
        offset_lu = rule_lu + model_lu
        self._follow_mean(view, is_known, loudness_lufs - offset_lu)
        wish = self._mean_lufs + offset_lu - loudness_lufs
        refined, dt_s = self.refinement, view.tick_s * self.period_ticks
        wish = wish + refined.look(view, offset_lu, wish, is_known & (heard.strip_s >= ACQUIRED_S), dt_s)
        wish = view.learned.kept(wish - model_lu, wish, view.value("fader.level_db"))
        room_db = self._noise_room_db - heard.source_floor_dbfs - trim_db
        wish = np.where(self._is_speech & is_known, np.minimum(wish, np.maximum(room_db, 0.0)), wish)
        wish = np.clip(wish, -LIMIT_DB, min(LIMIT_DB, 10.0))
        is_acquiring = heard.strip_s < ACQUIRED_S
        # Where the trim is on its way, the fader makes up for it at the same pace: nobody hears either.
        makes_up = is_known & (trim_db != view.value("input.trim_db"))
        make_up_rate = np.where(makes_up, view.rate_per_s("input.trim_db"), 0.0)
        dead_band = np.where(is_acquiring | makes_up | refined.is_fresh, ACQUIRE_DEAD_BAND_DB, self._dead_band_db)
        is_due = is_known | np.isnan(view.asked("fader.level_db"))  # who was not heard yet stays where he starts
        moved = [ch for ch in view.moved("fader.level_db", wish, dead_band) if is_due[ch]]
        return [
            self._proposal(
                view, ch, wish[ch], loudness_lufs[ch], (rule_lu[ch], model_lu[ch]), is_known[ch], is_acquiring[ch],
                make_up_rate[ch],
            )
            for ch in moved
        ]  # fmt: skip

    def _solo_lu(self, view: View) -> NDArray[np.float64]:
        """Return what leading is worth where nobody sings or speaks: to who is called so, else to who matters most."""
        if self._has_voice:
            return np.zeros(view.n_channels)
        learned = view.learned
        return SOLO_LU * np.maximum(self._is_called_solo, learned.trust * learned.lead_share)

    @staticmethod
    def _led(view: View, rule_lu: NDArray[np.float64], model_lu: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the model's part: a named lead vocal that sounds is not lowered by it, and nobody lifted above it."""
        if not view.learned.is_on or not (leads := view.leads()).any():
            return model_lu
        led = np.where(leads, np.maximum(model_lu, 0.0), model_lu)
        room_lu = (rule_lu + led)[leads].min() - rule_lu
        return np.where(leads, led, np.minimum(led, np.maximum(room_lu, 0.0)))

    def _follow_mean(self, view: View, is_known: NDArray[np.bool_], level_lufs: NDArray[np.float64]) -> None:
        if not is_known.any():
            return
        dt_s = view.tick_s * self.period_ticks
        self._mean_s += dt_s
        is_new = is_known & (view.listening.strip_s < ACQUIRED_S)
        memory_s = 0.5 if is_new.any() else MEAN_MEMORY_S
        mean = float(level_lufs[is_known].mean())
        self._mean_lufs += min(1.0, dt_s / min(self._mean_s, memory_s)) * (mean - self._mean_lufs)

    def _proposal(
        self,
        view: View,
        ch: int,
        wish: float,
        loudness: float,
        offsets: tuple[float, float],
        is_known: bool,
        is_acquiring: bool,
        make_up_rate: float,
    ) -> Proposal:
        role = view.roles[ch].replace("_", " ")
        rule_lu, model_lu = float(offsets[0]), float(offsets[1])
        offset = rule_lu + model_lu
        place = "leads" if offset > -0.5 else f"belongs {-offset:.0f} LU under the lead"
        if is_known:
            cause = f"sounds at {loudness:.0f} LUFS, channels at {self._mean_lufs:.0f} on average; {role} {place}"
        else:
            cause = f"not heard yet; {role} {place}"
        if told := self.refinement.words(view, ch):
            cause += f"; {told}"
        confidence = min(1.0, 0.3 + float(view.listening.strip_s[ch]) / ACQUIRED_S * 0.7)
        evidence = {"loudness_lufs": float(loudness), "mean_lufs": self._mean_lufs, "role_offset_lu": offset,
                    "heard_s": float(view.listening.strip_s[ch]),
                    "correction_lu": float(self.refinement.correction_lu[ch])}  # fmt: skip
        if abs(model_lu) >= TOLD_LU:
            stands = "leads" if offset > -0.5 else "backs the lead" if offset > BACKS_LU else "stays behind"
            cause += f"; rule {rule_lu:+.1f}, model {model_lu:+.1f}: {view.learned.setting}, {stands}"
            evidence |= view.learned.evidence(BALANCE, ch, rule_lu, model_lu)
            confidence = min(confidence, view.learned.confidence(BALANCE, ch))
        is_up = wish > view.value("fader.level_db")[ch]
        slew = ACQUIRE_SLEW_DB_PER_S if is_acquiring else UP_DB_PER_S if is_up else DOWN_DB_PER_S
        slew = float(make_up_rate) or slew
        source = "model" if abs(model_lu) > abs(rule_lu) else "rules"
        return Proposal(
            "channel", ch, "fader.level_db", float(wish), cause, evidence, confidence, source, self.name, slew
        )
