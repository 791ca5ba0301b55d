"""From what a network says now to what is believed: the sums that the box keeps between networks, float64 NumPy.

Role, for each channel, at each run of the role network on it, ``dt`` seconds after its last run (at most
``MAX_GAP_S``)::

    a = dt * (x[71] + 1) / 2 * sigmoid(voice_activity_logit)      seconds in which the channel itself sounded
    k = exp(-a / 20)
    evidence = k * evidence + a * log_softmax(role_logits)        (21), zero at first
    seconds  = k * seconds  + a                                   zero at first
    role_prob = softmax(evidence / (seconds + 0.5) / temperature)

so a channel never heard has every role alike, silence changes nothing, and after 20 s of sound old evidence has
faded to
1 / e. ``temperature`` comes from the run's ``calibration.toml``. Between runs ``role_prob`` holds.

What the mix network makes of each channel is gathered the same way, by a look at every tick in which the channel
sounds, and
pooled with it where ``n`` channels have been heard so far (column 102 at least ``HEARD_AT_LEAST``)::

    share = context_share * (1 - 1 / max(n, 1))                   a channel alone has no context
    mean = evidence / (seconds + 0.5)                             of each
    opinion = softmax(((1 - share) * mean_own + share * mean_context) / temperature)

That is what the box says of roles; networks are told ``role_prob``.

Song, at each tick: ``p`` is the softmax of the head, and each belief moves by ``(1 - exp(-0.02 / tau)) * (p -
belief)``,
tau 10 s for genre, 2 s for section and scene; all alike at first. The mix network's ``song`` input is genre, section,
scene, and the style one-hot (all zero unless a net was tuned for one). ``role_sum`` is the mean of ``role_prob``
over heard
channels (column 102 at least ``HEARD_AT_LEAST``), every role alike where nobody is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import HEARD, HEARD_AT_LEAST, IS_ACTIVE, N_ROLES, N_SONG_INPUT, N_STYLES, SONG_HEADS, TICK_S

Array = NDArray[np.float64]

EVIDENCE_TAU_S = 20.0
PRIOR_S = 0.5
MAX_GAP_S = 1.0
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


class RoleEvidence:
    """What each of some channels probably is."""

    def __init__(self, n_channels: int, *, temperature: float = 1.0) -> None:
        self.temperature = temperature
        self.evidence = np.zeros((n_channels, N_ROLES))
        self.seconds = np.zeros(n_channels)

    def add(self, ch: NDArray[np.int64], outputs: Array, activity: Array, dt_s: float) -> None:
        """Take in one run of the role network.

        Parameters
        ----------
        ch
            Channels it ran on, each once.
        outputs
            ``(len(ch), 22)``: role logits and the voice activity logit.
        activity
            ``(len(ch),)``: column 71 of the newest tick, -1 or 1.
        dt_s
            Since the last run on these channels.
        """
        outputs = np.asarray(outputs, np.float64)
        sounding = (np.asarray(activity, np.float64) + 1.0) / 2.0 / (1.0 + np.exp(-outputs[:, N_ROLES]))
        a = min(dt_s, MAX_GAP_S) * sounding
        keep = np.exp(-a / EVIDENCE_TAU_S)
        self.evidence[ch] = keep[:, None] * self.evidence[ch] + a[:, None] * log_softmax(outputs[:, :N_ROLES])
        self.seconds[ch] = keep * self.seconds[ch] + a

    def mean_log_prob(self) -> Array:
        """``(n_channels, 21)``, before the temperature."""
        return self.evidence / (self.seconds + PRIOR_S)[:, None]

    def role_prob(self) -> Array:
        """``(n_channels, 21)``, each row sums to 1."""
        return np.exp(log_softmax(self.mean_log_prob() / self.temperature))


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


def activity_column(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Column 71, whether a channel sounds: -1 or 1."""
    return x[..., IS_ACTIVE]
