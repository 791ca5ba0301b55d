"""Sessions to mix that nobody has heard: sources and rooms of the test split, other songs than in its shards.

Sound and truth of a session follow from a seed, its number and the data code. The good mix is the truth's own settings
through our console.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..nets.layout import HEARD, HEARD_AT_LEAST, SLOW_LOUDNESS
from .baselines.learned import LOUDNESS_MIDDLE_LUFS, LOUDNESS_SPAN_LU
from .console import Setting
from .data_scores import NATURAL, Targets, truth_of
from .measures.framing import Array
from .measures.parameters import tone_bands
from .sessions import Session
from .shards import TICKS_PER_S, Labelled

SECONDS = 20.0
SPLIT = "test"
WORKING_LUFS = -23.0  # what gain_fault_db is relative to
COMMON_LUFS = -30.0
PAN_MIN = 0.05
GAIN_LIMIT_DB = 40.0


@dataclass(frozen=True, kw_only=True)
class Material:
    """One session as sound, and its inputs and truth as a data set has them."""

    session: Session
    labelled: Labelled


def generated(recipe_name: str, number: int, *, seed: int, voices: Path | None = None) -> Material:
    """Return a session of 20 s, or longer where a song needs it.

    Raises
    ------
    ModelError
        When there is no such recipe, or this machine lacks an instrument or a voice.
    """
    from ..data.performance import SAMPLE_RATE_HZ
    from ..data.recipe import find_recipe, read_recipe
    from ..data.recording import record
    from ..data.session_arrays import session_arrays
    from ..data.sources import Musicians

    recipe = read_recipe(find_recipe(recipe_name))
    rng = np.random.default_rng([seed, recipe.seed, number])
    kind, genre, difficulty = (
        _drawn(rng, shares) for shares in (recipe.scene_kinds, recipe.genres, recipe.difficulties)
    )
    performance = Musicians(voices=voices).performance(rng, split=SPLIT, scene_kind=kind, genre=genre, seconds=SECONDS)
    recorded = record(rng, performance, SPLIT, difficulty)
    arrays = session_arrays(rng, recorded)
    session = Session(
        name=f"{kind} {number}",
        sample_rate_hz=SAMPLE_RATE_HZ,
        stems=[np.asarray(channel, np.float32) for channel in recorded.channels],
        roles=[mic.role for mic in recorded.microphones],
        names=[f"{mic.role.replace('_', ' ')} {k}" for k, mic in enumerate(recorded.microphones, start=1)],
    )
    return Material(session=session, labelled=Labelled(name=session.name, arrays=arrays))


def _drawn(rng: np.random.Generator, shares: dict[str, float]) -> str:
    words = list(shares)
    odds = np.array([shares[word] for word in words], float)
    return words[int(rng.choice(len(words), p=odds / odds.sum()))]


def sides(n_channels: int) -> Array:
    """Return the side of each channel: only the distance from the middle is anybody's decision."""
    return np.where(np.arange(n_channels) % 2 == 0, -1.0, 1.0)


def true_settings(material: Material) -> list[Setting]:
    """Return the console's settings of the good mix."""
    labelled = material.labelled
    truth = truth_of(labelled)
    if "gain_fault_db" not in labelled.arrays:
        raise ModelError(f"{labelled.name}: says nothing about its gains; make the data set anew")
    level_lufs = WORKING_LUFS + np.asarray(labelled["gain_fault_db"], np.float64)
    return settings_of(truth, np.broadcast_to(level_lufs, truth.offset_lu.shape[:2]))


def settings_of(targets: Targets, loudness_lufs: Array) -> list[Setting]:
    """Return the console's settings for targets once a second, given how loud each channel is by then.

    Position, tone and compressor, which do not move, are the median over time.
    """
    n_channels = targets.offset_lu.shape[1]
    gains_db = np.clip(COMMON_LUFS + targets.offset_lu[..., NATURAL] - loudness_lufs, -GAIN_LIMIT_DB, GAIN_LIMIT_DB)
    pan, tone, compressor, level = (
        np.median(values, axis=0) for values in (targets.pan_abs[..., NATURAL], targets.tone_db, targets.compressor,
                                                 loudness_lufs)
    )  # fmt: skip
    return [
        Setting(
            gain_track_db=gains_db[:, ch],
            track_tick_s=1.0,
            pan=float(side * pan[ch]) if pan[ch] > PAN_MIN else 0.0,
            bands=tuple(band for band in tone_bands(tone[ch]) if abs(band.gain_db) > 0.05),
            compressor=(float(level[ch] + compressor[ch, 0]), float(compressor[ch, 1])),
            send_track_db=targets.send_db[:, ch, NATURAL],
        )
        for ch, side in zip(range(n_channels), sides(n_channels), strict=True)
    ]


def heard_loudness_lufs(x: NDArray[np.integer]) -> Array:
    """Return the slow loudness that the inputs say of each channel at the end of each second, ``(n, n_channels)``.

    Before a channel was heard, it counts as what it is at first.
    """
    rows = np.asarray(x[TICKS_PER_S - 1 :: TICKS_PER_S], np.float64) / 127.0
    level = rows[:, :, SLOW_LOUDNESS] * LOUDNESS_SPAN_LU + LOUDNESS_MIDDLE_LUFS
    is_heard = rows[:, :, HEARD] >= HEARD_AT_LEAST
    first = np.where(is_heard.any(axis=0), is_heard.argmax(axis=0), 0)
    return np.where(is_heard, level, np.take_along_axis(level, first[None], axis=0))
