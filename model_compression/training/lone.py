"""Clips as sessions of one channel, for the mix network: who hears nobody else has to go by what it is told.

Without them it never meets a channel alone, and what it then says of roles is worth less than what it was told.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..nets import mix
from ..nets.evidence import log_softmax
from ..nets.layout import N_OUTPUT, PARAMETERS, TICK_S
from .context import EVIDENCE_STRIDE_TICKS
from .files import read_arrays
from .sessions import INPUT_SCALE, Clip, Session
from .targets import SURE_AFTER_S

LONE_SHARE = 0.15  # of the mix network's rows
STRANGER_SHARE = 0.6  # of them told what was made of a clip of the validation split
FILE = "clip_role_log_prob.npz"


class LoneClips:
    """The clips of one split, and what the role network makes of each."""

    def __init__(self, clips: list[Clip], folder: Path, *, temperature: float) -> None:
        arrays = read_arrays(folder / FILE)
        self._grids = np.split(arrays["grid"], arrays["ends"][:-1])
        self._clips, self._temperature = clips, temperature
        self._by_role: dict[int, list[int]] = {}
        for number, clip in enumerate(clips):
            if clip.active.any():
                self._by_role.setdefault(clip.role, []).append(number)

    def __len__(self) -> int:
        return sum(len(numbers) for numbers in self._by_role.values())

    def each(self) -> Iterator[tuple[Session, NDArray[np.float32]]]:
        """Yield every clip that sounds, with ``role_prob (n_ticks, 1, 21)``."""
        for numbers in self._by_role.values():
            for number in numbers:
                session = as_session(self._clips[number])
                yield session, self._role_prob(number, np.arange(session.n_ticks))

    def row(self, strangers: LoneClips, n_ticks: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Return some ticks of a clip as ``mix_batches`` has those of a session; the song is another's.

        Only role and activity are known of it: nobody says how loud one channel is to be, nor does a teacher.
        """
        role = int(rng.choice(list(self._by_role)))
        number = self._drawn(role, rng)
        clip = self._clips[number]
        first = int(rng.integers(max(1, len(clip.active) - n_ticks + 1)))
        ticks = np.minimum(np.arange(first, first + n_ticks), len(clip.active) - 1)
        role_prob = self._role_prob(number, ticks)
        if rng.random() < STRANGER_SHARE and role in strangers._by_role:
            role_prob = strangers._role_prob(strangers._drawn(role, rng), ticks)
        sounded_s = np.cumsum(clip.active)[ticks] * TICK_S
        nothing = np.zeros((n_ticks, 1), np.float32)
        return {
            "x": clip.x[ticks][:, None] * np.float32(INPUT_SCALE),
            "role_prob": role_prob,
            "parameters": np.zeros((n_ticks, 1, PARAMETERS.stop), np.float32),
            "weight": nothing,
            "role_weight": np.clip(sounded_s / SURE_AFTER_S, 0.0, 1.0).astype(np.float32)[:, None],
            "importance": nothing,
            "activity": clip.active[ticks].astype(np.float32)[:, None],
            "bleed": nothing,
            "role": np.full((n_ticks, 1), role, np.int32),
            "warm": (np.arange(n_ticks) >= mix.N_WARM_TICKS).astype(np.float32),
            "is_lone": np.ones((), np.float32),
            "teacher": np.zeros((n_ticks, 1, N_OUTPUT["mix"]), np.float32),
        }

    def _drawn(self, role: int, rng: np.random.Generator) -> int:
        numbers = self._by_role[role]
        return numbers[int(rng.integers(len(numbers)))]

    def _role_prob(self, number: int, ticks: NDArray[np.int64]) -> NDArray[np.float32]:
        grid = self._grids[number]
        chosen = grid[np.minimum(ticks // EVIDENCE_STRIDE_TICKS, len(grid) - 1)].astype(np.float64)
        return np.exp(log_softmax(chosen / self._temperature)).astype(np.float32)[:, None]


def as_session(clip: Clip) -> Session:
    """Return a clip as what networks are asked about."""
    alone = SimpleNamespace(
        x=clip.x[:, None], n_ticks=len(clip.x), n_channels=1, role=np.array([clip.role]), active=clip.active[:, None]
    )
    return cast(Session, alone)  # all that is asked of a session here
