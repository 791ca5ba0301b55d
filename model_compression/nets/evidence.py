"""From what a network says now to what is believed: the sums that the box keeps between networks, float64 NumPy.

Role, for each channel, at each run of the role network on it. Its last run was some ticks ago; in those in which the
channel sounds (``x[71]`` above 0) it counts as many seconds, and as much sound as it was loud::

    own     = sigmoid(voice_activity_logit)                         how far the network hears the channel itself
    a       = own * (seconds that it sounded), at most MAX_GAP_S
    e       = own * (sum over those ticks of 0.02 * min(10, 10^(3 x[72])))     level_now, dB / 30, as a power
    k       = exp(-a / 20)
    evidence = k * evidence + e * log_softmax(role_logits)          (21), zero at first
    sound_s  = k * sound_s  + e                                     zero at first
    active_s = k * active_s + a                                     zero at first
    mean     = evidence / sound_s * active_s / (active_s + 0.5)
    role_prob = softmax(mean / temperature)

so a channel never heard has every role alike, silence changes nothing, and after 20 s of sound old evidence has faded
to 1 / e. What is louder counts more, since a microphone hears its own source when that is loud, and the others and the
room in between. ``temperature`` comes from the run's ``calibration.toml``. Between runs ``role_prob`` holds.

What the mix network makes of each channel is gathered the same way, by a look at every tick in which the channel
sounds, and pooled with it where ``n`` channels have been heard so far (column 102 at least ``HEARD_AT_LEAST``)::

    share = context_share * (1 - 1 / max(n, 1))                     a channel alone has no context
    opinion = softmax(((1 - share) * mean_own + share * mean_context) / temperature)

That is what the box says of roles; networks are told ``role_prob``.

Song, at each tick: ``p`` is the softmax of the head, and each belief moves by ``(1 - exp(-0.02 / tau)) * (p -
belief)``, tau 10 s for genre, 2 s for section and scene; all alike at first. The mix network's ``song`` input is genre,
section, scene, and the style one-hot (all zero unless a net was tuned for one). ``role_sum`` is the mean of
``role_prob`` over heard channels (column 102 at least ``HEARD_AT_LEAST``), every role alike where nobody is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import (
    HEARD,
    HEARD_AT_LEAST,
    IS_ACTIVE,
    LEVEL_NOW,
    LEVEL_NOW_SCALE_DB,
    N_ROLES,
    N_SONG_INPUT,
    N_STYLES,
    SONG_HEADS,
    TICK_S,
)

Array = NDArray[np.float64]

EVIDENCE_TAU_S = 20.0
PRIOR_S = 0.5
MAX_GAP_S = 1.0
LEAST_SOUND = 1e-12
MOST_DB = 10.0  # over the usual level: a knock on a microphone says no more
GIVEN_SHARE = 0.95  # of a role that an engineer gave, in what the mix network is told
SONG_TAU_S = {"genre": 10.0, "section": 2.0, "scene": 2.0}


def log_softmax(logits: Array) -> Array:
    """Over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def pooled(own: Array, context: Array, share: Array | float) -> Array:
    """Return the log-linear pool of two opinions before the temperature; ``share`` is the second's."""
    share = np.asarray(share)[..., None, None]
    return (1.0 - share) * own + share * context


def context_shares(context_share: float, x: NDArray[Any]) -> Array:
    """Return the mix network's share in the opinion on roles, for inputs ``(.., n_channels, 104)``."""
    n_heard = np.count_nonzero(x[..., HEARD] >= HEARD_AT_LEAST, axis=-1)
    return context_share * (1.0 - 1.0 / np.maximum(n_heard, 1))


def sound_of(x: NDArray[Any]) -> Array:
    """Return how much sound of its own each channel has in each tick, in seconds at its usual level.

    Parameters
    ----------
    x
        Inputs ``(.., n_channels, 104)``.
    """
    level_db = np.minimum(LEVEL_NOW_SCALE_DB * np.asarray(x[..., LEVEL_NOW], np.float64), MOST_DB)
    return TICK_S * 10.0 ** (level_db / 10.0) * (x[..., IS_ACTIVE] > 0)


