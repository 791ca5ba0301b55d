"""Gathers what the role network says about each channel, look by look, into one opinion.

Each look counts for the seconds that the channel itself sounded since the one before, as far as the network hears it::

    a        = seconds of activity since the last look, at most MAX_GAP_S, times the probability of voice activity
    evidence = exp(-a / memory_s) * evidence + a * log_softmax(role_logits)
    seconds  = exp(-a / memory_s) * seconds  + a
    prob     = softmax(evidence / (seconds + PRIOR_S) / temperature)

Training fits the temperature to this very sum.
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
        mean = self._sum / (self.weight_s + PRIOR_S)[:, None]
        return np.exp(log_softmax(mean / self._how.temperature)).astype(np.float32)
