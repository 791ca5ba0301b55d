"""Gathers what the role network says about each channel, look by look, into one opinion.

Each look counts for the seconds that the channel itself sounded since the one before, as far as the network hears it::

    a        = seconds of activity since the last look, at most MAX_GAP_S, times the probability of voice activity
    evidence = exp(-a / memory_s) * evidence + a * log_softmax(role_logits)
    seconds  = exp(-a / memory_s) * seconds  + a
    prob     = softmax(evidence / (seconds + PRIOR_S) / temperature)

Training fits the temperature to this very sum.

What the mix network makes of a channel, which hears the others too, is gathered the same way and pooled with it::

    share = context_share * (1 - 1 / n)        n channels heard so far, at least 1
    mean  = evidence / (seconds + PRIOR_S)     of each
    prob  = softmax(((1 - share) * mean_own + share * mean_context) / temperature)

so a channel alone is what its own sound says: there is no context that could know better. `model_compression` fits
``context_share`` with the same rule in `nets/evidence.py`; a test there holds both to each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bundle import Evidence

PRIOR_S, MAX_GAP_S = 0.5, 1.0


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return log-probabilities along the last axis."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


class RoleEvidence:
    """One opinion a channel."""

    def __init__(self, n_channels: int, n_roles: int, how: Evidence) -> None:
        self._how = how
        self._sum = np.zeros((n_channels, n_roles))
        self.weight_s = np.zeros(n_channels)

    def hear(self, ch: int, logits: NDArray[np.floating], active_s: float) -> None:
        """Take a look at channel ``ch`` that stands for ``active_s`` seconds of its sound."""
        if not (active_s > 0.0 and np.isfinite(logits).all()):
            return
        active_s = min(active_s, MAX_GAP_S)
        keep = np.exp(-active_s / self._how.memory_s)
        self._sum[ch] = keep * self._sum[ch] + active_s * log_softmax(logits)
        self.weight_s[ch] = keep * self.weight_s[ch] + active_s

    def forget(self, ch: int) -> None:
        """Begin anew with a channel."""
        self._sum[ch], self.weight_s[ch] = 0.0, 0.0

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
        return self._sum / (self.weight_s + PRIOR_S)[:, None]

    def _prob(self, mean: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.exp(log_softmax(mean / self._how.temperature)).astype(np.float32)
