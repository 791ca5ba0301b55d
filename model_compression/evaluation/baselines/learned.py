"""B5 and B6 as mixes of audio: what the closed-form students say about a session, as settings of the console."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.offline_features import extract

from ..console import Setting
from ..sessions import Session
from .levels import equal_loudness
from .students import Students, tick_inputs

SLOW_LOUDNESS, HEARD, HEARD_AT_LEAST = 98, 102, 0.06
LOUDNESS_SPAN_LU, LOUDNESS_MIDDLE_LUFS = 40.0, -30.0  # of the slow loudness column: contract, [[model_input]]
TRACK_TICKS = 2  # 40 ms, the nearest to 50 that is whole ticks
TICK_S = 0.02
GAIN_LIMIT_DB = 24.0
COMMON_LUFS = -30.0


def inputs_of(session: Session) -> NDArray[np.int8]:
    """Return the model inputs of a session, as data sets hold them, ``(n_ticks, n_channels, 104)``."""
    is_stereo = [stem.shape[1] == 2 for stem in session.stems]
    features = extract(np.concatenate(session.stems, axis=1), session.sample_rate_hz, is_stereo)
    return np.rint(127.0 * np.clip(features.x, -1.0, 1.0)).astype(np.int8)


def clip_settings(session: Session, students: Students, x: NDArray[np.int8]) -> list[Setting]:
    """B5: one gain and one pan for the whole clip; sides in turn."""
    offsets, positions = students.clip_answer(x)
    sides = np.where(np.cumsum(positions > 0.05) % 2 == 1, -1.0, 1.0)
    return [
        Setting(gain_db=level.gain_db, pan=float(side * position) if position > 0.05 else 0.0)
        for level, side, position in zip(equal_loudness(session, offsets), sides, positions, strict=True)
    ]


def tick_settings(students: Students, x: NDArray[np.int8]) -> list[Setting]:
    """B6: a gain every 40 ms from what was heard until then; unity before a channel was heard."""
    own = np.asarray(x[TRACK_TICKS - 1 :: TRACK_TICKS], np.float64) / 127.0
    loudness_lufs = own[:, :, SLOW_LOUDNESS] * LOUDNESS_SPAN_LU + LOUDNESS_MIDDLE_LUFS
    wish = COMMON_LUFS + students.tick_answer(tick_inputs(x, TRACK_TICKS)) - loudness_lufs
    gains_db = np.where(own[:, :, HEARD] > HEARD_AT_LEAST, np.clip(wish, -GAIN_LIMIT_DB, GAIN_LIMIT_DB), 0.0)
    return [Setting(gain_track_db=track, track_tick_s=TRACK_TICKS * TICK_S) for track in gains_db.T]
