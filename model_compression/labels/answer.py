"""What a finished mix says about its channels: lag, level by stretch, position, and with a fit the whole strip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..loaders.audio import SAMPLE_RATE_HZ
from ..loaders.session import LoadedSession, fitted
from . import alignment, closed_form
from .fit import Fit, fit

Array = NDArray[np.float64]

STRETCH_S = 8.0
MAX_RESIDUAL_DB = -3.0  # of the closed form: above it, most of the mix is something else
MAX_FIT_RESIDUAL_DB = -15.0
UNLEVELLED_LU = 12.0  # a stretch may differ so much from the whole


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Of one session; everything ``(n_channels,)`` unless said.

    Attributes
    ----------
    lag_frames
        By how much the mix was late before it was aligned; None when the stems disagree about it.
    gain_db
        Loudness of a channel in the mix over that of its stem.
    stretch_gain_db
        The same by stretch of STRETCH_S, ``(n_stretches, n_channels)``.
    confidence
        0 to 1; all 0 where the mix is not made of the stems.
    whole
        The closed form.
    fitted
        The console's fit, when asked for and under the cap.
    fit_residual_db
        What the fit left, kept or not.
    """

    lag_frames: int | None
    gain_db: Array
    stretch_gain_db: Array
    pan: Array
    confidence: Array
    whole: closed_form.Balance
    fitted: Fit | None
    fit_residual_db: float | None


def mix_of(session: LoadedSession, stems: list[NDArray[np.float32]], mix: NDArray[np.float32] | None) -> NDArray | None:
    """Return the session's mix: its own, or the sum of its channels where that is the mix."""
    if mix is None and session.is_mix_the_sum:
        return np.sum([np.broadcast_to(stem, (len(stem), 2)) for stem in stems], axis=0, dtype=np.float32)
    return mix


def answer(
    stems: list[NDArray[np.float32]],
    mix: NDArray[np.float32],
    *,
    has_fit: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Answer:
    """Return what ``mix`` ``(n_frames, 2)`` says about ``stems``, each ``(n_frames, 1 or 2)``, at 48 kHz."""
    middle = mix.mean(axis=1)
    energy = np.array([float(np.mean(stem**2)) for stem in stems])
    is_heard = energy > energy.max(initial=0.0) * 10 ** (closed_form.SILENT_DB / 10)
    lags = [alignment.lag(stem.mean(axis=1), middle) for stem, heard in zip(stems, is_heard, strict=True) if heard]
    common = alignment.common_lag(lags)
    if common:
        mix = fitted(mix[common:] if common > 0 else np.pad(mix, [(-common, 0), (0, 0)]), len(mix))
    step = round(STRETCH_S * SAMPLE_RATE_HZ)
    bounds = [(begin, min(begin + step, len(mix))) for begin in range(0, len(mix), step)]
    whole, parts = closed_form.balances(stems, mix, bounds)
    gain_db = closed_form.loudness_gain_db(stems, mix, SAMPLE_RATE_HZ, whole.side_gain_lin)
    is_ours = common is not None and whole.residual_db < MAX_RESIDUAL_DB
    moved = np.stack([part.gain_db - whole.gain_db for part in parts])
    told = fit(stems, mix, SAMPLE_RATE_HZ, tell=tell) if has_fit and is_ours else None
    is_kept = told is not None and told.residual_db < MAX_FIT_RESIDUAL_DB
    return Answer(
        lag_frames=common,
        gain_db=gain_db,
        stretch_gain_db=gain_db + np.clip(moved, -UNLEVELLED_LU, UNLEVELLED_LU),
        pan=told.pan if told is not None and is_kept else whole.pan,
        confidence=whole.confidence * is_ours,
        whole=whole,
        fitted=told if is_kept else None,
        fit_residual_db=None if told is None else told.residual_db,
    )
