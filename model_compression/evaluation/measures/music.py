"""Beats, section boundaries and keys against the truth, as the music-information field scores them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .framing import Array

BEAT_WINDOW_S = 0.07
BEAT_START_S = 5.0  # what comes before is not scored: a listener needs a moment too
BOUNDARY_WINDOWS_S = (0.5, 3.0)


def n_matched(truth_s: NDArray[np.floating], guess_s: NDArray[np.floating], window_s: float) -> int:
    """Return the largest number of pairs, each instant in at most one, no further apart than the window."""
    truth, guess = np.sort(truth_s), np.sort(guess_s)
    i = j = n = 0
    while i < len(truth) and j < len(guess):
        gap_s = guess[j] - truth[i]
        if abs(gap_s) <= window_s + 1e-9:
            n, i, j = n + 1, i + 1, j + 1
        elif gap_s < 0:
            j += 1
        else:
            i += 1
    return n


def f_measure(truth_s: NDArray[np.floating], guess_s: NDArray[np.floating], window_s: float) -> float:
    """Return the F-measure of two lists of instants; ``nan`` without any truth."""
    if not len(truth_s):
        return float("nan")
    return 2 * n_matched(truth_s, guess_s, window_s) / (len(truth_s) + len(guess_s))


def beat_f(truth_s: NDArray[np.floating], guess_s: NDArray[np.floating]) -> float:
    """Return the beat F-measure, 70 ms either way, from the fifth second on."""
    late = [np.asarray(times)[np.asarray(times) >= BEAT_START_S] for times in (truth_s, guess_s)]
    return f_measure(late[0], late[1], BEAT_WINDOW_S)


def boundary_f(truth_s: NDArray[np.floating], guess_s: NDArray[np.floating], window_s: float = 3.0) -> float:
    """Return the hit rate of section boundaries, HR3 or HR.5; leave the song's begin and end out of both lists."""
    return f_measure(truth_s, guess_s, window_s)


def key_score(truth: int, guess: int) -> float:
    """Return the weighted MIREX score of two keys, index 0 to 11 major from C, 12 to 23 minor.

    1 the same, 0.5 a fifth above in the same mode, 0.3 the relative, 0.2 the parallel key.
    """
    above, is_minor = (guess - truth) % 12, truth >= 12
    if (guess >= 12) == is_minor:
        return {0: 1.0, 7: 0.5}.get(above, 0.0)
    return {0: 0.2, (3 if is_minor else 9): 0.3}.get(above, 0.0)


def peaks_s(activation: Array, tick_s: float, *, threshold: float = 0.5, gap_s: float = 0.2) -> Array:
    """Return the instants where an activation 0 to 1 has a peak over ``threshold``, at least ``gap_s`` apart.

    Causal but for one tick: a peak is known when the next value is lower.
    """
    x = np.asarray(activation, np.float64)
    is_peak = np.r_[False, (x[1:-1] >= x[:-2]) & (x[1:-1] > x[2:]) & (x[1:-1] > threshold), False]
    found: list[float] = []
    for k in np.flatnonzero(is_peak):
        if not found or k * tick_s - found[-1] >= gap_s - 1e-9:
            found.append(float(k * tick_s))
    return np.array(found)
