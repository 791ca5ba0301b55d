"""A session of somebody else's data set as the arrays of a shard.

What a data set does not say is as the shards mark it: genre, section and key -1, no beats, no bleed. ``weight`` is new
beside what generated sessions have: how far each label may be trusted. One mix is one style: all three carry it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import GENRES, ROLES, SCENE_KINDS, STYLES
from dsp_kernels.offline_features import extract

from ..data.recording import NONE_DB, WORKING_LUFS
from ..data.session_arrays import Arrays, as_int8
from ..data.stem_truth import TICK_FRAMES, StemTruth, gated_lufs, stem_truth
from ..data.targets import TICKS_PER_S, tables
from ..loaders.audio import SAMPLE_RATE_HZ
from ..loaders.session import LoadedChannel, LoadedSession
from .answer import STRETCH_S, Answer, answer, mix_of

# How far another engineer may go and be right: an assumption, until mixes of one song by several hands are at hand.
SIGMA = (2.0, 0.12, 1.5, 3.0, 3.0)  # LU, pan, dB of tone, of threshold, of send
LEVELS_DB = (-12.0, 12.0)  # stems lie where the mix wants them; a box meets them anywhere
LOWEST_LU, HIGHEST_LU = -30.0, 12.0
SILENT_LUFS = -99.0
_VOICES = ("vocal_lead", "speech")


def labelled_session(
    session: LoadedSession,
    *,
    begin_s: float = 0.0,
    seconds: float | None = None,
    has_fit: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays of a stretch of ``session``, and what to report of it."""
    stems, mix = session.read(begin_s, seconds)
    whole = mix_of(session, stems, mix)
    told = None if whole is None else answer(stems, whole, has_fit=has_fit, tell=tell)
    rng = np.random.default_rng(zlib.crc32(f"{session.set_name}/{session.name}".encode()))
    level_db = rng.uniform(*LEVELS_DB, len(stems))
    levelled = [stem * np.float32(10 ** (db / 20)) for stem, db in zip(stems, level_db, strict=True)]
    features = extract(np.concatenate(levelled, axis=1), SAMPLE_RATE_HZ, [stem.shape[1] == 2 for stem in stems])
    truths = [stem_truth(stem) for stem in stems]
    n_ticks = min(len(features.x), *(len(truth.is_active) for truth in truths))
    active = np.stack(
        [_activity(ch, truth, begin_s)[:n_ticks] for ch, truth in zip(session.channels, truths, strict=True)], axis=1
    )
    loudness = _loudness(truths, told, n_ticks)
    leads = _leads(session.roles, loudness, active)
    arrays = {
        "x": as_int8(features.x[:n_ticks]),
        "m": as_int8(features.m[:n_ticks]),
        "role": np.array([ROLES.index(role) for role in session.roles], np.int16),
        "active": active,
        "importance": _importance(session.roles, active, leads),
        **_targets(session, truths, told, loudness, leads),
        **_unsaid(session, n_ticks, level_db + [truth.loudness_lufs - WORKING_LUFS for truth in truths]),
    }
    return arrays, _report(session, told, n_ticks)


def _activity(channel: LoadedChannel, truth: StemTruth, begin_s: float) -> NDArray[np.bool_]:
    if channel.activity is None:
        return truth.is_active
    active = np.zeros(len(truth.is_active), bool)
    for first_s, last_s in channel.activity:
        first, last = (max(round((at_s - begin_s) * TICKS_PER_S), 0) for at_s in (first_s, last_s))
        active[first:last] = True
    return active


