"""Twin of ``model_input.c``: the columns of a whole recording from the histories of its records."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.layout import (
    FEATURES_DTYPE,
    MIX_INPUT_COLUMNS,
    MODEL_INPUT_COLUMNS,
    N_MIX_INPUT,
    N_MODEL_INPUT,
)

TICK_S, FAST_S, SLOW_S, LONG_S, HEARD_S = 0.02, 1.0, 8.0, 30.0, 0.3
SILENCE_DB = -100.0
FAST_COLUMNS = ("flux", "flatness", "brightness", "roughness", "", "is_active", "level_now", "crest", "centroid",
                "bleed_coherence")  # fmt: skip
ONSETS, IS_ACTIVE = 4, 5
REGISTER_EDGES = (0, 4, 20, 40)


def db(power: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return decibels of power."""
    return 10 * np.log10(np.maximum(power, 1e-30))


def clip(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ``x`` within [-1, 1]."""
    return np.clip(x, -1.0, 1.0)


def running_mean(x: NDArray[np.floating], span_s: float, counts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean over ticks that count, in each tick: of all at first, then a one-pole of ``span_s``."""
    mean, out, n = np.zeros(x.shape[1:]), np.zeros(x.shape), 0
    for t in range(len(x)):
        if counts[t]:
            n += 1
            mean = mean + (x[t] - mean) * max(TICK_S / span_s, 1 / n)
        out[t] = mean
    return out


def untrimmed_db(level_db: NDArray[np.floating], trim_db: float) -> NDArray[np.float64]:
    """Return a level as it would read without the trim; silence stays silence."""
    level = np.asarray(level_db, np.float64)
    return np.where(level <= SILENCE_DB, SILENCE_DB, np.clip(level - trim_db, SILENCE_DB, 40.0))


def power(level_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the power of a level; of silence none."""
    return np.where(level_db > SILENCE_DB, 10 ** (level_db / 10), 0.0)


def decayed_onsets(is_onset: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return 1 at each onset and from there on an exponential of 60 ms."""
    out, level = np.zeros(len(is_onset)), 0.0
    for t, begins in enumerate(is_onset):
        level = 1.0 if begins else level * np.exp(-TICK_S / 0.06)
        out[t] = level
    return out


class Channel:
    """What a recording of one channel's records, shape ``(n_ticks,)``, says by itself."""

    def __init__(self, records: NDArray[np.void], trim_db: float, is_stereo: bool) -> None:
        r = {name: np.asarray(records[name], np.float64) for name in FEATURES_DTYPE.names or ()}
        self.active = r["is_active"] > 0.5
        self.was = np.cumsum(self.active) > 0
        self.active_s = np.cumsum(self.active) * TICK_S
        self.heard = self.active_s > HEARD_S
        self.mel_now = power(untrimmed_db(r["log_mel_db"], trim_db))
        self.mel = running_mean(self.mel_now, SLOW_S, self.active)
        self.bark = running_mean(power(untrimmed_db(r["bark_dbfs"], trim_db)), SLOW_S, self.active)
        now_db = untrimmed_db(r["loudness_momentary_lufs"], trim_db)
        self.loudness_now = power(now_db)
        self.loudness = running_mean(np.maximum(self.loudness_now, 1e-10), SLOW_S, self.active)
        self.onset = decayed_onsets(r["onset"] > 0.5)
        self.columns = self._columns(r, now_db, trim_db, is_stereo)

    def _columns(self, r: dict[str, NDArray], now_db: NDArray, trim_db: float, is_stereo: bool) -> NDArray[np.float64]:
        out = np.zeros((len(now_db), N_MODEL_INPUT))
        at = {name: out[:, columns] for name, columns in MODEL_INPUT_COLUMNS.items()}
        total, slow_db = self.mel.sum(axis=1, keepdims=True), db(self.loudness)
        total = np.maximum(total, 1e-10)
        at["mel_now"][:] = (db(self.mel_now / total) + 30) / 50
        at["mel_slow"][:] = (db(self.mel.reshape(-1, 20, 2).sum(axis=2) / total) + 30) / 30
        with np.errstate(divide="ignore", invalid="ignore"):
            one = {
                "centroid": np.log2(r["centroid_hz"] / 500) / 5,
                "rolloff": np.log2(r["rolloff_hz"] / 1000) / 5,
                "flux": 2 * np.sqrt(r["flux"]) - 1,
                "flatness": (np.log10(r["flatness"]) + 2) / 2,
                "crest": (r["crest_db"] - 10) / 10,
                "attack": np.where(r["attack_ms"] > 0, np.log10(r["attack_ms"] / 20), 0),
                "decay": np.where(r["decay_db_per_s"] > 0, np.log10(r["decay_db_per_s"] / 60) / 1.2, 0),
                "brightness": 2 * np.sqrt(r["brightness"]) - 1,
                "roughness": 2 * np.sqrt(r["roughness"]) - 1,
            }
        one |= {
            "onset": self.onset,
            "syllabic": 4 * r["syllabic_modulation"] - 1,
            "is_active": np.where(self.active, 1.0, -1.0),
            "level_now": (now_db - slow_db) / 30,
            "bleed_coherence": 2 * r["bleed_coherence"] - 1,
            "bleed_delay": r["bleed_delay_ms"] / 20,
            "has_bleed_source": np.where(r["bleed_source"] >= 0, 1.0, -1.0),
            "slow_loudness": (slow_db + 30) / 40,
            "noise_room": (slow_db - untrimmed_db(r["noise_floor_dbfs"], trim_db) - 45) / 45,
            "heard": np.log2(1 + self.active_s) / 6,
        }
        for name, column in one.items():
            at[name][:, 0] = clip(column)
        onsets = np.where(r["onset"] > 0.5, 0.25 / TICK_S, 0.0) - 1
        course = np.stack([at[name][:, 0] if name else onsets for name in FAST_COLUMNS], axis=1)
        at["fast_means"][:] = running_mean(course, FAST_S, self.was)
        at["slow_means"][:] = running_mean(course, SLOW_S, self.active)
        at["slow_means"][:, IS_ACTIVE] = running_mean(course[:, IS_ACTIVE], SLOW_S, self.was)
        out = clip(out)
        out[~self.was] = 0.0
        out[~self.was, :60] = -1.0
        for name in ("is_active", "has_bleed_source"):
            out[~self.was, MODEL_INPUT_COLUMNS[name]] = -1.0
        out[:, MODEL_INPUT_COLUMNS["is_stereo"]] = 1.0 if is_stereo else -1.0
        return out


def model_input(
    records: NDArray[np.void],
    chroma: NDArray[np.floating],
    trim_db: NDArray[np.floating],
    is_stereo: Sequence[bool],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``x``, shape ``(n_ticks, n_channels, N_MODEL_INPUT)``, and ``m``, ``(n_ticks, N_MIX_INPUT)``.

    ``records`` has shape ``(n_ticks, n_channels)``, ``chroma`` ``(n_ticks, 12)``, ``trim_db`` ``(n_channels,)``.
    """
    channels = [Channel(records[:, ch], float(trim_db[ch]), is_stereo[ch]) for ch in range(records.shape[1])]
    x = np.stack([c.columns for c in channels], axis=1)
    _compare(channels, x)
    return x, _mix(channels, np.asarray(chroma, np.float64))


def _compare(channels: list[Channel], x: NDArray[np.float64]) -> None:
    heard, was = (np.stack([getattr(c, name) for c in channels], axis=1) for name in ("heard", "was"))
    loudness = np.stack([c.loudness for c in channels], axis=1)
    bark = np.minimum(np.stack([c.bark for c in channels], axis=1) / np.maximum(loudness, 1e-30)[..., None], 1e4)
    n_heard, loudness_db = heard.sum(axis=1), db(loudness)
    x[:, :, MODEL_INPUT_COLUMNS["count"].start] = np.where(n_heard, np.log2(np.maximum(n_heard, 1)) / 5, -1)[:, None]
    for t in range(len(x)):
        for ch in np.flatnonzero(was[t]) if n_heard[t] else ():
            others = heard[t] & (np.arange(len(channels)) != ch)
            difference = loudness_db[t, ch] - loudness_db[t]
            share = bark[t, others].sum(axis=0)
            own = bark[t, ch]
            masked = (own * share / np.maximum(share + own, 1e-30)).sum() / max(own.sum(), 1e-30)
            row = {
                "loudness_vs_mean": difference[heard[t]].mean() / 30,
                "loudness_rank": np.sign(difference[others]).mean() if others.any() else 0.0,
                "masked_at_equal_loudness": 2 * masked - 1,
            }
            for name, value in row.items():
                x[t, ch, MODEL_INPUT_COLUMNS[name]] = clip(value)


def _mix(channels: list[Channel], chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    active, heard = (np.stack([getattr(c, name) for c in channels], axis=1) for name in ("active", "heard"))
    n_active, n_heard = active.sum(axis=1), heard.sum(axis=1)
    began = np.cumsum(n_active) > 0
    mel = np.sum([c.mel_now for c in channels], axis=0)
    loudness = np.sum([c.loudness_now for c in channels], axis=0)
    total, sounds = mel.sum(axis=1), n_active > 0
    slow, long = (running_mean(total, span, sounds) for span in (SLOW_S, LONG_S))
    out = np.zeros((len(mel), N_MIX_INPUT))
    at = {name: out[:, columns] for name, columns in MIX_INPUT_COLUMNS.items()}
    at["chroma"][:] = 2 * chroma - 1
    at["mel_sum"][:] = clip((db(mel.reshape(-1, 20, 2).sum(axis=2) / np.maximum(slow, 1e-10)[:, None]) + 30) / 50)
    level_db = np.maximum(db(mel), db(slow)[:, None] - 60)
    rise_db = np.maximum(np.diff(level_db, axis=0, prepend=level_db[:1]), 0)
    rise_db[began.argmax() if began.any() else 0] = 0
    at["flux_sum"][:] = 2 * np.sqrt(rise_db.reshape(-1, 8, 5).mean(axis=2) / 10) - 1
    at["onset_share"][:] = 2 * _onset_shares(channels, heard) - 1
    means = {span: [running_mean((at[name] + 1) / 2, span, began) for name in ("mel_sum", "chroma")]
             for span in (FAST_S, SLOW_S, LONG_S)}  # fmt: skip
    centroid = (mel * np.arange(40)).sum(axis=1) / np.maximum(total, 1e-30)
    course = np.stack([np.log2(1 + n_active), clip(at["flux_sum"]).mean(axis=1), centroid], axis=1)
    change = running_mean(course, FAST_S, began) - running_mean(course, SLOW_S, began)
    one = {
        "level_now": (db(loudness) - db(running_mean(loudness, SLOW_S, sounds))) / 15,
        "level_fast": (db(running_mean(total, FAST_S, began)) - db(long)) / 15,
        "active_count": np.where(sounds, np.log2(np.maximum(n_active, 1)) / 5, -1),
        "active_share": 2 * (active & heard).sum(axis=1) / np.maximum(n_heard, 1) - 1,
        "novelty_mel": novelty(means[FAST_S][0], means[SLOW_S][0], 64.0),
        "novelty_chroma": novelty(means[FAST_S][1], means[SLOW_S][1], 3.0),
        "novelty_mel_long": novelty(means[FAST_S][0], means[LONG_S][0], 64.0),
        "novelty_chroma_long": novelty(means[FAST_S][1], means[LONG_S][1], 3.0),
        "change_active": change[:, 0],
        "change_level": (db(slow) - db(long)) / 6,
        "change_flux": 3 * change[:, 1],
        "change_centroid": change[:, 2] / 5,
    }
    for name, column in one.items():
        at[name][:, 0] = column
    out[~began, :52] = -1.0
    out[~began, 44:46] = out[~began, 52:] = 0.0
    return clip(out)


def _onset_shares(channels: list[Channel], heard: NDArray[np.bool_]) -> NDArray[np.float64]:
    onset = np.stack([c.onset for c in channels], axis=1)
    edges = pairwise(REGISTER_EDGES)
    powers = np.stack([np.stack([c.mel[:, a:b].sum(axis=1) for c in channels], axis=1) for a, b in edges])
    masks = [heard, *(heard & (powers.argmax(axis=0) == k) for k in range(3))]
    return np.stack([(onset * m).sum(axis=1) / np.maximum(m.sum(axis=1), 1) for m in masks], axis=1)


def novelty(a: NDArray[np.float64], b: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Return 2 sqrt(scale d) - 1, d the cosine distance of the rows."""
    norms = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    distance = np.where(norms > 1e-12, 1 - (a * b).sum(axis=1) / np.maximum(norms, 1e-30), 0.0)
    return 2 * np.sqrt(scale * np.maximum(distance, 0)) - 1
