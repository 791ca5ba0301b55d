"""What has happened to a loop so far, and between two looks at it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Totals since the start; the difference of two is what happened between, sums pool rounds.

    ``card_frames`` comes from the card's own clock. The histograms have the buckets of ``eh_segment_count_us``.
    """

    card_frames: int
    periods: int
    xruns: int
    card_losses: int
    audio_cpu_ns: int
    wake_us: NDArray[np.int64]
    service_us: NDArray[np.int64]

    def __sub__(self, other: Self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})

    def __add__(self, other: Self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def bucket_of_us(us: int) -> int:
    """Return the bucket that ``eh_segment_count_us`` counts ``us`` in: four an octave."""
    octave = max(us, 1).bit_length() - 1
    quarter = (us >> (octave - 2) if octave >= 2 else us << (2 - octave)) & 3
    return min(4 * octave + quarter, 63) if us > 0 else 0
