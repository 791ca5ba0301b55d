"""What musicians or talkers did, before any microphone: clean stems with the truth about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 48000


@dataclass(frozen=True, kw_only=True)
class Stem:
    """One source, dry and clean.

    Attributes
    ----------
    audio
        ``(n_frames, 1 or 2)`` float32; all stems of a performance are equally long and aligned. The level is arbitrary.
    role
        A word of ``ROLES``.
    family
        Sounding body: kit, instrument patch or voice. Families of the test split occur in no other.
    lead_spans_s
        When it carries the tune or the talk: ``((begin_s, end_s), ...)``.
    """

    audio: NDArray[np.float32]
    role: str
    family: str
    lead_spans_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Stems that belong together.

    Attributes
    ----------
    genre
        A word of ``GENRES``, or None for talk alone.
    scene_kind
        A word of ``SCENE_KINDS``.
    beats_s, downbeats_s
        Instants of the beats; downbeats are among them. Empty for talk.
    sections
        ``(begin_s, word of SECTIONS)`` in order; empty for talk.
    key
        A word of ``KEYS``, or None.
    ingredients
        Names of what sounded, as the licence list of the data set knows them.
    """

    stems: tuple[Stem, ...]
    scene_kind: str
    genre: str | None = None
    tempo_bpm: float | None = None
    beats_s: NDArray[np.float64]
    downbeats_s: NDArray[np.float64]
    sections: tuple[tuple[float, str], ...] = ()
    key: str | None = None
    ingredients: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of every stem."""
        return len(self.stems[0].audio) / SAMPLE_RATE_HZ
