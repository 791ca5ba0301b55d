"""What was measured of one model in one precision over generated sessions, session by session."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES

from . import data_scores
from .measures import classes
from .measures.framing import Array
from .model_child import Inputs, answers
from .model_files import ModelFiles
from .shards import TICKS_PER_S, Labelled
from .ways import PLAIN, Way


@dataclass(kw_only=True)
class Gathered:
    """Lists run by session; see ``data_scores`` for what is in them."""

    n_channels: list[int] = field(default_factory=list)
    mae: dict[str, list[float]] = field(default_factory=dict)
    squares: list[tuple[float, int]] = field(default_factory=list)  # of the offset's errors: sum and count
    coverage: dict[str, list[float]] = field(default_factory=dict)
    errors_lu: list[Array] = field(default_factory=list)
    bleed_squares: list[tuple[float, int, float, int]] = field(default_factory=list)  # near, count, none, count
    bleed_roles: list[tuple[int, int, int, int]] = field(default_factory=list)  # right, of, near; then none
    detections: dict[str, list[tuple[NDArray[np.bool_], Array]]] = field(default_factory=dict)
    role_rows: list[tuple[NDArray[np.int64], NDArray[np.int64], Array]] = field(default_factory=list)
    song: dict[str, list[float]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Sessions."""
        return len(self.n_channels)

    @property
    def role_counts(self) -> NDArray[np.int64]:
        """Confusion of roles, ``(n_sessions, 21, 21)``."""
        return np.array([classes.confusion(truth, guess, len(ROLES)) for truth, guess, _ in self.role_rows])

    def add(
        self, session: Labelled, answer: Inputs, mix_heads: Any, song_heads: Any,
        sigma_scale: Sequence[float] = (1.0,) * 5,
    ) -> None:  # fmt: skip
        """Measure one session's answer."""
        mine = data_scores.decoded(answer["y"], mix_heads, sigma_scale)
        truth, mask = data_scores.truth_of(session), data_scores.judged(session)
        self.n_channels.append(session.n_channels)
        errors = data_scores.parameter_errors(mine, truth, mask)
        for name, values in errors.items():
            self.mae.setdefault(name, []).append(float(np.abs(values).mean()) if len(values) else np.nan)
        self.squares.append((float(np.sum(errors["offset_lu"] ** 2)), len(errors["offset_lu"])))
        self.errors_lu.append(errors["offset_lu"])
        if mask.any():
            for name, share in data_scores.covered(mine, truth, mask).items():
                self.coverage.setdefault(name, []).append(share)
        said = data_scores.roles(session, answer)
        self.role_rows.append(said)
        self._add_bleed(session, (mine.offset_lu - truth.offset_lu)[..., data_scores.NATURAL], mask, said[0] == said[1])
        for name, pair in data_scores.detections(session, answer, mix_heads).items():
            self.detections.setdefault(name, []).append(pair)
        for name, value in data_scores.song(session, answer, song_heads).items():
            self.song.setdefault(name, []).append(value)

    def _add_bleed(
        self, session: Labelled, gap_lu: Array, mask: NDArray[np.bool_], is_right: NDArray[np.bool_]
    ) -> None:
        groups = data_scores.bleed_groups(session)
        if not groups:
            return
        heard = session["active"].sum(axis=0) >= data_scores.HEARD_S * TICKS_PER_S
        squares, roles = [], []
        for group in ("near", "none"):
            members = groups[group]
            chosen = gap_lu[mask & members[None]]
            squares += [float(np.sum(chosen**2)), len(chosen)]
            right = is_right[members[heard]]
            roles += [int(right.sum()), len(right)]
        self.bleed_squares.append((squares[0], int(squares[1]), squares[2], int(squares[3])))
        self.bleed_roles.append((roles[0], roles[1], roles[2], roles[3]))


def gather(
    path: Path, model: ModelFiles, precision: str, sessions: Sequence[Labelled], *, way: Way = PLAIN, jobs: int = 1
) -> Gathered:
    """Put sessions to a model in some way, and measure its answers."""
    found, counts = Gathered(), deque[int]()

    def questions() -> Iterator[Inputs]:
        for session in sessions:
            asked = way.asked(session)
            counts.append(len(asked))
            yield from asked

    heads, scale = (model.heads("mix"), model.heads("song")), model.sigma_scale
    told = answers(path, precision, questions(), jobs=jobs)
    for session in sessions:
        first = next(told)
        found.add(session, way.told([first, *(next(told) for _ in range(counts.popleft() - 1))]), *heads, scale)
    return found
