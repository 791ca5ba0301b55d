"""Twin of ``align.c``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Move:
    """A delay set before frame ``at_frame``, reached by a crossfade of ``n_fade`` frames."""

    at_frame: int
    delay_frames: int
    n_fade: int


def delayed(x: NDArray[np.floating], delay_frames: int) -> NDArray[np.float64]:
    """Return one lane ``x`` moved back in time, silence before it."""
    return np.concatenate([np.zeros(delay_frames), np.asarray(x, np.float64)])[: len(x)]


def run(x: NDArray[np.floating], moves: Sequence[Move]) -> NDArray[np.float64]:
    """Return one lane delayed as ``moves`` say; a move in a crossfade waits for its end."""
    y = delayed(x, 0)
    free_at = 0
    for move in moves:
        start = max(move.at_frame, free_at)
        share = np.clip((np.arange(len(x)) - start + 1) / move.n_fade, 0.0, 1.0)
        y = y * (1 - share) + delayed(x, move.delay_frames) * share
        free_at = start + move.n_fade
    return y
