"""What the role network says of strangers: on the sounds that it learned from it is far surer than on any other.

So networks of the same size are trained without a part of the instruments, kits and voices each, and asked about just
those. Song and mix students learn from what these say, which is what the box will hear of people it never met.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..nets.role import RoleNet
from .asking import role_outputs
from .sessions import Session, part_of


def outputs_on_strangers(nets: list[RoleNet], session: Session) -> NDArray[np.float32]:
    """Return ``(n_runs, n_channels, 22)``: what the network that never met a channel's family says of it."""
    part = np.maximum(part_of(session.family), 0)
    asked = [(np.flatnonzero(part == k), net) for k, net in enumerate(nets)]
    said = [(ch, role_outputs(net, session, ch)) for ch, net in asked if ch.size]
    first = said[0][1]
    out = np.zeros((len(first), session.n_channels, first.shape[2]), np.float32)
    for ch, outputs in said:
        out[:, ch] = outputs
    return out
