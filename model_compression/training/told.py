"""What the mix network is told of roles while it learns: names that an engineer gave, and evidence about strangers.

The role network knows the instruments of the training split, so its evidence about them is far surer than about any
that the box will meet. The evidence on a channel of the validation split with the same role is what it really says; it
takes the place of a channel's own now and then. Some are misheard, as unknown instruments are: they are told as a role
that sounds alike, and only who else plays says the truth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES

from ..nets.evidence import GIVEN_SHARE, log_softmax
from ..nets.layout import N_ROLES
from .context import EVIDENCE_STRIDE_TICKS, Context
from .sessions import Sessions

Array = NDArray[np.float32]

NAMED_SESSIONS, NAMED_CHANNELS = 0.4, 0.9
STRANGER_SHARE = 0.6
MISHEARD_SHARE = 0.1  # of the channels
ALIKE = (  # taken for one another by sound alone
    ("speech", "vocal_lead", "vocal_backing"),
    ("vocal_backing", "synth", "strings", "brass", "woodwind"),
    ("kick", "snare", "hihat", "tom", "cymbal", "drums", "percussion"),
    ("bass", "elec_guitar", "ac_guitar", "piano", "synth"),
    ("playback", "ambience", "other", "synth"),
)


class Strangers:
    """Evidence on channels that the role network never learned from, by what they are."""

    def __init__(self, sessions: Sessions, context: Context) -> None:
        self._temperature = context.temperature
        self._grids: dict[int, list[NDArray[np.float16]]] = {}
        for number, head in enumerate(sessions.heads):
            grid = context.of(number)["role_log_prob"]
            for ch in np.flatnonzero(head.active.any(axis=0)):
                self._grids.setdefault(int(head.role[ch]), []).append(grid[:, ch])

    def misheard(self, role: int, rng: np.random.Generator) -> int:
        """Return a role that sounds like ``role`` and that one of them has; ``role`` itself where there is none."""
        others = {ROLES.index(name) for group in ALIKE if ROLES[role] in group for name in group} - {role}
        known = sorted(others & self._grids.keys())
        return int(rng.choice(known)) if known else role

    def role_prob(self, role: int, ticks: NDArray[np.int64], rng: np.random.Generator) -> Array | None:
        """Return what was made of such a channel by then, ``(n, 21)``; None where there is none."""
        grids = self._grids.get(role)
        if not grids:
            return None
        grid = grids[int(rng.integers(len(grids)))]
        chosen = grid[np.minimum(ticks // EVIDENCE_STRIDE_TICKS, len(grid) - 1)].astype(np.float64)
        return np.exp(log_softmax(chosen / self._temperature)).astype(np.float32)


def as_strangers(
    role_prob: Array, role: NDArray[np.int16], ticks: NDArray[np.int64], strangers: Strangers, rng: np.random.Generator
) -> Array:
    """Return ``role_prob (n, n_channels, 21)`` with some channels' evidence exchanged for a stranger's."""
    out = role_prob.copy()
    drawn = rng.random(len(role))
    for ch in np.flatnonzero(drawn < STRANGER_SHARE):
        said = strangers.role_prob(int(role[ch]), ticks, rng)
        if said is not None and drawn[ch] < MISHEARD_SHARE:
            said = strangers.role_prob(strangers.misheard(int(role[ch]), rng), ticks, rng)
        if said is not None:
            out[:, ch] = said
    return out


def named(role_prob: Array, role: NDArray[np.int16], is_named: NDArray[np.bool_]) -> Array:
    """Return ``role_prob (n, n_channels, 21)`` as the box has it once an engineer has named the channels."""
    given = np.eye(N_ROLES, dtype=np.float32)[role]
    share = GIVEN_SHARE * is_named[None, :, None]
    return ((1.0 - share) * role_prob + share * given).astype(np.float32)
