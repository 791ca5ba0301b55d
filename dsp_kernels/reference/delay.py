"""Twin of ``delay.c``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

QUARTERS = {"quarter": 1.0, "dotted_eighth": 0.75, "eighth": 0.5, "eighth_triplet": 1 / 3, "sixteenth": 0.25}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters, at the contract's defaults."""

    tempo_bpm: float = 120.0
    division: str = "eighth"
    feedback_percent: float = 30.0
    high_cut_hz: float = 5000.0
    is_ping_pong: bool = True
    level_db: float = 0.0


def time_frames(settings: Settings, rate_hz: float) -> int:
    """Return the time between two echoes."""
    return int(60 / settings.tempo_bpm * QUARTERS[settings.division] * rate_hz + 0.5)


def delay(x: NDArray[np.floating], rate_hz: float, settings: Settings) -> NDArray[np.float64]:
    """Return the echoes of the mono ``x``, shape ``(n_frames, 2)``, all parameters at rest from the beginning."""
    n = time_frames(settings, rate_hz)
    g = np.tan(np.pi * settings.high_cut_hz / rate_hz)
    b, a = np.array([g, g]), np.array([1 + g, g - 1])
    padded = np.concatenate([np.asarray(x, np.float64), np.zeros(-len(x) % n)])
    echo, memory, echoes = np.zeros((n, 2)), np.zeros((1, 2)), []
    for note in padded.reshape(-1, n):  # one note after the other: each hears only the one before
        echoes.append(echo)
        dark, memory = lfilter(b, a, echo, axis=0, zi=memory)
        if settings.is_ping_pong:
            dark, into = dark[:, ::-1], np.array([1.0, 0.0])
        else:
            into = np.array([1.0, 1.0])
        echo = note[:, None] * into + settings.feedback_percent / 100 * dark
    return np.concatenate(echoes)[: len(x)] * 10 ** (settings.level_db / 20)
