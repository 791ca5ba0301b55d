"""Looks again at what the balance has reached, and corrects what it missed: at most three times a change.

The balance works from the mean of the last half minute behind a strip. A compressor that came in since, a new EQ, a
fader that rests within its dead band, a lead that others cover: all that is heard in the mix only. So after each change
of roles, scene, section or strips, loudness behind the faders is held against what was asked for, and part of the
difference is given to the faders. A pass that does not bring the mix nearer is taken back. Between passes nothing here
follows the sound, so a loud bar moves no fader.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..listening import GATE_LU, level_of, power_of
from ..mixer_state import Mode
from ..responses import MixGain
from ..view import VOICES, View
from .automix_groups import SPEECH_GROUP

STEREO_LU = 3.5  # a stereo strip reaches both sides: between 3, both sides alike, and 6, nothing in common
LIMIT_LU = 3.0  # as far as a fader is corrected (P)
N_PASSES = 3
DAMPING = 0.7  # share of the difference that a pass takes (P)
WORTH_LU = 0.4  # a mean difference under this is left (P)
GAIN_LU = 0.02  # so much nearer at least must a pass bring the mix, or it is taken back (P)
SETTLE_S = 1.0  # after a change or a pass, until faders have arrived and the momentary window holds nothing older
WINDOW_S, WAIT_S = 3.0, 12.0  # of each channel's sound that a look stands on; a channel that waits longer is left out
LEAST_S = 0.8  # of sound in a look, or the channel has no part in it (P)
STRIP_DB = 2.0  # so much of an EQ band's gain makes another strip of it (P)
MASK_DB = 6.0  # a masker covers what lies so far under it in a critical band: half of that is heard (P)
COVERED_LU = 1.0  # a lead that loses more under the others than this is missed (P)
LEAD_LU = 1.0  # who was asked to be within this of the loudest leads (P)
TOLD_LU = 0.5
LOOK_S = 0.4  # as long as the momentary window
_BANDS = (*(f"eq.{n}.gain_db" for n in range(1, 5)), "unmask.1.gain_db", "unmask.2.gain_db")
_SWITCHES = ("hpf.is_on", "gate.is_on", "compressor.is_on")


# All that a pass and its judging hang on; it changes in a look only.
OF_A_PASS = (
    "n_looks", "n_passes", "n_taken_back", "error_lu", "_is_done", "_since_s", "correction_lu", "_before_lu",
    "missed_lu", "covered_lu", "passed_lu", "masker", "_was_heard", "_power", "_sound_s", "_dynamics_db", "_known",
    "_words", "_bands_db",
)  # fmt: skip


class Refinement:
    """What is added to the balance's faders, ``correction_lu (n_channels,)``; ``limit_lu`` 0 switches it off."""

    def __init__(self, mix_gain: MixGain) -> None:
        self._mix_gain = mix_gain
        self.limit_lu = LIMIT_LU
        self.correction_lu = np.zeros(0)
        self.missed_lu = np.zeros(0)  # at the last pass: how far each channel was under what was asked for
        self.covered_lu = np.zeros(0)  # of that, under others
        self.is_fresh = np.zeros(0, bool)  # corrected in this look
        self.passed_lu = np.zeros(0)  # what the strip gave at the last pass over what the balance took it to give
        self.masker = np.zeros(0, np.intp)
        self.n_looks = 0
        self.n_passes = 0  # since the last change
        self.n_taken_back = 0
        self.error_lu = 0.0  # mean difference at the last look
        self._before_lu = np.zeros(0)  # correction before the last pass
        self._is_done = False
        self._known: tuple[bytes, ...] = ()  # who is, and the switches of all strips
        self._words: tuple[int | str, ...] = ()
        self._bands_db = np.zeros((len(_BANDS), 0), np.float32)
        self._since_s = 0.0
        self._look_s = 0.0  # since the last look
        self._sections = np.zeros(0, np.intp)
        self._power = np.zeros(0)
        self._sound_s = np.zeros(0)
        self._dynamics_db = np.zeros(0)
        self._believed_lufs = np.zeros(0)
        self._was_heard = np.zeros(0, bool)

    def look(
        self, view: View, offset_lu: NDArray[np.float64], wish_db: NDArray[np.float64], is_known: NDArray[np.bool_],
        dt_s: float,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return the correction of each fader.

        Parameters
        ----------
        offset_lu
            What each channel was asked to have in the mix, relative to the others.
        wish_db
            Where the balance alone wants the fader.
        is_known
            Whose loudness the balance knows.
        """
        if self.correction_lu.size != view.n_channels:
            self._begin(view)
        self.is_fresh[:] = False
        self._look_s += dt_s
        if self._look_s < LOOK_S or self.limit_lu == 0.0:
            return self.correction_lu
        dt_s, self._look_s = self._look_s, 0.0
        self.n_looks += 1
        self._use_up(view)
        if self._has_changed(view, is_known):
            self.n_passes, self._is_done = 0, False
            self._start_listening()
        if self._is_done:
            return self.correction_lu
        self._hear(view, dt_s)
        if self._since_s >= SETTLE_S + WINDOW_S:
            is_heard = self._is_heard(view, is_known)
            if is_heard is not None:
                self._judge(view, offset_lu, wish_db, is_heard)
        return self.correction_lu

    def words(self, view: View, ch: int) -> str:
        """Return what is told of a correction; empty where it is none worth it."""
        missed_lu = float(self.missed_lu[ch])
        if abs(self.correction_lu[ch]) < TOLD_LU or abs(missed_lu) < TOLD_LU:
            return ""
        if self.covered_lu[ch] > 0.5 * missed_lu > 0.0:
            why = f"masked by {view.names[self.masker[ch]]}"
        elif self.passed_lu[ch] * missed_lu < -0.25 * missed_lu**2:
            why = f"its strip lets {'less' if missed_lu > 0.0 else 'more'} through than it did"
        else:
            why = "the fader had rested near by"
        return f"reaches the mix {abs(missed_lu):.1f} LU {'under' if missed_lu > 0.0 else 'over'} what was asked: {why}"

    # ------------------------------------------------------------------------------------------------- listening

    def _begin(self, view: View) -> None:
        n_channels, of = view.n_channels, view.state.section
        self._sections = np.array([of("channel", ch, "fader") for ch in range(n_channels)])
        for name in ("correction_lu", "missed_lu", "covered_lu", "_before_lu", "_power", "_sound_s", "_dynamics_db",
                     "_believed_lufs", "passed_lu"):  # fmt: skip
            setattr(self, name, np.zeros(n_channels))
        self.is_fresh, self.masker = np.zeros(n_channels, bool), np.zeros(n_channels, np.intp)
        self._was_heard = np.zeros(n_channels, bool)
        self._bands_db = np.zeros((len(_BANDS), n_channels), np.float32)

    def _use_up(self, view: View) -> None:
        """Give back what the balance has found out by itself since: its belief has moved, and its wish with it."""
        believed_lufs = view.listening.strip_loudness_lufs
        risen_lu = self._believed_lufs - believed_lufs  # of the wish
        self._believed_lufs = believed_lufs
        if not self.correction_lu.any():
            return
        same_way = np.sign(risen_lu) == np.sign(self.correction_lu)
        left = np.maximum(np.abs(self.correction_lu) - np.abs(risen_lu), 0.0)
        self.correction_lu = np.where(same_way, np.copysign(left, self.correction_lu), self.correction_lu)
        self._before_lu = np.where(same_way, np.minimum(np.maximum(self._before_lu, -left), left), self._before_lu)

    def _has_changed(self, view: View, is_known: NDArray[np.bool_]) -> bool:
        learned = view.learned
        switches = tuple([view.asked(name).tobytes() for name in _SWITCHES])
        known = (is_known.tobytes(), *switches)
        words = (view.roles_version, learned.scene_kind or "", learned.section, learned.style)
        bands_db = np.array([view.value(name) for name in _BANDS])
        if (known, words) == (self._known, self._words) and not (np.abs(bands_db - self._bands_db) > STRIP_DB).any():
            return False
        self._known, self._words, self._bands_db = known, words, bands_db
        return bool(is_known.any())

    def _start_listening(self) -> None:
        self._since_s = 0.0
        self._power[:] = self._sound_s[:] = 0.0

    def _hear(self, view: View, dt_s: float) -> None:
        """Add a look at the loudness behind each strip, where it sounds as loud as it usually does."""
        self._since_s += dt_s
        if self._since_s < SETTLE_S:
            return
        heard = view.listening
        power = power_of(heard.feature("strip_loudness_momentary_lufs") - view.value("input.trim_db"))
        counts = heard.is_active & (power > heard.strip_power * 10.0 ** (-GATE_LU / 10.0))
        self._sound_s += counts * dt_s
        weight = counts * (dt_s / np.maximum(self._sound_s, dt_s))
        self._power += weight * (power - self._power)
        dynamics_db = heard.meter("compressor_gain_db") + heard.meter("gate_gain_db")
        self._dynamics_db += weight * (dynamics_db - self._dynamics_db)

    def _is_heard(self, view: View, is_known: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Return who is judged now; None until all that go on sounding were heard long enough."""
        state, section = view.state, self._sections
        is_free = (state.mode[section] == Mode.AUTO) & ~state.is_locked[section]
        is_free &= state.amount_percent[section] >= 100.0
        # Talkers that share gain take turns; what each has in his turn is the balance's own promise.
        judged = is_free & is_known & (view.value("automix.group") != SPEECH_GROUP)
        sounding = judged & (view.listening.quiet_s < WINDOW_S)
        if not sounding.any():
            return None
        if self._since_s < SETTLE_S + WAIT_S and not (self._sound_s[sounding] >= 0.5 * WINDOW_S).all():
            return None
        return judged & (self._sound_s >= LEAST_S)

    # --------------------------------------------------------------------------------------------------- judging

    def _judge(
        self, view: View, offset_lu: NDArray[np.float64], wish_db: NDArray[np.float64], is_heard: NDArray[np.bool_]
    ) -> None:
        fader_db = view.heading("fader.level_db")
        strip_lufs = level_of(self._power)
        behind_lufs = strip_lufs + view.heading("input.trim_db") + STEREO_LU * view.is_stereo
        covered_lu = self._covered(view, offset_lu, is_heard)
        missed_lu = offset_lu + covered_lu - behind_lufs - fader_db
        both = is_heard & self._was_heard if self.n_passes else is_heard
        self._start_listening()
        if both.sum() < 2:
            self._is_done = True
            return
        if self.n_passes and _error_lu(missed_lu, both) > _error_lu(self.missed_lu, both) - GAIN_LU:
            self.is_fresh = self.correction_lu != self._before_lu
            self.correction_lu = self._before_lu
            self._is_done, self.n_taken_back = True, self.n_taken_back + 1
            return
        self.error_lu = _error_lu(missed_lu, is_heard)
        if self.n_passes == N_PASSES or self.error_lu < WORTH_LU:
            self._is_done = True
            return
        self.n_passes += 1
        self.missed_lu = np.where(is_heard, missed_lu - missed_lu[is_heard].mean(), 0.0)
        self.covered_lu, self._was_heard = covered_lu, is_heard
        self.passed_lu = np.where(is_heard, strip_lufs - self._believed_lufs, 0.0)
        self._before_lu = self.correction_lu
        wanted_lu = np.clip(fader_db + DAMPING * self.missed_lu - wish_db, -self.limit_lu, self.limit_lu)
        self.correction_lu = np.where(is_heard, wanted_lu, self.correction_lu)
        self.is_fresh = is_heard.copy()

    def _covered(self, view: View, offset_lu: NDArray[np.float64], is_heard: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return what each lead loses under the others beyond what is usual, and note who covers it.

        A critical band counts by E / (E + M), E the channel's power in the mix and M what the others mask there.
        """
        lead = is_heard & view.is_role(*VOICES) & (offset_lu >= offset_lu[is_heard].max(initial=-np.inf) - LEAD_LU)
        covered_lu = np.zeros(view.n_channels)
        gain = self._mix_gain.read() ** 2 * power_of(self._dynamics_db)[:, None]
        power = view.listening.bark_power * gain
        for ch in np.flatnonzero(lead).tolist():
            masking = (power.sum(axis=0) - power[ch]) * 10.0 ** (-MASK_DB / 10.0)
            heard = power[ch] / np.maximum(power[ch] + masking, 1e-20)
            share = float((power[ch] * heard).sum() / max(power[ch].sum(), 1e-20))
            covered_lu[ch] = max(-10.0 * np.log10(max(share, 1e-3)) - COVERED_LU, 0.0)
            by = (power * (power[ch] * (1.0 - heard) / np.maximum(masking, 1e-20))).sum(axis=1)
            by[ch] = -1.0
            self.masker[ch] = int(np.argmax(by))
        return np.minimum(covered_lu, LIMIT_LU)


def _error_lu(missed_lu: NDArray[np.float64], where: NDArray[np.bool_]) -> float:
    """Return by how much channels differ from the balance that was asked for, root mean square, whatever its level."""
    missed = missed_lu[where]
    return float(np.sqrt(np.mean((missed - missed.mean()) ** 2)))
