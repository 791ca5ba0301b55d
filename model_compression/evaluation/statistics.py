"""Paired comparison of two systems: how large the difference is, how sure, and how often one wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm, wilcoxon

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
    rows = np.column_stack([x, np.ones(len(x))])
    return interval_of_sums(rows, lambda sums: np.asarray(sums[..., 0] / sums[..., 1]), seed)


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


@lru_cache(maxsize=8)
def _weights(n: int, seed: int) -> NDArray[np.float64]:
    """Return how often each of ``n`` items is in each resample."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=N_RESAMPLES).astype(np.float64)


def interval_of_sums(
    rows: NDArray[np.floating] | NDArray[np.integer],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % BCa bootstrap interval of a figure that depends on sums over items only.

    Parameters
    ----------
    rows
        ``(n_items, n_sums)``: what each item adds.
    statistic
        From sums ``(..., n_sums)`` to figures ``(...,)``.
    """
    n = len(rows)
    if n < 2:
        return float("nan"), float("nan")
    rows = np.asarray(rows, np.float64)
    total = rows.sum(axis=0)
    weights = _weights(n, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = float(statistic(total))
        drawn, left_out = np.asarray(statistic(weights @ rows)), np.asarray(statistic(total - rows))
    drawn, left_out = drawn[np.isfinite(drawn)], left_out[np.isfinite(left_out)]
    if not math.isfinite(whole) or len(drawn) < N_RESAMPLES // 2:
        return float("nan"), float("nan")
    if np.ptp(drawn) == 0:
        return whole, whole
    gap = left_out.mean() - left_out
    acceleration = float(np.sum(gap**3) / (6 * np.sum(gap**2) ** 1.5)) if np.any(gap) else 0.0
    share = float(np.mean(drawn < whole) + 0.5 * np.mean(drawn == whole))
    bias = float(norm.ppf(np.clip(share, 1 / len(drawn), 1 - 1 / len(drawn))))
    ends = bias + norm.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    low, high = np.quantile(drawn, norm.cdf(bias + ends / (1 - acceleration * ends)))
    return float(low), float(high)


def interval_of_quantile(values: NDArray[np.floating], share: float) -> tuple[float, float]:
    """Return the 95 % interval of a quantile by order statistics, free of any distribution."""
    x = np.sort(np.asarray(values, float))
    if len(x) < 2:
        return float("nan"), float("nan")
    low, high = binom.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], len(x), share).astype(int)
    return float(x[max(low - 1, 0)]), float(x[min(high, len(x) - 1)])
