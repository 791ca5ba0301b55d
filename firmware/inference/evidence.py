"""Gathers what the role network says about each channel, look by look, into one opinion.

Each look counts as the channel itself sounded since the one before, as long and as loud, and as far as the network
hears it::

    own      = probability of voice activity
    a        = min(own * seconds of activity since the last look, MAX_GAP_S)
    e        = own * the same seconds, each as loud as it was: times min(10, 10^(3 level_now)), level_now being dB / 30
    keep     = exp(-a / memory_s)
    evidence = keep * evidence + e * log_softmax(role_logits)
    active_s = keep * active_s + a
    sound_s  = keep * sound_s + e
    mean     = evidence / sound_s * active_s / (active_s + PRIOR_S)
    prob     = softmax(mean / temperature)

What is louder counts more: a microphone hears its own source when that is loud, the others and the room in between.
Training fits temperature and share to this very sum.

What the mix network makes of a channel, which hears the others too, is gathered the same way and pooled with it::

    share = context_share * (1 - 1 / n)        n channels heard so far, at least 1
    prob  = softmax(((1 - share) * mean_own + share * mean_context) / temperature)

so a channel alone is what its own sound says: there is no context that could know better. `model_compression` fits
``context_share`` with the same rule in `nets/evidence.py`; a test there holds both to each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.layout import MODEL_INPUT_COLUMNS
from firmware.observation import TICK_MS

from .bundle import Evidence

PRIOR_S, MAX_GAP_S, LEAST_SOUND = 0.5, 1.0, 1e-12
MOST_DB = 10.0  # over the usual level: a knock on a microphone says no more
LEVEL_NOW_SCALE_DB = 30.0  # of the column: contract, [[model_input]] level_now
_ACTIVE, _LEVEL = (MODEL_INPUT_COLUMNS[name].start for name in ("is_active", "level_now"))


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return log-probabilities along the last axis."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def sound_of(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how much sound of its own each channel has in a tick, ``(n_channels,)``: in seconds at its usual power."""
    level_db = np.minimum(LEVEL_NOW_SCALE_DB * x[:, _LEVEL].astype(np.float64), MOST_DB)
    return np.asarray(1e-3 * TICK_MS * 10.0 ** (level_db / 10.0) * (x[:, _ACTIVE] > 0.0))


class RoleEvidence:
    """One opinion a channel."""

    def __init__(self, n_channels: int, n_roles: int, how: Evidence) -> None:
        self._how = how
        self._sum = np.zeros((n_channels, n_roles))
        self._sound_s = np.zeros(n_channels)
        self.active_s = np.zeros(n_channels)

    def hear(self, ch: int, logits: NDArray[np.floating], active_s: float, sound_s: float) -> None:
        """Take a look at channel ``ch`` that stands for so many seconds of its own sound, and so much of it."""
        if not (active_s > 0.0 and sound_s > 0.0 and np.isfinite(logits).all()):
            return
        active_s = min(active_s, MAX_GAP_S)
        keep = np.exp(-active_s / self._how.memory_s)
        self._sum[ch] = keep * self._sum[ch] + sound_s * log_softmax(logits)
        self._sound_s[ch] = keep * self._sound_s[ch] + sound_s
        self.active_s[ch] = keep * self.active_s[ch] + active_s

    def forget(self, ch: int) -> None:
        """Begin anew with a channel."""
        self._sum[ch], self._sound_s[ch], self.active_s[ch] = 0.0, 0.0, 0.0

    @property
    def prob(self) -> NDArray[np.float32]:
        """Return the opinions, ``(n_channels, n_roles)``, rows summing to 1."""
        return self._prob(self._mean)

    def pooled(self, context: RoleEvidence, n_heard: int) -> NDArray[np.float32]:
        """Return the opinions of both, where ``n_heard`` channels have been heard so far; shape as ``prob``."""
        share = self._how.context_share * (1.0 - 1.0 / max(1, n_heard))
        return self._prob((1.0 - share) * self._mean + share * context._mean)

    @property
    def _mean(self) -> NDArray[np.float64]:
        trust = self.active_s / (self.active_s + PRIOR_S)
        return self._sum * (trust / np.maximum(self._sound_s, LEAST_SOUND))[:, None]

    def _prob(self, mean: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.exp(log_softmax(mean / self._how.temperature)).astype(np.float32)
