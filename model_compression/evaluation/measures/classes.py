"""Classification: confusion, F1, area under the curve, calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from .framing import Array

Z_90 = float(norm.ppf(0.95))
N_BINS = 10
N_SCORE_BINS = 256


def confusion(truth: NDArray[np.integer], guess: NDArray[np.integer], n_classes: int) -> NDArray[np.int64]:
    """Return counts, rows truth, columns guess."""
    return np.bincount(np.asarray(truth) * n_classes + np.asarray(guess), minlength=n_classes**2).reshape(n_classes, -1)


def f1_by_class(counts: NDArray[np.integer] | NDArray[np.floating]) -> Array:
    """Return the F1 of each class of counts ``(..., n, n)``; ``nan`` for one that the truth does not hold."""
    hit = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    total = counts.sum(axis=-2) + counts.sum(axis=-1)
    return np.where(counts.sum(axis=-1) > 0, 2 * hit / np.maximum(total, 1e-9), np.nan)


def macro_f1(counts: NDArray[np.integer]) -> float:
    """Return the mean F1 over the classes that the truth holds."""
    return float(np.nanmean(f1_by_class(counts)))


def accuracy(counts: NDArray[np.integer]) -> float:
    """Return the share on the diagonal."""
    return float(np.trace(counts) / max(counts.sum(), 1))


def binary_f1(truth: NDArray[np.bool_], guess: NDArray[np.bool_]) -> float:
    """Return the F1 of the true class; 1 where there is nothing to find and nothing was found."""
    hit, total = int((truth & guess).sum()), int(truth.sum() + guess.sum())
    return 2 * hit / total if total else 1.0


def roc_auc(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Return the probability that a true one scores above a false one, ties half; ``nan`` without both."""
    truth = np.asarray(truth, bool).ravel()
    n_true, n_false = int(truth.sum()), int((~truth).sum())
    if not n_true or not n_false:
        return float("nan")
    ranks = rankdata(np.asarray(score).ravel())
    return float((ranks[truth].sum() - n_true * (n_true + 1) / 2) / (n_true * n_false))


def interval_coverage(error: NDArray[np.floating], sigma: NDArray[np.floating], z: float = Z_90) -> float:
    """Return the share of errors inside ``z`` sigma: 0.9 for a calibrated normal at the default."""
    return float(np.mean(np.abs(error) <= z * np.asarray(sigma)))


def reliability(confidence: NDArray[np.floating], is_right: NDArray[np.bool_]) -> list[tuple[float, float, int]]:
    """Return mean confidence, share right and count of each tenth of the confidence that is not empty."""
    index = np.minimum((np.asarray(confidence) * N_BINS).astype(int), N_BINS - 1)
    return [
        (float(confidence[index == k].mean()), float(is_right[index == k].mean()), int((index == k).sum()))
        for k in range(N_BINS)
        if (index == k).any()
    ]


def calibration_error(confidence: NDArray[np.floating], is_right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error: mean gap between confidence and share right, weighted by count."""
    bins = reliability(confidence, is_right)
    n = sum(count for *_, count in bins)
    return float(sum(abs(said - right) * count for said, right, count in bins) / n) if n else float("nan")


def binned_scores(pairs: list[tuple[NDArray[np.bool_], NDArray[np.floating]]]) -> NDArray[np.int64]:
    """Return counts of each item's true and false scores in bins that all share, ``(n_items, 2 * N_SCORE_BINS)``."""
    if not pairs:
        return np.zeros((0, 2 * N_SCORE_BINS), np.int64)
    scores = np.concatenate([np.asarray(score, float) for _, score in pairs])
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, N_SCORE_BINS)))[1:]
    rows = []
    for truth, score in pairs:
        index = np.searchsorted(edges, score, side="right")
        rows.append(np.concatenate([np.bincount(index[truth == wanted], minlength=N_SCORE_BINS)
                                    for wanted in (True, False)]))  # fmt: skip
    return np.array(rows)


def auc_of_bins(sums: NDArray[np.floating]) -> Array:
    """Return the area under the curve from sums of ``binned_scores``, ties within a bin half."""
    true, false = np.split(np.asarray(sums, float), 2, axis=-1)
    under = np.cumsum(false, axis=-1) - false
    pairs = true.sum(axis=-1) * false.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sum(true * (under + 0.5 * false), axis=-1) / pairs)
