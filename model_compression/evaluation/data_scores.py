"""What a model's answers are worth on one generated session, whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels import beat_tracker
from dsp_kernels.contract.generated.contract import ROLES

from .measures import classes, music, parameters
from .measures.framing import Array
from .model_files import Head
from .shards import TICKS_PER_S, Labelled

SETTLE_S = 5  # before that a mixer has not heard enough to be judged
HEARD_S = 3  # of activity, before a channel's role is judged
TICK_S = 1.0 / TICKS_PER_S
PARAMETERS = ("offset_lu", "pan_abs", "tone_db", "compressor_db", "send_db")
NATURAL = 0  # of STYLES
BLEED_NEAR_DB, BLEED_NONE_DB = -16.0, -40.0


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Settings once a second, ``(n_seconds, n_channels, ...)``; ``sigma`` by ``PARAMETERS``, of the threshold too."""

    offset_lu: Array  # last axis: styles
    pan_abs: Array
    tone_db: Array
    compressor: Array  # threshold, ratio
    send_db: Array
    sigma: Array


def decoded(y: NDArray[np.floating], heads: dict[str, Head], sigma_scale: Sequence[float] = (1.0,) * 5) -> Targets:
    """Return the settings in ``y (n_ticks, n_channels, 44)`` at the end of each second.

    ``sigma_scale`` is the bundle's: what its sigmas are to be multiplied with.
    """
    rows = np.clip(y[TICKS_PER_S - 1 :: TICKS_PER_S], -1.0, 1.0)
    threshold = heads["compressor_threshold_db"].read(rows)
    ratio = 2.0 ** np.maximum(heads["compressor_log2_ratio"].read(rows), 0.0)
    names = ("offset_lu", "pan_abs", "tone_db", "compressor_threshold_db", "send_db")
    return Targets(
        offset_lu=heads["offset_lu"].read(rows),
        pan_abs=heads["pan_abs"].read(rows),
        tone_db=heads["tone_db"].read(rows),
        compressor=np.concatenate([threshold, ratio], axis=2),
        send_db=heads["send_db"].read(rows),
        sigma=np.exp(heads["ln_sigma"].read(rows)) * np.array([heads[name].scale for name in names]) * sigma_scale,
    )


def truth_of(session: Labelled) -> Targets:
    """Return the session's own settings in the same form."""
    n = session.n_ticks // TICKS_PER_S
    ones = np.ones((n, 1, 1))
    by_second = {name: np.moveaxis(session[name][:, :n].astype(np.float64), 0, 2) for name in ("offset_lu", "send_db")}
    return Targets(
        **by_second,
        pan_abs=ones * session["pan_abs"].astype(np.float64).T[None],
        tone_db=ones * session["tone_db"].astype(np.float64)[None],
        compressor=ones * session["compressor"].astype(np.float64)[None],
        sigma=ones * np.broadcast_to(session.arrays.get("sigma", np.zeros(5)), (session.n_channels, 5))[None],
    )


def judged(session: Labelled) -> NDArray[np.bool_]:
    """Return ``(n_seconds, n_channels)``: settled, and the channel's own source sounds."""
    n = session.n_ticks // TICKS_PER_S
    active = session["active"][: n * TICKS_PER_S].reshape(n, TICKS_PER_S, -1).mean(axis=1) > 0.25
    active[:SETTLE_S] = False
    return np.asarray(active)


def parameter_errors(mine: Targets, truth: Targets, mask: NDArray[np.bool_]) -> dict[str, Array]:
    """Return errors of every judged second and channel, in perceptual units; offset and pan keep their sign."""
    last = mine.offset_lu.shape[2]
    styles = {f"offset_lu_style_{k}": (mine.offset_lu[..., k] - truth.offset_lu[..., k])[mask] for k in range(1, last)}
    return {
        "offset_lu": (mine.offset_lu[..., NATURAL] - truth.offset_lu[..., NATURAL])[mask],
        "pan_abs": (mine.pan_abs[..., NATURAL] - truth.pan_abs[..., NATURAL])[mask],
        "tone_db": parameters.tone_error_db(mine.tone_db[mask], truth.tone_db[mask]),
        "compressor_db": _compressor_errors(mine.compressor[mask], truth.compressor[mask]),
        "send_db": parameters.send_error_db(mine.send_db[..., NATURAL][mask], truth.send_db[..., NATURAL][mask]),
    } | styles


def _compressor_errors(mine: Array, truth: Array) -> Array:
    # Curves are slow to draw and change slowly: equal pairs, to a tenth of a decibel, are drawn once.
    pairs = np.round(np.concatenate([mine, truth], axis=1), 1)
    unique, back = np.unique(pairs, axis=0, return_inverse=True)
    found = parameters.relative_compressor_error_db(unique[:, :2], unique[:, 2:])
    return np.asarray(found[back.ravel()])


