"""Times that a noisy machine cannot spoil: the least of many runs, taken in turn with those they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

ROUNDS = 41  # the minimum of as many interleaved runs varies by 1 to 3 % on a noisy machine


def best_ns(runs: Sequence[Callable[[], float]]) -> list[float]:
    """Return the least time of each in nanoseconds, measured in turn."""
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        best = [min(b, run()) for b, run in zip(best, runs, strict=True)]
    return best
