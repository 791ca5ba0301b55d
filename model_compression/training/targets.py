"""Labels as the networks' outputs see them: parameters over their scale, weights where nothing can be known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..nets.layout import MIX_HEADS, TICK_S
from .sessions import Session

Array = NDArray[np.float32]

TICKS_A_SECOND = round(1 / TICK_S)
SURE_AFTER_S = 2.0  # of its own sound, from which on a channel's labels count in full
BEAT_NEIGHBOUR = 0.5  # what the ticks beside a beat should say
BOUNDARY_TICKS = 25  # on each side of a boundary that count as it


def mix_targets(session: Session, ticks: NDArray[np.int64], channels: NDArray[np.int64]) -> dict[str, Array]:
    """Targets at some ticks of some channels.

    Returns
    -------
    ``parameters (n, C, 15)``, ``weight``, ``importance``, ``activity``, ``bleed`` ``(n, C)`` in [0, 1],
    ``role (n, C)`` int32.
    """
    seconds = np.minimum(ticks // TICKS_A_SECOND, session.offset_lu.shape[1] - 1)
    n, c = len(ticks), len(channels)
    groups = {
        "offset_lu": _by_second(session.offset_lu, seconds, channels),
        "pan_abs": np.broadcast_to(session.pan_abs[:, channels].T, (n, c, 3)),
        "tone_db": np.broadcast_to(session.tone_db[channels], (n, c, 4)),
        "compressor_threshold_db": np.broadcast_to(session.compressor[channels, :1], (n, c, 1)),
        "compressor_log2_ratio": np.broadcast_to(np.log2(np.maximum(session.compressor[channels, 1:], 1.0)), (n, c, 1)),
        "send_db": _by_second(session.send_db, seconds, channels),
    }
    scaled = [(value - MIX_HEADS[name].offset) / MIX_HEADS[name].scale for name, value in groups.items()]
    sounded_s = np.cumsum(session.active[:, channels], axis=0)[ticks] * TICK_S
    return {
        "parameters": np.clip(np.concatenate(scaled, axis=2), -1.0, 1.0).astype(np.float32),
        "weight": np.clip(sounded_s / SURE_AFTER_S, 0.0, 1.0).astype(np.float32),
        "importance": (session.importance[np.ix_(ticks, channels)] / 255.0).astype(np.float32),
        "activity": session.active[np.ix_(ticks, channels)].astype(np.float32),
        "bleed": session.is_bleed[np.ix_(ticks, channels)].astype(np.float32),
        "role": np.broadcast_to(session.role[channels].astype(np.int32), (n, c)),
    }


def song_targets(session: Session) -> dict[str, NDArray[np.float32] | NDArray[np.int32]]:
    """Targets at each tick: ``beat downbeat boundary`` in [0, 1]; ``section genre scene key`` int32, -1 unknown."""
    beat = (session.beat >= 1).astype(np.float32)
    downbeat = (session.beat == 2).astype(np.float32)
    constant = {name: np.full(session.n_ticks, int(value), np.int32) for name, value in _constants(session).items()}
    return {
        "beat": _widened(beat, 1, BEAT_NEIGHBOUR),
        "downbeat": _widened(downbeat, 1, BEAT_NEIGHBOUR),
        "boundary": _widened(session.boundary.astype(np.float32), BOUNDARY_TICKS, 1.0),
        "section": session.section.astype(np.int32),
        **constant,
    }


def _constants(session: Session) -> dict[str, int]:
    return {"genre": int(session.genre), "scene": int(session.scene_kind), "key": int(session.key)}


def _by_second(values: NDArray[np.float16], seconds: NDArray[np.int64], channels: NDArray[np.int64]) -> Array:
    """``(3, n_seconds, C)`` to ``(n, c, 3)``."""
    return values[:, seconds][:, :, channels].transpose(1, 2, 0).astype(np.float32)


def _widened(events: Array, n_ticks: int, beside: float) -> Array:
    wide = events.copy()
    for shift in range(1, n_ticks + 1):
        wide[shift:] = np.maximum(wide[shift:], beside * events[:-shift])
        wide[:-shift] = np.maximum(wide[:-shift], beside * events[shift:])
    return wide