def covered(mine: Targets, truth: Targets, mask: NDArray[np.bool_]) -> dict[str, float]:
    """Return the share of truths inside the 90 % interval of each parameter; the compressor's is its threshold."""
    errors = {
        "offset_lu": (mine.offset_lu - truth.offset_lu)[..., NATURAL],
        "pan_abs": (mine.pan_abs - truth.pan_abs)[..., NATURAL],
        "tone_db": mine.tone_db - truth.tone_db,
        "compressor_db": (mine.compressor - truth.compressor)[..., 0],
        "send_db": (mine.send_db - truth.send_db)[..., NATURAL],
    }
    found = {}
    for k, name in enumerate(PARAMETERS):
        sigma = mine.sigma[..., k][mask]
        error = errors[name][mask]
        found[name] = classes.interval_coverage(error, sigma[:, None] if error.ndim == 2 else sigma)
    return found


def bleed_groups(session: Labelled) -> dict[str, NDArray[np.bool_]]:
    """Return which channels hear a neighbour nearly as loud as themselves, and which hear none."""
    if "bleed_db" not in session.arrays:
        return {}
    level = np.asarray(session["bleed_db"], np.float64)[: session.n_channels, : session.n_channels].copy()
    if level.shape != (session.n_channels, session.n_channels):
        return {}
    np.fill_diagonal(level, -100.0)
    strongest = level.max(axis=1)
    return {"near": strongest >= BLEED_NEAR_DB, "none": strongest <= BLEED_NONE_DB}


def detections(session: Labelled, answer: dict[str, NDArray[Any]], heads: dict[str, Head]) -> dict[str, Any]:
    """Return activity, bleed, and activity of talkers as voice: (truth, score) pairs over ticks and channels."""
    y = answer["y"]
    active = session["active"].astype(bool)
    found: dict[str, Any] = {"activity": (active.ravel(), heads["activity"].read(y)[..., 0].ravel())}
    if "is_bleed" in session.arrays:
        found["bleed"] = (session["is_bleed"].astype(bool).ravel(), heads["bleed"].read(y)[..., 0].ravel())
    talks = np.array([ROLES[int(role)] == "speech" for role in session["role"]])
    found["voice"] = (active[:, talks].ravel(), heads["activity"].read(y)[:, talks, 0].ravel())
    return found


def roles(session: Labelled, answer: dict[str, NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Return truth, guess and confidence of each channel that was heard long enough, at the end of the session."""
    heard = session["active"].sum(axis=0) >= HEARD_S * TICKS_PER_S
    prob = answer["role_prob"][-1][heard]
    return session["role"][heard].astype(np.int64), prob.argmax(axis=1), prob.max(axis=1)


def song(session: Labelled, answer: dict[str, NDArray[Any]], heads: dict[str, Head]) -> dict[str, float]:
    """Return beat F, boundary hit rates, section, genre and scene accuracy and key score; ``nan`` where no truth is."""
    z = answer["z"]
    n = len(z)
    nan = float("nan")
    found = dict.fromkeys(("beat_f", "downbeat_f", "boundary_hr3", "boundary_hr05", "section", "genre", "key"), nan)
    if "beat" in session.arrays and session["beat"].any():
        beats_s = np.flatnonzero(session["beat"][:n]) * TICK_S
        downs_s = np.flatnonzero(session["beat"][:n] == 2) * TICK_S
        heard = beat_tracker.track(_activation(z, heads["beat"]), _activation(z, heads["downbeat"]))
        for name, truth_s, is_one in (
            ("beat_f", beats_s, [beat.is_beat for beat in heard]),
            ("downbeat_f", downs_s, [beat.is_downbeat for beat in heard]),
        ):
            found[name] = music.beat_f(truth_s, np.flatnonzero(is_one) * TICK_S)
    if "boundary" in session.arrays and session["boundary"].any():
        truth_s = np.flatnonzero(session["boundary"][:n]) * TICK_S
        inside = (truth_s > 1.0) & (truth_s < n * TICK_S - 1.0)
        guess_s = music.peaks_s(_activation(z, heads["boundary"]), TICK_S, gap_s=4.0)
        found["boundary_hr3"] = music.boundary_f(truth_s[inside], guess_s)
        found["boundary_hr05"] = music.boundary_f(truth_s[inside], guess_s, 0.5)
    if "section" in session.arrays and (session["section"][:n] >= 0).any():
        known = session["section"][:n] >= 0
        known[: SETTLE_S * TICKS_PER_S] = False
        guess = heads["section"].read(z).argmax(axis=1)
        found["section"] = float(np.mean(guess[known] == session["section"][:n][known])) if known.any() else nan
    settled = z[SETTLE_S * TICKS_PER_S :]
    for name in ("genre", "key"):
        truth = int(session.arrays.get(name, -1))
        if truth >= 0 and len(settled):
            guess = int(heads[name].read(settled).mean(axis=0).argmax())
            found[name] = music.key_score(truth, guess) if name == "key" else float(guess == truth)
    truth = int(session.arrays.get("scene_kind", -1))
    found["scene"] = (
        float(heads["scene"].read(settled).mean(axis=0).argmax() == truth) if truth >= 0 and len(settled) else nan
    )
    return found


def _activation(z: NDArray[np.floating], head: Head) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(head.read(z)[:, 0], -50, 50))))
