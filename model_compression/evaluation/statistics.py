"""Paired comparison of two systems: how large the difference is, how sure, and how often one wins."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, wilcoxon

N_RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Paired:
    """``a`` against ``b`` over the items that both have; the difference is a - b."""

    n: int
    mean_difference: float
    low: float
    high: float
    p_value: float
    cliffs_delta: float
    n_lower: int


def interval(values: Sequence[float] | NDArray[np.floating], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % BCa bootstrap interval of the mean; the mean itself when all are equal or there is one."""
    x = np.asarray(values, float)
    x = x[np.isfinite(x)]
    if len(x) == 0:
        return float("nan"), float("nan")
    if len(x) == 1 or np.ptp(x) == 0:
        return float(x.mean()), float(x.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BCa of very few values may degenerate; it then answers nan
        found = bootstrap(
            (x,), np.mean, n_resamples=N_RESAMPLES, confidence_level=CONFIDENCE, method="BCa",
            rng=np.random.default_rng(seed), batch=1000,
        ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def cliffs_delta(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return the share of pairs with a above b minus the share with a below b."""
    gap = np.sign(np.asarray(a, float)[:, None] - np.asarray(b, float)[None, :])
    return float(gap.mean())


def paired(a: Sequence[float] | NDArray[np.floating], b: Sequence[float] | NDArray[np.floating]) -> Paired:
    """Compare two systems item by item; items where either is ``nan`` drop out. Exact for few items (Wilcoxon)."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    nan = float("nan")
    if len(x) == 0:
        return Paired(n=0, mean_difference=nan, low=nan, high=nan, p_value=nan, cliffs_delta=nan, n_lower=0)
    difference = x - y
    low, high = interval(difference)
    p_value = float(wilcoxon(difference).pvalue) if np.any(difference) else 1.0
    return Paired(
        n=len(x),
        mean_difference=float(difference.mean()),
        low=low,
        high=high,
        p_value=p_value,
        cliffs_delta=cliffs_delta(x, y),
        n_lower=int((difference < 0).sum()),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number by Holm's step-down, in the order given; ``nan`` stays."""
    p = np.asarray(p_values, float)
    order = [k for k in np.argsort(p) if np.isfinite(p[k])]
    adjusted, largest = p.copy(), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, (len(order) - rank) * p[k])
        adjusted[k] = min(1.0, largest)
    return [float(value) for value in adjusted]
