"""Guesses a role from the sound alone, plainly: how far a channel's descriptors lie from what a role usually shows.

Honest about it: prototypes are written by hand from what instruments are, not fitted; the confidence is the share of
the best role among all, and grows with what was heard. Under ``DECIDE_CONFIDENCE`` a channel stays "other". A model
replaces this; a name always beats it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .listening import Listening
from .responses import MEL_HZ

HEARD_S = 2.0  # of activity before the first guess
SURE_S = 6.0  # of activity until the confidence is the classifier's own
LOOK_UNTIL_S = 60.0  # then the role stays
DECIDE_CONFIDENCE = 0.35
CHANGE_MARGIN = 0.15  # another role must be so much surer than the one in force

# What is measured, and the spread within one role (one sigma): octaves for frequencies and times, dB for levels.
MEASURES: dict[str, float] = {
    "centroid_octaves": 0.9,  # log2 of the mean centroid, Hz
    "low_db": 7.0,  # power under 150 Hz relative to all
    "high_db": 8.0,  # power over 5 kHz relative to all
    "flatness_octaves": 1.5,  # log2
    "crest_db": 4.0,
    "decay_octaves": 1.2,  # log2, dB/s
    "onset_octaves": 1.0,  # log2, per second
    "syllabic": 0.15,
}
# role: centroid Hz, low dB, high dB, flatness, crest dB, decay dB/s, onsets per s, syllabic share. P.
PROTOTYPES: dict[str, tuple[float, float, float, float, float, float, float, float]] = {
    "speech": (900, -12, -20, 0.05, 13, 90, 4.0, 0.55),
    "vocal_lead": (1000, -18, -20, 0.02, 10, 50, 2.5, 0.40),
    "kick": (120, -1, -35, 0.01, 16, 150, 2.0, 0.35),
    "snare": (1800, -14, -10, 0.15, 18, 130, 2.0, 0.35),
    "hihat": (8000, -35, -1.5, 0.35, 16, 160, 5.0, 0.40),
    "cymbal": (6500, -30, -3, 0.30, 12, 30, 0.8, 0.30),
    "tom": (250, -5, -28, 0.02, 15, 70, 1.0, 0.30),
    "drums": (1200, -5, -12, 0.10, 16, 110, 5.0, 0.40),
    "percussion": (3000, -20, -9, 0.12, 16, 140, 4.0, 0.40),
    "bass": (160, -2, -40, 0.005, 8, 30, 2.5, 0.35),
    "elec_guitar": (900, -16, -25, 0.02, 8, 30, 2.5, 0.35),
    "ac_guitar": (1200, -15, -18, 0.03, 12, 50, 4.0, 0.40),
    "piano": (600, -14, -30, 0.01, 11, 35, 3.0, 0.35),
    "synth": (800, -12, -22, 0.03, 7, 20, 2.0, 0.30),
    "strings": (900, -20, -25, 0.02, 7, 12, 0.8, 0.20),
    "brass": (1200, -25, -20, 0.01, 8, 30, 2.0, 0.30),
    "woodwind": (1100, -28, -25, 0.01, 6, 20, 1.0, 0.25),
    "playback": (1000, -7, -14, 0.06, 9, 40, 4.0, 0.35),
}  # fmt: skip
_ROLES = tuple(PROTOTYPES)
_SIGMA = np.array(list(MEASURES.values()))


def _as_measures(row: tuple[float, ...]) -> list[float]:
    centroid_hz, low_db, high_db, flatness, crest_db, decay, onsets, syllabic = row
    return [
        np.log2(centroid_hz),
        low_db,
        high_db,
        np.log2(flatness),
        crest_db,
        np.log2(decay),
        np.log2(onsets),
        syllabic,
    ]


_CENTRES = np.array([_as_measures(row) for row in PROTOTYPES.values()])
_LOW, _HIGH = MEL_HZ < 150.0, MEL_HZ > 5000.0


def measures_of(heard: Listening) -> NDArray[np.float64]:
    """Return ``(n_channels, len(MEASURES))`` of what was heard."""
    power = heard.mel_power
    total = power.sum(axis=1) + 1e-30
    low_db = 10.0 * np.log10(power[:, _LOW].sum(axis=1) / total + 1e-6)
    high_db = 10.0 * np.log10(power[:, _HIGH].sum(axis=1) / total + 1e-6)
    d = heard.descriptor
    return np.stack(
        [
            np.log2(np.maximum(d["centroid_hz"], 20.0)), low_db, high_db, np.log2(np.maximum(d["flatness"], 1e-4)),
            d["crest_db"], np.log2(np.clip(d["decay_db_per_s"], 3.0, 1000.0)),
            np.log2(np.clip(heard.onset_rate_hz, 0.2, 20.0)), d["syllabic_modulation"],
        ],
        axis=1,
    )  # fmt: skip


def likelihoods(measures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of each role in ``PROTOTYPES``, ``(n_channels, n_roles)``, rows summing to 1."""
    z = np.clip((measures[:, None, :] - _CENTRES[None]) / _SIGMA, -3.0, 3.0)
    log_share = -0.5 * (z**2).sum(axis=2)
    share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)


class Classifier:
    """Keeps a guess for each channel; ``roles`` holds role and confidence, ``("other", 0.0)`` where it cannot say."""

    def __init__(self, is_stereo: NDArray[np.bool_]) -> None:
        self.roles: list[tuple[str, float]] = [("other", 0.0)] * len(is_stereo)
        self._is_stereo = is_stereo

    def listen(self, heard: Listening, wanted: NDArray[np.bool_]) -> bool:
        """Look again at the ``wanted`` channels; True when a role changed."""
        ready = wanted & (heard.active_s >= HEARD_S) & (heard.active_s < LOOK_UNTIL_S)
        if not ready.any():
            return False
        share = likelihoods(measures_of(heard))
        share[self._is_stereo, _ROLES.index("speech")] *= 0.3  # talkers are mono
        share[~self._is_stereo, _ROLES.index("playback")] *= 0.3  # players are not
        share /= share.sum(axis=1, keepdims=True)
        has_changed = False
        for ch in np.flatnonzero(ready).tolist():
            best = int(np.argmax(share[ch]))
            trust = min(1.0, float(heard.active_s[ch]) / SURE_S)
            role, confidence = _ROLES[best], float(share[ch, best]) * trust
            role_now, _confidence_now = self.roles[ch]
            if role == role_now:
                self.roles[ch] = (role, confidence)
            elif confidence >= DECIDE_CONFIDENCE and (
                role_now == "other" or confidence > self._share_of(share[ch], role_now) * trust + CHANGE_MARGIN
            ):
                self.roles[ch] = (role, confidence)
                has_changed = True
        return has_changed

    @staticmethod
    def _share_of(share: NDArray[np.float64], role: str) -> float:
        return float(share[_ROLES.index(role)])
