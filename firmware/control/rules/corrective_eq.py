"""Corrects what sticks out: mud, boxiness, harshness, sibilance, against the spectrum that a role has on average.

Voices are held against the long-term average speech spectrum; everything else against its own spectrum smoothed over
two octaves, since an instrument's tilt is its character. Cuts; only a dull voice gets a little presence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dsp_kernels.contract.generated.contract import TONE_REGIONS_HZ

from ..learned import TONE
from ..proposals import Proposal
from ..responses import MEL_HZ
from ..view import VOICES, View

# After Byrne et al., "An international comparison of long-term average speech spectra", JASA 96(4), 1994: third-octave
# levels of both sexes in dB, rounded and not checked against the printed table: P.
_LTASS_HZ = np.array([100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000,
                      6300, 8000, 10000, 12500, 16000], float)  # fmt: skip
_LTASS_DB = np.array([54, 58, 57, 60, 60, 59, 62, 62, 60.5, 57, 54, 53, 52, 49, 48, 47, 46, 44.5, 44, 43.5, 43.5, 41,
                      40.5])  # fmt: skip


class Region(NamedTuple):
    """What the ear calls an excess between two frequencies, and which EQ band takes it."""

    word: str
    low_hz: float
    high_hz: float


REGIONS = (
    Region("boomy", 130.0, 320.0),
    Region("boxy", 320.0, 1000.0),
    Region("harsh", 1600.0, 5000.0),
    Region("sharp", 5000.0, 11000.0),
)
# Which regions may be touched: a bass or kick lives in its fundamentals, a synth's peaks are its notes. P.
_ALL, _NO_BOOM, _BOX, _TOP = (1, 1, 1, 1), (0, 1, 1, 1), (0, 1, 0, 0), (0, 0, 1, 1)
REGIONS_OF_ROLE = {
    "speech": _ALL, "vocal_lead": _ALL, "vocal_backing": _ALL, "kick": _BOX, "tom": _BOX, "bass": _BOX,
    "snare": _NO_BOOM, "drums": _NO_BOOM, "hihat": _TOP, "cymbal": _TOP, "percussion": _TOP, "elec_guitar": _NO_BOOM,
    "ac_guitar": _ALL, "piano": _NO_BOOM, "strings": _TOP, "brass": _TOP, "woodwind": _TOP, "synth": _TOP,
}  # fmt: skip
SPEECH_TOLERANCE_DB, TOLERANCE_DB = 4.0, 6.0  # P: a song asks a voice for more than talk does
SHARE = 0.5  # of the excess over the tolerance that is taken away (P)
SPEECH_CUT_DB, CUT_DB, PRESENCE_DB = 6.0, 4.0, 2.0  # at most
Q_VOICE, Q_OTHER = 1.4, 2.0
HEARD_S = 5.0
DEAD_BAND_DB = 0.7
Q_MODEL = 0.9  # of the bells at tone_regions_hz that a model thinks in
MODEL_MAX_DB = 3.0  # the most that a band is ever lifted
SLEW_DB_PER_S = 0.7  # slow: nobody hears it move
AUDIBLE_DB = 45.0  # bands so far under the strongest say nothing

_OCTAVES = np.log2(MEL_HZ)
# A mel band's power as that of a third octave: bands are triangles, half as wide again as their spacing is even.
_TO_THIRD_OCTAVE_DB = 10.0 * np.log10(0.2316 * MEL_HZ / np.gradient(MEL_HZ))
_VOICE_DB = np.interp(_OCTAVES, np.log2(_LTASS_HZ), _LTASS_DB)
_IN_REGION = np.array([(r.low_hz <= MEL_HZ) & (r.high_hz >= MEL_HZ) for r in REGIONS])
_SPEECH_CORE = (MEL_HZ >= 200.0) & (MEL_HZ <= 4000.0)


def _smoother(width_octaves: float) -> np.ndarray:
    weight = np.exp(-0.5 * ((_OCTAVES[:, None] - _OCTAVES[None, :]) / width_octaves) ** 2) * np.gradient(_OCTAVES)
    return (weight / weight.sum(axis=1, keepdims=True)).T


_NARROW, _BROAD = _smoother(0.2), _smoother(1.0)


class CorrectiveEq:
    """``eq.1`` to ``eq.4``, one for each region."""

    name = "corrective_eq"
    period_ticks = 100

    def __init__(self) -> None:
        self._roles_version = -1

    def _read_roles(self, view: View) -> None:
        if self._roles_version == view.roles_version:
            return
        self._roles_version = view.roles_version
        self._is_voice = view.is_role(*VOICES)
        self._allowed = np.array([REGIONS_OF_ROLE.get(role, (0, 0, 0, 0)) for role in view.roles], float)
        self._tolerance_db = np.where(view.is_role("speech"), SPEECH_TOLERANCE_DB, TOLERANCE_DB)
        self._cut_db = np.where(view.is_role("speech"), SPEECH_CUT_DB, CUT_DB)
        self._q = np.where(self._is_voice, Q_VOICE, Q_OTHER)

    def propose(self, view: View) -> list[Proposal]:
        """Cut the largest excess of each region."""
        self._read_roles(view)
        heard = view.listening
        # A model knows tastes where the rule has none; there the rule's answer is 0 dB.
        ready = (heard.active_s >= HEARD_S) & (self._allowed.any(axis=1) | view.learned.is_on)
        if not ready.any():
            return []
        level_db = heard.mel_db + _TO_THIRD_OCTAVE_DB
        audible = level_db > level_db.max(axis=1, keepdims=True) - AUDIBLE_DB
        smooth_db = level_db @ _NARROW
        voice_offset_db = np.median((smooth_db - _VOICE_DB)[:, _SPEECH_CORE], axis=1, keepdims=True)
        reference_db = np.where(self._is_voice[:, None], _VOICE_DB + voice_offset_db, level_db @ _BROAD)
        excess_db = np.where(audible, smooth_db - reference_db, -99.0)
        proposals: list[Proposal] = []
        for n, region in enumerate(REGIONS):
            inside = np.where(_IN_REGION[n], excess_db, -99.0)
            at = np.argmax(inside, axis=1)
            peak_db = inside[np.arange(view.n_channels), at]
            gain_db = -np.clip(SHARE * (peak_db - self._tolerance_db), 0.0, self._cut_db)
            gain_db = np.where(_is_skirt(excess_db, n, at, peak_db), 0.0, gain_db)
            if region.word == "harsh":
                gain_db, at, peak_db = self._with_presence(excess_db[:, _IN_REGION[n]], gain_db, at, peak_db)
            gain_db *= self._allowed[:, n]
            model_db = self._of_model(view, n, gain_db)
            wish_db = gain_db + model_db
            for ch in view.moved(f"eq.{n + 1}.gain_db", np.where(ready, wish_db, np.nan), DEAD_BAND_DB):
                if ready[ch] and (wish_db[ch] != 0.0 or view.asked(f"eq.{n + 1}.gain_db")[ch] != 0.0):
                    told = (float(gain_db[ch]), float(model_db[ch]))
                    proposals += self._proposals(view, ch, n, told, float(MEL_HZ[at[ch]]), peak_db[ch])
        return proposals

    def _of_model(self, view: View, n: int, gain_db: np.ndarray) -> np.ndarray:
        """Return what a model adds in region ``n``; within what a rule may cut and a model may lift."""
        rules_db = np.zeros((view.n_channels, len(REGIONS)))
        rules_db[:, n] = gain_db
        model_db = view.learned.residual(TONE, rules_db)[:, n]
        wish_db = np.clip(gain_db + model_db, -self._cut_db, np.maximum(gain_db, MODEL_MAX_DB))
        return view.learned.kept(gain_db, wish_db, view.value(f"eq.{n + 1}.gain_db")) - gain_db

    def _with_presence(
        self, region_db: np.ndarray, gain_db: np.ndarray, at: np.ndarray, peak_db: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean_db = region_db.mean(axis=1)
        lack_db = -mean_db - self._tolerance_db
        boost_db = np.where(self._is_voice & (lack_db < 20.0), np.clip(SHARE * lack_db, 0.0, PRESENCE_DB), 0.0)
        is_dull = (boost_db > 0.0) & (gain_db > -0.1)
        middle = int(np.argmin(np.abs(MEL_HZ - 3000.0)))
        return (
            np.where(is_dull, boost_db, gain_db), np.where(is_dull, middle, at), np.where(is_dull, mean_db, peak_db),
        )  # fmt: skip

    def _proposals(
        self, view: View, ch: int, n: int, gains_db: tuple[float, float], freq_hz: float, peak_db: float
    ) -> list[Proposal]:
        gain_db, model_db = gains_db[0] + 0.0, gains_db[1]  # a zero without a sign
        against = "an average voice" if self._is_voice[ch] else "its own broad spectrum"
        if gain_db > 0.0:
            cause = f"dull: {-peak_db:.0f} dB under {against} at {freq_hz / 1000:.1f} kHz"
        elif gain_db < 0.0 or model_db == 0.0:
            cause = f"{REGIONS[n].word}: {peak_db:.0f} dB over {against} at {_hertz(freq_hz)}"
        else:
            cause, freq_hz = f"nothing {REGIONS[n].word}", TONE_REGIONS_HZ[n]
        evidence = {"excess_db": float(peak_db), "freq_hz": freq_hz, "active_s": float(view.listening.active_s[ch])}
        confidence = min(1.0, float(view.listening.active_s[ch]) / 20.0)
        source = "model" if abs(model_db) > abs(gain_db) else "rules"
        if abs(model_db) >= 0.1:
            cause += f"; rule {gain_db:+.1f}, model {model_db:+.1f} dB: {view.learned.setting}"
            evidence |= view.learned.evidence(TONE, ch, gain_db, model_db)
            confidence = min(confidence, view.learned.confidence(TONE, ch))
        q = Q_MODEL if gain_db == 0.0 and model_db != 0.0 else float(self._q[ch])

        def wish(field: str, value: float, slew: float | None = None) -> Proposal:
            return Proposal("channel", ch, f"eq.{n + 1}.{field}", value, cause, evidence, confidence, source,
                            self.name, slew, is_companion=field != "gain_db")  # fmt: skip

        return [wish("freq_hz", freq_hz, 4.0), wish("q", q), wish("gain_db", gain_db + model_db, SLEW_DB_PER_S)]


def _is_skirt(excess_db: np.ndarray, n: int, at: np.ndarray, peak_db: np.ndarray) -> np.ndarray:
    """Return where the region's largest excess only leads up to a larger one next door: one peak, one cut."""
    low, high = np.flatnonzero(_IN_REGION[n])[[0, -1]]
    below, above = excess_db[:, max(low - 1, 0)], excess_db[:, min(high + 1, len(MEL_HZ) - 1)]
    return ((at == low) & (below > peak_db)) | ((at == high) & (above > peak_db))


def _hertz(freq_hz: float) -> str:
    return f"{freq_hz / 1000:.1f} kHz" if freq_hz >= 1000 else f"{freq_hz:.0f} Hz"
