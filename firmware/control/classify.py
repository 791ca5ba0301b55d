"""Guesses a role from the sound alone, plainly: how far a channel's descriptors lie from what a role usually shows.

Honest about it: one prototype a role, from sampled instruments (``fit_prototypes.py``), and one spread for all; the
confidence is the share of the best role among all, and grows with what was heard. Under ``DECIDE_CONFIDENCE`` a channel
stays "other". A model replaces this; a name always beats it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .listening import Listening
from .responses import MEL_HZ

HEARD_S = 2.0  # of activity before the first guess
SURE_S = 6.0  # of activity until the confidence is the classifier's own
LOOK_UNTIL_S = 60.0  # then the role stays
DECIDE_CONFIDENCE = 0.35
CHANGE_MARGIN = 0.15  # another role must be so much surer than the one in force

# What is measured. Octaves are log2; shares are of power, of modulation, of time.
MEASURES = (
    "centroid_octaves", "low_db", "high_db", "flatness_octaves", "crest_db", "decay_octaves", "onset_octaves",
    "syllabic", "attack_octaves", "roughness_octaves", "duty",
)  # fmt: skip
INDEPENDENCE = 0.3  # measures go together; as evidence they count as a third of their number (P)
SPREAD = 1.2  # players and rooms differ more than sampled instruments do (P)
_TABLE = tomllib.loads((Path(__file__).parent / "prototypes.toml").read_text())
PROTOTYPES: dict[str, list[float]] = {role: row["centre"] for role, row in _TABLE["role"].items()}
_ROLES = tuple(PROTOTYPES)
_CENTRES = np.array([PROTOTYPES[role] for role in _ROLES])
_SIGMA = SPREAD * np.array(_TABLE["sigma"])
_LOW, _HIGH = MEL_HZ < 150.0, MEL_HZ > 5000.0


def measures_of(heard: Listening) -> NDArray[np.float64]:
    """Return ``(n_channels, len(MEASURES))`` of what was heard."""
    total = heard.mel_power.sum(axis=1) + 1e-30
    d = heard.descriptor
    return np.stack(
        [
            np.log2(np.maximum(d["centroid_hz"], 20.0)),
            10.0 * np.log10(heard.mel_power[:, _LOW].sum(axis=1) / total + 1e-4),
            10.0 * np.log10(heard.mel_power[:, _HIGH].sum(axis=1) / total + 3e-5),
            np.log2(np.maximum(d["flatness"], 5e-4)),
            d["crest_db"],
            np.log2(np.clip(d["decay_db_per_s"], 3.0, 1000.0)),
            np.log2(np.clip(heard.onset_rate_hz, 0.2, 20.0)),
            d["syllabic_modulation"],
            np.log2(np.clip(d["attack_ms"], 0.5, 500.0)),
            np.log2(np.maximum(d["roughness"], 0.0) + 0.02),
            np.minimum(heard.active_s / np.maximum(heard.present_s, 0.1), 1.0),
        ],
        axis=1,
    )


def likelihoods(measures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of each role in ``PROTOTYPES``, ``(n_channels, n_roles)``, rows summing to 1."""
    z = np.clip((measures[:, None, :] - _CENTRES[None]) / _SIGMA, -3.0, 3.0)
    log_share = -0.5 * INDEPENDENCE * (z**2).sum(axis=2)
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