class RoleEvidence:
    """What each of some channels probably is."""

    def __init__(self, n_channels: int, *, temperature: float = 1.0, memory_s: float = EVIDENCE_TAU_S) -> None:
        self.temperature, self.memory_s = temperature, memory_s
        self.evidence = np.zeros((n_channels, N_ROLES))
        self.sound_s = np.zeros(n_channels)
        self.active_s = np.zeros(n_channels)

    def add(self, ch: NDArray[np.int64], outputs: Array, active_s: Array, sound_s: Array) -> None:
        """Take in one run of the role network.

        Parameters
        ----------
        ch
            Channels it ran on, each once.
        outputs
            ``(len(ch), 22)``: role logits and the voice activity logit.
        active_s, sound_s
            ``(len(ch),)``: how long they sounded since the last run on them, and how much (``sound_of``).
        """
        outputs = np.asarray(outputs, np.float64)
        own = 1.0 / (1.0 + np.exp(-outputs[:, N_ROLES]))
        self.hear(ch, log_softmax(outputs[:, :N_ROLES]), np.minimum(own * active_s, MAX_GAP_S), own * sound_s)

    def hear(self, ch: NDArray[np.int64], log_prob: Array, active_s: Array, sound_s: Array) -> None:
        """Take in log-probabilities ``(len(ch), 21)`` that stand for so much; what is no number is passed over."""
        is_heard = np.isfinite(log_prob).all(axis=1) & np.isfinite(sound_s) & np.isfinite(active_s)
        ch, log_prob, active_s, sound_s = (values[is_heard] for values in (ch, log_prob, active_s, sound_s))
        keep = np.exp(-active_s / self.memory_s)
        self.evidence[ch] = keep[:, None] * self.evidence[ch] + sound_s[:, None] * log_prob
        self.sound_s[ch] = keep * self.sound_s[ch] + sound_s
        self.active_s[ch] = keep * self.active_s[ch] + active_s

    def mean_log_prob(self) -> Array:
        """``(n_channels, 21)``, before the temperature."""
        trust = self.active_s / (self.active_s + PRIOR_S)
        return self.evidence * (trust / np.maximum(self.sound_s, LEAST_SOUND))[:, None]

    def role_prob(self) -> Array:
        """``(n_channels, 21)``, each row sums to 1."""
        return self.prob_of(self.mean_log_prob())

    def prob_of(self, mean: Array) -> Array:
        """Return the probabilities of mean log-probabilities at this temperature."""
        return np.exp(log_softmax(mean / self.temperature))


class SongEvidence:
    """Genre, section and scene as far as they have shown."""

    def __init__(self) -> None:
        self.beliefs = {name: np.full(SONG_HEADS[name].count, 1.0 / SONG_HEADS[name].count) for name in SONG_TAU_S}

    def add(self, z: Array) -> Array:
        """Take in one output ``(44,)`` of the song network; return the mix network's ``song`` input ``(20,)``."""
        for name, tau_s in SONG_TAU_S.items():
            prob = np.exp(log_softmax(np.asarray(z, np.float64)[SONG_HEADS[name].columns]))
            self.beliefs[name] += (1.0 - np.exp(-TICK_S / tau_s)) * (prob - self.beliefs[name])
        return np.concatenate(
            [self.beliefs["genre"], self.beliefs["section"], self.beliefs["scene"], np.zeros(N_STYLES)]
        )


def song_inputs(z: Array) -> NDArray[np.float32]:
    """Return the ``song`` inputs ``(n_ticks, 20)`` of a whole session with outputs ``z (n_ticks, 44)``."""
    evidence = SongEvidence()
    song = np.zeros((len(z), N_SONG_INPUT), np.float32)
    for tick, row in enumerate(z):
        song[tick] = evidence.add(row)
    return song


def role_sum(role_prob: Array, x: NDArray[np.float32]) -> Array:
    """Mean of ``role_prob (.., n_channels, 21)`` over the heard channels of ``x (.., n_channels, 104)``."""
    heard = (x[..., HEARD] >= HEARD_AT_LEAST).astype(np.float64)
    total = heard.sum(axis=-1)[..., None]
    mean = (role_prob * heard[..., None]).sum(axis=-2) / np.maximum(total, 1.0)
    return np.where(total > 0, mean, 1.0 / N_ROLES)
