"""A recorded session as the arrays of a shard: what the model is shown, and the truth beside it."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import GENRES, KEYS, SCENE_KINDS, SECTIONS
from dsp_kernels.offline_features import OfflineFeatures, extract

from .faults import DIFFICULTIES
from .performance import SAMPLE_RATE_HZ
from .recording import NONE_DB, RecordedSession
from .targets import TICKS_PER_S, role_indices, section_words, targets

Arrays = dict[str, NDArray[Any]]


def features_of(session: RecordedSession) -> OfflineFeatures:
    """Return what the box would show a model of ``session``."""
    return extract(
        np.concatenate(session.channels, axis=1), SAMPLE_RATE_HZ, [mic.is_stereo for mic in session.microphones]
    )


def session_arrays(rng: np.random.Generator, session: RecordedSession) -> Arrays:
    """Return the arrays of one session under the names of the design, without the prefix ``s{k}_``."""
    features = features_of(session)
    performance, n_ticks = session.performance, session.n_ticks
    answer = targets(rng, session)
    words = section_words(performance, n_ticks, 1.0 / TICKS_PER_S)
    begins = [begin_s for begin_s, _ in performance.sections if begin_s > 0.5 / TICKS_PER_S]
    beat = np.zeros(n_ticks, np.uint8)
    beat[_ticks(performance.beats_s, n_ticks)] = 1
    beat[_ticks(performance.downbeats_s, n_ticks)] = 2
    boundary = np.zeros(n_ticks, bool)
    boundary[_ticks(np.array(begins), n_ticks)] = True
    return {
        "x": as_int8(features.x),
        "m": as_int8(features.m),
        "role": role_indices(session),
        "family": families(session),
        "active": session.is_active,
        "importance": np.rint(255.0 * answer.importance).astype(np.uint8),
        "offset_lu": answer.offset_lu.astype(np.float16),
        "pan_abs": answer.pan_abs.astype(np.float32),
        "tone_db": answer.tone_db.astype(np.float32),
        "compressor": answer.compressor.astype(np.float32),
        "send_db": answer.send_db.astype(np.float16),
        "sigma": answer.sigma.astype(np.float32),
        "genre": np.int16(-1 if performance.genre is None else GENRES.index(performance.genre)),
        "scene_kind": np.int16(SCENE_KINDS.index(performance.scene_kind)),
        "section": np.array([-1 if word is None else SECTIONS.index(word) for word in words], np.int8),
        "boundary": boundary,
        "beat": beat,
        "key": np.int16(-1 if performance.key is None else KEYS.index(performance.key)),
        "tempo_bpm": np.float32(performance.tempo_bpm or 0.0),
        "bleed_db": np.clip(session.bleed_db, NONE_DB, 100.0).astype(np.float16),
        "is_bleed": session.is_bleed,
        "gain_fault_db": session.gain_fault_db.astype(np.float32),
        "eq_fault_db": session.eq_fault_db.astype(np.float32),
        "difficulty": np.int16(DIFFICULTIES.index(session.difficulty)),
    }


def clip_arrays(session: RecordedSession, seconds: list[float]) -> list[Arrays]:
    """Return ``x``, ``role``, ``family`` and ``active`` of every channel with a source; each ends when its clip does.

    Parameters
    ----------
    seconds
        Length of the clip of each stem.
    """
    x, roles, of = as_int8(features_of(session).x), role_indices(session), families(session)
    clips = []
    for ch, mic in enumerate(session.microphones):
        if mic.stem is not None:
            n_ticks = min(len(x), int(seconds[mic.stem] * TICKS_PER_S))
            active = session.is_active[:n_ticks, ch]
            clips.append({"x": x[:n_ticks, ch, :], "role": roles[ch], "family": of[ch], "active": active})
    return clips


def families(session: RecordedSession) -> NDArray[np.uint32]:
    """Return a number for the instrument, kit or voice of each channel, the same wherever it plays; 0 for none."""
    names = ["" if mic.stem is None else session.stems[mic.stem].family for mic in session.microphones]
    return np.array([zlib.crc32(name.encode()) for name in names], np.uint32)


def as_int8(values: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return values of [-1, 1] in steps of 1/127."""
    return np.rint(127.0 * np.clip(values, -1.0, 1.0)).astype(np.int8)


def _ticks(instants_s: NDArray[np.float64], n_ticks: int) -> NDArray[np.int64]:
    ticks = np.floor(np.asarray(instants_s, float) * TICKS_PER_S).astype(np.int64)
    return ticks[(ticks >= 0) & (ticks < n_ticks)]
