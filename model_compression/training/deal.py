"""Who is kept from whom: families dealt to parts, each role as evenly as can be.

What one family makes most of, such as the crowds and the playbacks, no network could learn without it; nobody's own
sound, such as a room's, has no family. Their channels and clips are dealt by the shard that they lie in: the takes of
one performance lie in one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..nets.layout import N_ROLES
from .sessions import Clip, Head

N_PARTS = 3
MOST_OF_A_ROLE = 0.5


class Deal:
    """Which part each channel and each clip belongs to."""

    def __init__(self, heads: Sequence[Head], clips: Sequence[Clip]) -> None:
        counts: dict[int, NDArray[np.float64]] = {}
        for (family, role), count in _played(heads, clips).items():
            counts.setdefault(family, np.zeros(N_ROLES))[role] += count
        total = np.maximum(sum(counts.values(), np.zeros(N_ROLES)), 1.0)
        shares = {family: count / total for family, count in counts.items()}
        self.part: dict[int, int] = {}
        load = np.zeros((N_PARTS, N_ROLES))
        for family in sorted(shares, key=lambda f: (-shares[f].max(), f)):
            share = shares[family]
            if family != 0 and share.max() <= MOST_OF_A_ROLE:
                self.part[family] = int(np.argmin(load @ share))
                load[self.part[family]] += share

    def of_channels(self, head: Head) -> NDArray[np.int64]:
        """Return the part of each channel of a session, of this split or of another."""
        return np.array([self.part.get(int(family), head.shard % N_PARTS) for family in head.family], np.int64)

    def of_clip(self, clip: Clip) -> int:
        """Return the part of a clip."""
        return self.part.get(clip.family, clip.shard % N_PARTS)


def _played(heads: Sequence[Head], clips: Sequence[Clip]) -> Counter[tuple[int, int]]:
    """Channels and clips that sound, by family and role."""
    played = Counter((clip.family, clip.role) for clip in clips if clip.active.any())
    for head in heads:
        sounding = head.active.any(axis=0)
        played.update(zip(head.family[sounding].tolist(), head.role[sounding].tolist(), strict=True))
    return played
