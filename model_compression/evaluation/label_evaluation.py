"""Whether labels tell which console made a mix: known settings on generated sources, and what comes back."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import installed
from dsp_kernels.reference.loudness import k_weighted

from ..labels import closed_form
from ..labels.fit import fit
from ..labels.strips import Settings, StripBank
from .console import pan_matrix
from .measures.framing import Array
from .mix_material import generated
from .results import Results, goal_figure
from .statistics import interval_of_quantile

BEGIN_S, SECONDS = 6.0, 8.0
MOST_CHANNELS = 4
SILENT_LIN = 1e-3
GAIN_DB, RELEASE_SHARE = 0.3, 0.2
TRUSTED = 0.5  # confidence of a release, from which on it is a label
RELEASE_COLUMN = 9  # of the confidence


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """One channel: gain of the loudness and release time, wanted and found."""

    gain_error_db: float
    release_error: float  # as a share of the true one
    release_confidence: float


def evaluate(
    recipe: str, results: Results, *, n: int, seed: int, voices: Path | None, jobs: int, say: Callable[[str], None]
) -> None:
    """Make a mix of each of ``n`` sessions with a console of known settings, and read it."""
    found: list[Recovered] = []
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for k, told in enumerate(pool.map(partial(recovered, recipe, seed, voices), range(n)), start=1):
            found += told
            say(f"labels: {k} of {n} mixes")
    gain = np.array([row.gain_error_db for row in found])
    release = np.array([row.release_error for row in found if row.release_confidence >= TRUSTED])
    for name, errors, unit, at_most in (
        ("label of a gain, median error", gain, "dB", GAIN_DB),
        (f"label of a release, median error of the {len(release)} of {len(found)} that are trusted", release, "ratio",
         RELEASE_SHARE),
    ):  # fmt: skip
        low, high = interval_of_quantile(errors, 0.5)
        value = float(np.median(errors)) if len(errors) else float("nan")
        results.figures.append(
            goal_figure(name, value, unit, len(errors), at_most=at_most, goal="G9", low=low, high=high)
        )


def recovered(recipe: str, seed: int, voices: Path | None, number: int) -> list[Recovered]:
    """Return what is read from a mix of some channels of a session."""
    session = generated(recipe, number, seed=seed, voices=voices).session
    rate_hz = float(session.sample_rate_hz)
    span = slice(int(BEGIN_S * rate_hz), int((BEGIN_S + SECONDS) * rate_hz))
    sounding = [stem[span, :1] for stem in session.stems if np.sqrt(np.mean(stem[span] ** 2)) > SILENT_LIN]
    return read_back(sounding[:MOST_CHANNELS], rate_hz, np.random.default_rng([seed, number]))


def read_back(stems: list[NDArray[np.float32]], rate_hz: float, rng: np.random.Generator) -> list[Recovered]:
    """Return what is read from a mix of mono ``stems`` by a console at random settings."""
    if not stems:
        return []
    settings = [_at_random(rng, stem) for stem in stems]
    gains_db, pans = rng.uniform(-12, 3, len(stems)), rng.uniform(-0.9, 0.9, len(stems))
    strips = [
        StripBank(installed(), rate_hz, [one], n_sides=1, has_compressor=True).process(stem)[:, 0]
        for one, stem in zip(settings, stems, strict=True)
    ]
    mix = np.sum([strip @ (pan_matrix(pan, 1) * 10 ** (gain / 20))
                  for strip, gain, pan in zip(strips, gains_db, pans, strict=True)], axis=0)  # fmt: skip
    mix = np.asarray(mix, np.float32)
    effect_db = np.array([_k_db(strip, rate_hz) - _k_db(stem, rate_hz)
                          for strip, stem in zip(strips, stems, strict=True)])  # fmt: skip
    balance = closed_form.balance(stems, mix)
    told_db = closed_form.loudness_gain_db(stems, mix, rate_hz, balance.side_gain_lin)
    fitted = fit(stems, mix, rate_hz, stages=("tone", "compressor"))
    return [
        Recovered(
            gain_error_db=float(abs(told_db[ch] - gains_db[ch] - effect_db[ch])),
            release_error=float(abs(fitted.release_ms[ch] / one.release_ms - 1.0)),
            release_confidence=float(fitted.confidence[ch, RELEASE_COLUMN]),
        )
        for ch, one in enumerate(settings)
    ]


def _at_random(rng: np.random.Generator, stem: NDArray[np.float32]) -> Settings:
    peak_dbfs = float(20 * np.log10(np.abs(stem).max() + 1e-9))
    tone = rng.uniform(-6, 6, 4)
    return Settings(
        tone_db=(float(tone[0]), float(tone[1]), float(tone[2]), float(tone[3])),
        threshold_dbfs=peak_dbfs - float(rng.uniform(10, 20)),
        ratio=float(rng.uniform(2, 6)),
        attack_ms=float(np.exp(rng.uniform(np.log(3), np.log(40)))),
        release_ms=float(np.exp(rng.uniform(np.log(40), np.log(500)))),
    )


def _k_db(x: Array | NDArray[np.float32], rate_hz: float) -> float:
    return float(10 * np.log10(np.mean(k_weighted(np.asarray(x, np.float64).reshape(-1, 1), rate_hz) ** 2) + 1e-20))
