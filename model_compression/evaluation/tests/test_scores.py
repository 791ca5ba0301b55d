"""Classification, music and statistics: known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model_compression.evaluation import statistics
from model_compression.evaluation.measures import classes, music


def test_macro_f1_counts_each_class_of_the_truth_alike() -> None:
    counts = classes.confusion(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 3)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert classes.macro_f1(counts) == pytest.approx((0.8 + 2 / 3) / 2)
    assert classes.accuracy(counts) == 0.75
    assert classes.binary_f1(np.array([True, True, False]), np.array([True, False, True])) == 0.5


def test_area_under_the_curve_is_one_for_order_half_for_ties_and_nothing_without_both() -> None:
    truth = np.array([False, False, True, True])
    assert classes.roc_auc(truth, np.array([0.1, 0.2, 0.3, 0.4])) == 1.0
    assert classes.roc_auc(truth, np.ones(4)) == 0.5
    assert math.isnan(classes.roc_auc(np.ones(4, bool), np.ones(4)))


def test_calibration_knows_an_honest_normal_and_a_boaster() -> None:
    error = np.random.default_rng(0).standard_normal(50_000)
    assert classes.interval_coverage(error, np.ones(50_000)) == pytest.approx(0.90, abs=0.01)
    confidence, is_right = np.full(100, 0.9), np.arange(100) < 60
    assert classes.calibration_error(confidence, is_right) == pytest.approx(0.3)
    assert classes.reliability(confidence, is_right) == [(pytest.approx(0.9), 0.6, 100)]


def test_beats_count_within_70_ms_once_each_and_after_five_seconds() -> None:
    truth = np.arange(0.0, 20.0, 0.5)
    assert music.beat_f(truth, truth + 0.069) == 1.0
    assert music.beat_f(truth, truth + 0.08) == 0.0
    # Twice the tempo: all are found, half of the guesses are wrong.
    assert music.beat_f(truth, np.arange(0.0, 20.0, 0.25)) == pytest.approx(2 * 30 / (30 + 60))
    assert music.beat_f(truth, np.r_[[0.1, 0.2, 0.3], truth]) == 1.0, "the first five seconds are not scored"


def test_boundaries_hit_within_three_seconds() -> None:
    truth, guess = np.array([30.0, 60.0, 90.0]), np.array([31.0, 62.5, 80.0])
    assert music.boundary_f(truth, guess) == pytest.approx(2 / 3)
    assert music.boundary_f(truth, guess, 0.5) == 0.0
    assert music.n_matched(np.array([1.0, 1.1]), np.array([1.05]), 0.07) == 1


@pytest.mark.parametrize(
    ("truth", "guess", "score"),
    [
        (0, 0, 1.0),
        (0, 7, 0.5),
        (0, 5, 0.0),
        (0, 21, 0.3),
        (21, 0, 0.3),
        (0, 12, 0.2),
        (12, 0, 0.2),
        (12, 19, 0.5),
        (0, 13, 0),
    ],
)
def test_key_scores_a_fifth_half_a_relative_third_a_parallel_fifth(truth: int, guess: int, score: float) -> None:
    assert music.key_score(truth, guess) == score


def test_peaks_are_over_the_threshold_and_apart() -> None:
    x = np.zeros(100)
    x[[10, 14, 40, 70]] = [0.9, 0.8, 0.7, 0.3]
    assert music.peaks_s(x, 0.02).tolist() == pytest.approx([0.2, 0.8])


def test_holm_steps_down_and_never_reorders() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.9, 0.9])[0] == 1.0


def test_paired_comparison_finds_a_planted_difference_and_its_size() -> None:
    rng = np.random.default_rng(0)
    song = rng.standard_normal(40) * 3
    a, b = song + 1.0 + 0.2 * rng.standard_normal(40), song
    found = statistics.paired(a, b)
    assert found.n == 40
    assert found.low < 1.0 < found.high
    assert found.high - found.low < 0.2
    assert found.p_value < 1e-6
    assert found.n_lower == 0
    assert statistics.paired(a, a).p_value == 1.0
    assert statistics.paired([1.0, math.nan], [2.0, 2.0]).n == 1


def test_cliffs_delta_is_one_when_all_are_above() -> None:
    assert statistics.cliffs_delta(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert statistics.cliffs_delta(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0.0


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = [low <= 1.0 <= high for low, high in (statistics.interval(rng.exponential(size=30)) for _ in range(40))]
    assert sum(covered) >= 33  # 95 % of 40 are 38; 33 and fewer happen once in 500


def test_an_interval_of_sums_covers_a_ratio_as_often_as_it_says() -> None:
    """A root mean square of items of unequal length, whose truth is known."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(40):
        counts = rng.integers(5, 40, 30)
        rows = np.array([(np.sum(rng.normal(0, 2.0, n) ** 2), n) for n in counts])
        low, high = statistics.interval_of_sums(rows, lambda sums: np.sqrt(sums[..., 0] / sums[..., 1]))
        covered += low <= 2.0 <= high
    assert covered >= 33


def test_the_area_under_binned_scores_is_that_of_the_scores_themselves() -> None:
    rng = np.random.default_rng(1)
    pairs = [(truth, rng.standard_normal(500) + 1.5 * truth) for truth in rng.random((6, 500)) < 0.3]
    binned = classes.binned_scores(pairs)
    assert binned.sum() == 3000
    exact = classes.roc_auc(*(np.concatenate(column) for column in zip(*pairs, strict=True)))
    assert float(classes.auc_of_bins(binned.sum(axis=0))) == pytest.approx(exact, abs=2e-3)


def test_f1_of_several_counts_at_once_is_that_of_each() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (4, 5, 5))
    assert classes.f1_by_class(counts) == pytest.approx(np.array([classes.f1_by_class(one) for one in counts]))
