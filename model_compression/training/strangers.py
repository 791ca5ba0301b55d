"""What the role network says of strangers: on the sounds that it learned from it is far surer than on any other.

So where the recipe has a ``role.stranger``, networks of its size are trained without a part of the instruments, kits
and voices each (``deal``), and asked about just those. Song and mix students learn from what these say, which is what
the box will hear of people it never met; and how far the box may believe is measured on it. A choir goes by the name of
one of its singers and a kit by that of most of its pieces, so a few strangers are half known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .asking import role_outputs
from .sessions import Session


def outputs_on_strangers(
    nets: Sequence[Callable[[Any], Any]], session: Session, parts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return ``(n_runs, n_channels, 22)``: of each channel, what the network says that was kept from its part."""
    asked = [(np.flatnonzero(parts == part), net) for part, net in enumerate(nets)]
    said = [(ch, role_outputs(net, session, ch)) for ch, net in asked if ch.size]
    first = said[0][1]
    out = np.zeros((len(first), session.n_channels, first.shape[2]), np.float32)
    for ch, outputs in said:
        out[:, ch] = outputs
    return out
