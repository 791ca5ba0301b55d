"""The beat tracker for Python: activations in, tempo, phase and beats out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .native import Kernel, Library, installed


@dataclass(frozen=True, kw_only=True)
class Beat:
    """What is known in a tick; ``phase`` runs from 0 at a beat to 1, ``confidence`` is 0 in silence."""

    tempo_bpm: float
    phase: float
    confidence: float
    is_beat: bool
    is_downbeat: bool


class BeatTracker:
    """The kernel ``eh_beat_tracker``, fed once a tick of 20 ms."""

    def __init__(self, library: Library) -> None:
        self._kernel = Kernel(library, "beat_tracker")

    def process(self, beat: float, downbeat: float) -> Beat:
        """Take the activations of a tick, 0 to 1."""
        b = self._kernel.call("process", beat, downbeat)
        return Beat(
            tempo_bpm=b.tempo_bpm,
            phase=b.phase,
            confidence=b.confidence,
            is_beat=bool(b.is_beat),
            is_downbeat=bool(b.is_downbeat),
        )

    def reset(self) -> None:
        """Forget the music."""
        self._kernel.call("reset")


def track(beat: NDArray[np.floating], downbeat: NDArray[np.floating] | None = None) -> list[Beat]:
    """Return what is known in each tick of activations of shape ``(n_ticks,)``; causal, as on the box."""
    tracker = BeatTracker(installed())
    down = np.zeros(len(beat)) if downbeat is None else downbeat
    return [tracker.process(float(b), float(d)) for b, d in zip(beat, down, strict=True)]