def _loudness(truths: list[StemTruth], told: Answer | None, n_ticks: int) -> NDArray[np.float64]:
    """Return how loud each channel is in the mix, second by second, ``(n_seconds, n_channels)``."""
    n_seconds, step = -(-n_ticks // TICKS_PER_S), round(STRETCH_S * TICKS_PER_S)
    out = np.zeros((n_seconds, len(truths)))
    for ch, truth in enumerate(truths):
        for second in range(n_seconds):
            stretch = second * TICKS_PER_S // step
            own = gated_lufs(truth.k_power[stretch * step : (stretch + 1) * step])
            gains = None if told is None else told.stretch_gain_db
            gain_db = 0.0 if gains is None else gains[min(stretch, len(gains) - 1), ch]
            out[second, ch] = (own if own > SILENT_LUFS else truth.loudness_lufs) + gain_db
    return out


def _leads(roles: tuple[str, ...], loudness: NDArray[np.float64], active: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return who leads each second: the loudest voice that sounds, else the loudest that sounds, else who led."""
    is_voice, lead, out = np.isin(roles, _VOICES), int(np.argmax(loudness.mean(axis=0))), []
    for second, levels in enumerate(loudness):
        sounds = active[second * TICKS_PER_S : (second + 1) * TICKS_PER_S].any(axis=0)
        chosen = sounds & is_voice if (sounds & is_voice).any() else sounds
        if chosen.any():
            lead = int(np.argmax(np.where(chosen, levels, -np.inf)))
        out.append(lead)
    return np.array(out)


def _importance(roles: tuple[str, ...], active: NDArray[np.bool_], leads: NDArray[np.int64]) -> NDArray[np.uint8]:
    base = np.array([tables()["importance"][role] for role in roles])
    is_lead = np.repeat(leads, TICKS_PER_S)[: len(active), None] == np.arange(len(roles))
    return np.rint(255 * active * np.where(is_lead, 1.0, base)).astype(np.uint8)


def _targets(
    session: LoadedSession, truths: list[StemTruth], told: Answer | None, loudness: NDArray[np.float64],
    leads: NDArray[np.int64],
) -> Arrays:  # fmt: skip
    n, off_db = len(truths), tables()["send"]["off_db"]
    offset = np.clip(loudness - loudness[np.arange(len(leads)), leads][:, None], LOWEST_LU, HIGHEST_LU)
    weight = np.zeros((len(SIGMA), n))
    tone_db, compressor, send_db = np.zeros((n, 4)), np.tile([0.0, 1.0], (n, 1)), np.full(n, off_db)
    if told is not None:
        weight[:2] = told.confidence
    if told is not None and told.fitted is not None:
        fitted = told.fitted
        own = np.array([truth.loudness_lufs for truth in truths])
        tone_db, send_db = fitted.tone_db, np.maximum(fitted.send_db, off_db)
        compressor = np.stack([fitted.threshold_dbfs - own, fitted.ratio], axis=1)
        # In order: gain, send, four tones, threshold, ratio, attack, release.
        weight[2] = fitted.confidence[:, 2:6].min(axis=1)
        weight[3] = fitted.confidence[:, 6:8].min(axis=1)
        weight[4] = fitted.confidence[:, 1]
    pan = np.zeros(n) if told is None else np.abs(told.pan)
    return {
        "offset_lu": np.repeat(offset[None], len(STYLES), axis=0).astype(np.float16),
        "pan_abs": np.repeat(pan[None], len(STYLES), axis=0).astype(np.float32),
        "tone_db": tone_db.astype(np.float32),
        "compressor": compressor.astype(np.float32),
        "send_db": np.broadcast_to(send_db, (len(STYLES), len(leads), n)).astype(np.float16),
        "sigma": np.array(SIGMA, np.float32),
        "weight": weight.astype(np.float16),
    }


def _unsaid(session: LoadedSession, n_ticks: int, gain_fault_db: NDArray[np.float64]) -> Arrays:
    n = len(gain_fault_db)
    return {
        "genre": np.array(-1 if session.genre is None else GENRES.index(session.genre), np.int16),
        "scene_kind": np.array(SCENE_KINDS.index(session.scene_kind), np.int16),
        "section": np.full(n_ticks, -1, np.int8),
        "boundary": np.zeros(n_ticks, bool),
        "beat": np.zeros(n_ticks, np.uint8),
        "key": np.array(-1, np.int16),
        "tempo_bpm": np.array(0.0, np.float32),
        "bleed_db": np.full((n, n), NONE_DB, np.float16),
        "is_bleed": np.zeros((n_ticks, n), bool),
        "gain_fault_db": gain_fault_db.astype(np.float32),
        "eq_fault_db": np.zeros((n, 4), np.float32),
        "difficulty": np.array(0, np.int16),
        "family": np.full(n, zlib.crc32(f"{session.set_name}/{session.name}".encode()), np.uint32),
    }


def _report(session: LoadedSession, told: Answer | None, n_ticks: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": session.name,
        "seconds": round(n_ticks * TICK_FRAMES / SAMPLE_RATE_HZ, 2),
        "channels": [{"name": c.name, "role": c.role} for c in session.channels],
        "has_mix": told is not None,
        "are_stems_mixed": session.are_stems_mixed,
    }
    if told is None:
        return said
    said |= {
        "lag_frames": told.lag_frames,
        "residual_db": round(told.whole.residual_db, 2),
        "condition": round(told.whole.condition, 1),
        "is_fit_kept": told.fitted is not None,
        "fit_residual_db": told.fit_residual_db if told.fit_residual_db is None else round(told.fit_residual_db, 2),
    }
    for ch, channel in enumerate(said["channels"]):
        channel |= {
            "gain_db": round(float(told.gain_db[ch]), 2),
            "pan": round(float(told.pan[ch]), 3),
            "confidence": round(float(told.confidence[ch]), 3),
        }
    return said
