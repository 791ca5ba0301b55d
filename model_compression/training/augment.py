"""Augmentation of features, as far as it is exact: what the front end would have said had the sound been different."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nets.layout import (
    CHROMA,
    COUNT,
    HEARD,
    HEARD_AT_LEAST,
    LOUDNESS_RANK,
    LOUDNESS_VS_MEAN,
    MEL_NOW,
    MEL_SLOW,
    N_PATCH_TICKS,
    SLOW_LOUDNESS,
    SONG_HEADS,
)

Array = NDArray[np.float32]

N_BANDS = MEL_NOW.stop
NOW_DB = (50.0, -30.0)  # scale and offset of the columns: dB = scale * column + offset
SLOW_DB = (30.0, -30.0)
MAX_TILT_DB = 14.0
MAX_BELL_DB, N_BELLS = 12.0, 2
OTHER_DB = (-30.0, -8.0)  # another source in the same microphone, relative to the channel's slow level
NOISE_DB = (-55.0, -25.0)  # raised floor, in each band, relative to the channel's slow level
MAX_MASKED_BANDS = 8
MAX_LEVEL_DB = 12.0
MAX_SHIFT_BANDS = 2.0
MAX_MASKED_TICKS = 16


def coloured(patches: Array, rng: np.random.Generator) -> Array:
    """Patches ``(n, 64, 72)`` through a random tilt and bells each; levels stay relative to the new total.

    The slow spectrum says how the total changes, so both parts of the columns stay consistent. Columns that sum up the
    spectrum (centroid and the like) keep their value: their noise is part of the training.
    """
    n = len(patches)
    band = np.arange(N_BANDS)
    curve_db = rng.uniform(-MAX_TILT_DB, MAX_TILT_DB, (n, 1)) * (band / (N_BANDS - 1) - 0.5)
    for _ in range(N_BELLS):
        centre, width = rng.uniform(0, N_BANDS, (n, 1)), rng.uniform(2.0, 6.0, (n, 1))
        curve_db += rng.uniform(-MAX_BELL_DB, MAX_BELL_DB, (n, 1)) * np.exp(-0.5 * ((band - centre) / width) ** 2)
    curve_db = curve_db.astype(np.float32)
    pooled_db = curve_db.reshape(n, -1, 2).mean(axis=2)
    before = _power(SLOW_DB[0] * patches[:, :, MEL_SLOW] + SLOW_DB[1])
    after = (before * _power(pooled_db)[:, None]).sum(axis=2, keepdims=True)
    total_db = _db(after / np.maximum(before.sum(axis=2, keepdims=True), 1e-9))
    out = patches.copy()
    heard = _is_heard(patches)
    out[:, :, MEL_NOW] += heard * (curve_db[:, None] - total_db) / NOW_DB[0]
    out[:, :, MEL_SLOW] += heard * (pooled_db[:, None] - total_db) / SLOW_DB[0]
    return np.clip(out, -1.0, 1.0)


def accompanied(patches: Array, others: Array, rng: np.random.Generator) -> Array:
    """Patches whose microphones hear another source, too: ``others`` of the same shape; powers add up.

    Levels stay relative to the new total. Where either was never heard, nothing changes.
    """
    share = _power(rng.uniform(*OTHER_DB, (len(patches), 1, 1)).astype(np.float32))
    both = _is_heard(patches) & _is_heard(others)
    out = patches.copy()
    for columns, (scale, offset) in ((MEL_NOW, NOW_DB), (MEL_SLOW, SLOW_DB)):
        own, other = (_power(scale * x[:, :, columns] + offset) for x in (patches, others))
        joined = (_db((own + share * other) / (1.0 + share)) - offset) / scale
        out[:, :, columns] = np.where(both, joined, patches[:, :, columns])
    return np.clip(out, -1.0, 1.0)


def shifted(patches: Array, rng: np.random.Generator) -> Array:
    """Patches as of a source a little smaller or larger: every spectrum moved by up to ``MAX_SHIFT_BANDS``."""
    out = patches.copy()
    for patch, shift in zip(out, rng.uniform(-MAX_SHIFT_BANDS, MAX_SHIFT_BANDS, len(patches)), strict=True):
        for columns, bands in ((MEL_NOW, shift), (MEL_SLOW, shift / 2.0)):
            last = columns.stop - columns.start - 1
            whole, share = divmod(-bands, 1.0)
            below = np.arange(last + 1) + int(whole)
            view = patch[:, columns]
            low, high = (view.take(at.clip(0, last), axis=1) for at in (below, below + 1))
            patch[:, columns] = low + np.float32(share) * (high - low)
    return out


def noisy(patches: Array, rng: np.random.Generator) -> Array:
    """Patches with their noise floor raised, sloping at random."""
    n = len(patches)
    floor_db = rng.uniform(*NOISE_DB, (n, 1)) + rng.uniform(-12.0, 12.0, (n, 1)) * (np.arange(N_BANDS) / N_BANDS - 0.5)
    floor_db = floor_db.astype(np.float32)
    out = patches.copy()
    heard = _is_heard(patches)
    for columns, (scale, offset), floor in (
        (MEL_NOW, NOW_DB, floor_db),
        (MEL_SLOW, SLOW_DB, floor_db.reshape(n, -1, 2).mean(axis=2)),
    ):
        power = _power(scale * patches[:, :, columns] + offset) + _power(floor)[:, None]
        out[:, :, columns] = np.where(heard, (_db(power) - offset) / scale, patches[:, :, columns])
    return np.clip(out, -1.0, 1.0)


def masked(patches: Array, rng: np.random.Generator) -> Array:
    """Patches without a few neighbouring bands each, in both spectra, and without what a stretch of time held."""
    out = patches.copy()
    for patch in out:
        _mask_bands(patch, rng)
        begin, length = int(rng.integers(N_PATCH_TICKS - MAX_MASKED_TICKS)), int(rng.integers(MAX_MASKED_TICKS))
        patch[begin : begin + length, MEL_NOW] = -1.0
    return out


def without_bands(patches: Array, rng: np.random.Generator) -> Array:
    """Patches of any length without a few neighbouring bands each, in both spectra."""
    out = patches.copy()
    for patch in out:
        _mask_bands(patch, rng)
    return out


def _mask_bands(patch: Array, rng: np.random.Generator) -> None:
    count = int(rng.integers(0, MAX_MASKED_BANDS + 1)) // 2 * 2
    first = int(rng.integers(0, (N_BANDS - count) // 2)) * 2
    patch[:, first : first + count] = -1.0
    patch[:, MEL_SLOW.start + first // 2 : MEL_SLOW.start + (first + count) // 2] = -1.0


def stretched_ticks(end: int, rng: np.random.Generator, *, most: float = 0.2) -> NDArray[np.int64]:
    """Ticks of a patch that ends at ``end``, taken faster or slower; the last one stays."""
    factor = rng.uniform(1.0 - most, 1.0 + most)
    return np.maximum(np.rint(end - factor * np.arange(N_PATCH_TICKS - 1, -1, -1)).astype(np.int64), 0)


def louder(x: Array, rng: np.random.Generator) -> Array:
    """Return inputs ``(n_ticks, n_channels, 104)`` had each channel come in at another level: three columns, exactly.

    A channel whose slow loudness is clipped keeps saying so.
    """
    shift = rng.uniform(-MAX_LEVEL_DB, MAX_LEVEL_DB, x.shape[1]).astype(np.float32)
    return _gauged(x, shift)


def without(x: Array, channels: NDArray[np.bool_]) -> Array:
    """Return inputs ``(n_ticks, n_channels, 104)`` had some ``channels (n_channels,)`` never been plugged in.

    Count, and loudness over mean and rank among the heard are exact; masking and bleed stay as they were with them.
    """
    out = _gauged(x[:, ~channels], np.float32(0.0))
    n_heard = (out[..., HEARD] >= HEARD_AT_LEAST).sum(axis=1, keepdims=True)
    out[..., COUNT] = np.where(n_heard > 0, np.log2(np.maximum(n_heard, 1)) / 5.0, -1.0)
    return out


def _gauged(x: Array, shift_db: Array | np.float32) -> Array:
    """Return inputs with the columns that compare slow loudness among those of ``x``, each channel ``shift_db`` up."""
    loudness_db = 40.0 * x[..., SLOW_LOUDNESS] - 30.0 + shift_db
    heard = x[..., HEARD] >= HEARD_AT_LEAST
    n_heard = heard.sum(axis=1, keepdims=True)
    mean_db = (loudness_db * heard).sum(axis=1, keepdims=True) / np.maximum(n_heard, 1)
    order = np.argsort(np.argsort(np.where(heard, loudness_db, np.inf), axis=1), axis=1)
    rank = np.where(n_heard > 1, 2.0 * order / np.maximum(n_heard - 1, 1) - 1.0, 0.0)
    out = x.copy()
    for column, value in (
        (SLOW_LOUDNESS, (loudness_db + 30.0) / 40.0),
        (LOUDNESS_VS_MEAN, (loudness_db - mean_db) / 30.0),
        (LOUDNESS_RANK, rank),
    ):
        out[..., column] = np.where(heard, np.clip(value, -1.0, 1.0), x[..., column])
    return out


def transposed(row: dict[str, NDArray[Any]], semitones: int) -> dict[str, NDArray[Any]]:
    """Return a row of the song network's batch as if every note had been so much higher; keys are known by their notes.

    ``m (n_ticks, 56)``, ``key (n_ticks,)`` and a ``teacher``'s words about it turn; all else stays, timbre included.
    """
    out = dict(row)
    out["m"] = row["m"].copy()
    out["m"][:, CHROMA] = np.roll(row["m"][:, CHROMA], semitones, axis=1)
    key = row["key"]
    out["key"] = np.where(key < 0, key, key // 12 * 12 + (key + semitones) % 12)
    if "teacher" in row:
        out["teacher"] = row["teacher"].copy()
        for mode in range(2):
            first = SONG_HEADS["key"].first + 12 * mode
            said = row["teacher"][:, first : first + 12]
            out["teacher"][:, first : first + 12] = np.roll(said, semitones, axis=1)
    return out


def _power(level_db: Array) -> Array:
    return np.exp(level_db * np.float32(math.log(10.0) / 10.0))


def _db(power: Array) -> Array:
    return np.log(power) * np.float32(10.0 / math.log(10.0))


def _is_heard(patches: Array) -> NDArray[np.bool_]:
    """Return a channel that was never heard has -1 in every band."""
    return (patches[:, :, MEL_SLOW] > -1.0).any(axis=2, keepdims=True)
