"""B5 and B6, the learned baselines: what their published relatives hear and predict, in closed form.

B5 hears one summary of the whole clip for each channel and the mean of all channels' summaries, and sets gain and pan
once (as the differentiable mixing console does). B6 hears leaky averages tick by tick, of the channel and the mean of
all, and sets the gain alone (as AiLive does). Both are ridge regressions: what a network of theirs would add is in the
networks that they are compared with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measures.framing import Array
from ..shards import TICKS_PER_S, Labelled

CLIP_COLUMNS, LEAKY_COLUMNS = slice(40, 104), slice(76, 104)
IS_ACTIVE = 71
CLIP, TICK = "B5 clip, mean context", "B6 leaky, gain only"
RIDGE = 1.0  # on standardised columns, per item


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """A linear map on standardised inputs."""

    mean: Array
    sd: Array
    weights: Array  # the last row is the constant

    def predict(self, inputs: Array) -> Array:
        """Return ``(n, n_targets)``."""
        z = (inputs - self.mean) / self.sd
        return z @ self.weights[:-1] + self.weights[-1]


def fit(inputs: Array, targets: Array) -> Ridge:
    """Return the regression of ``targets (n, k)`` on ``inputs (n, d)``."""
    mean, sd = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    z = np.concatenate([(inputs - mean) / sd, np.ones((len(inputs), 1))], axis=1)
    penalty = RIDGE * np.eye(z.shape[1])
    penalty[-1, -1] = 0.0
    return Ridge(mean=mean, sd=sd, weights=np.linalg.solve(z.T @ z + penalty, z.T @ targets))


def clip_inputs(x: NDArray[np.integer]) -> Array:
    """Return one row a channel: the mean of its inputs while it sounds, and the mean over channels beside it."""
    floats = np.asarray(x, np.float64) / 127.0
    weight = (floats[:, :, IS_ACTIVE] > 0).astype(float)[:, :, None]
    own = (floats[:, :, CLIP_COLUMNS] * weight).sum(axis=0) / np.maximum(weight.sum(axis=0), 1.0)
    return np.concatenate([own, np.broadcast_to(own.mean(axis=0), own.shape)], axis=1)


def tick_inputs(x: NDArray[np.integer], every_ticks: int = TICKS_PER_S) -> Array:
    """Return ``(n, n_channels, 56)``: the leaky columns every second or so, own and mean of all."""
    own = np.asarray(x[every_ticks - 1 :: every_ticks, :, LEAKY_COLUMNS], np.float64) / 127.0
    return np.concatenate([own, np.broadcast_to(own.mean(axis=1, keepdims=True), own.shape)], axis=2)


@dataclass(frozen=True, kw_only=True)
class Students:
    """The fitted baselines, and the mean offset of each role (B2 with offsets from the same data)."""

    clip: Ridge
    tick: Ridge
    role_offset_lu: dict[int, float]

    def offsets_lu(self, session: Labelled) -> dict[str, Array]:
        """Return each baseline's offsets, ``(n_seconds, n_channels)``."""
        n_seconds, n_channels = session.n_ticks // TICKS_PER_S, session.n_channels
        of_roles = np.array([self.role_offset_lu.get(int(role), -6.0) for role in session["role"]])
        return {
            "B1 equal LUFS": np.zeros((n_seconds, n_channels)),
            "B2 role offsets": np.broadcast_to(of_roles, (n_seconds, n_channels)),
            CLIP: np.broadcast_to(self.clip_answer(session["x"])[0], (n_seconds, n_channels)),
            TICK: self.tick_answer(tick_inputs(session["x"])),
        }

    def clip_answer(self, x: NDArray[np.integer]) -> tuple[Array, Array]:
        """Return B5's offsets and positions 0 to 1, each ``(n_channels,)``."""
        told = self.clip.predict(clip_inputs(x))
        return told[:, 0], np.clip(told[:, 1], 0.0, 1.0)

    def tick_answer(self, inputs: Array) -> Array:
        """Return B6's offsets, ``(n, n_channels)``, from what ``tick_inputs`` gives."""
        return self.tick.predict(inputs.reshape(-1, inputs.shape[2])).reshape(inputs.shape[:2])


def students_of(sessions: Iterable[Labelled]) -> Students:
    """Fit all on labelled sessions."""
    clip_x, clip_y, tick_x, tick_y = [], [], [], []
    by_role: dict[int, list[float]] = {}
    for session in sessions:
        n_seconds = session.n_ticks // TICKS_PER_S
        offset = np.asarray(session["offset_lu"][0][:n_seconds], np.float64)
        active = _active_seconds(session)
        heard = active.any(axis=0)
        mean = (offset * active).sum(axis=0) / np.maximum(active.sum(axis=0), 1)
        clip_x.append(clip_inputs(session["x"])[heard])
        clip_y.append(np.stack([mean, session["pan_abs"][0]], axis=1)[heard])
        tick_x.append(tick_inputs(session["x"])[:n_seconds][active])
        tick_y.append(offset[active][:, None])
        for ch in np.flatnonzero(heard):
            by_role.setdefault(int(session["role"][ch]), []).append(float(mean[ch]))
    return Students(
        clip=fit(np.concatenate(clip_x), np.concatenate(clip_y).astype(np.float64)),
        tick=fit(np.concatenate(tick_x), np.concatenate(tick_y)),
        role_offset_lu={role: float(np.mean(values)) for role, values in by_role.items()},
    )


def _active_seconds(session: Labelled) -> NDArray[np.bool_]:
    n_seconds = session.n_ticks // TICKS_PER_S
    active = session["active"][: n_seconds * TICKS_PER_S]
    return np.asarray(active.reshape(n_seconds, TICKS_PER_S, -1).mean(axis=1) > 0.25)
