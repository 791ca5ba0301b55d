"""Feature errors of mixes: known answers, and the known traps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model_compression.evaluation.measures.automix_mape import (
    GROUPS,
    FeatureError,
    compare,
    features,
    group_means,
    sounding_span,
    target_of,
)

RATE_HZ = 44100.0


def compared(reference: np.ndarray, mix: np.ndarray) -> dict[str, dict[str, FeatureError]]:
    return compare(target_of(reference, RATE_HZ), mix, RATE_HZ)


@pytest.fixture(scope="module")
def wide_noise() -> np.ndarray:
    """9 s of noise, each side its own, so that running means over 40 frames exist."""
    return np.random.default_rng(1).standard_normal((int(9 * RATE_HZ), 2)) * 0.07


def test_a_mix_has_no_error_against_itself(wide_noise: np.ndarray) -> None:
    errors = compared(wide_noise, wide_noise)
    assert {group: set(members) for group, members in errors.items()} == {g: set(m) for g, m in GROUPS.items()}
    assert all(e.mape_percent == 0 and e.absolute == 0 for members in errors.values() for e in members.values())


def test_one_lu_is_4_3_percent_at_minus_23_lufs_and_exactly_one_lu_in_the_absolute_twin(wide_noise: np.ndarray) -> None:
    lufs = features(wide_noise)["lufs"].fixed.mean()
    at_23 = wide_noise * 10 ** ((-23.0 - lufs) / 20)
    error = compared(at_23, at_23 * 10 ** (1 / 20))["loudness"]["lufs"]
    assert error.mape_percent == pytest.approx(100 / 23, abs=0.05)
    assert error.absolute == pytest.approx(1.0, abs=1e-9)
    assert error.fixed_percent == pytest.approx(10.0, abs=1e-8)


def test_level_alone_moves_only_the_loudness_group(wide_noise: np.ndarray) -> None:
    means = group_means(compared(wide_noise, wide_noise * 0.5))
    assert means["loudness"] > 10
    assert max(means["spectral"], means["panning"], means["dynamic"]) < 1e-6


def test_percentages_are_asymmetric_but_the_absolute_twin_is_not(wide_noise: np.ndarray) -> None:
    there, back = (
        compared(a, b)["loudness"]["lufs"] for a, b in ((wide_noise, wide_noise * 2), (wide_noise * 2, wide_noise))
    )
    assert there.mape_percent < back.mape_percent - 1
    assert there.absolute == pytest.approx(back.absolute)


def test_a_mono_reference_has_no_panning_to_divide_by_but_an_absolute_error(wide_noise: np.ndarray) -> None:
    mono = wide_noise[:, :1].repeat(2, axis=1)
    error = compared(mono, wide_noise)["panning"]["pan_all"]
    assert math.isnan(error.mape_percent)
    assert error.absolute > 0.1


def test_hard_left_reads_one_in_every_band(wide_noise: np.ndarray) -> None:
    left = wide_noise * np.array([1.0, 0.0])
    assert features(left)["pan_all"].fixed == pytest.approx(1.0, abs=1e-6)


def test_a_sine_has_its_frequency_as_centroid_and_rolloff() -> None:
    t = np.arange(int(2 * RATE_HZ)) / RATE_HZ
    sine = np.repeat(0.5 * np.sin(2 * np.pi * 1000 * t)[:, None], 2, axis=1)
    found = features(sine)
    assert found["centroid"].parity.mean() == pytest.approx(1000, rel=0.02)
    assert found["rolloff"].parity.mean() == pytest.approx(1000, abs=2 * RATE_HZ / 4096)
    assert found["crest"].fixed.mean() == pytest.approx(3.01, abs=0.02)
    assert found["crest"].parity.mean() == pytest.approx(-1 / (-1 - 3.01), abs=0.01)  # peak dB over RMS dB, at -1 dBFS


def test_digital_zeros_enter_the_parity_spread_at_minus_600_db_and_the_fixed_one_at_minus_100() -> None:
    x = np.full((int(2 * RATE_HZ), 2), 0.5)
    x[1::2] = 0.0
    found = features(x)["spread"]
    assert found.parity.mean() == pytest.approx(1 - (-600 / 2 - 1 / 2 - (-1 - 3.01)), abs=0.1)
    assert found.fixed.mean() == pytest.approx(-100 / 2 - 1 / 2 - (-1 - 3.01), abs=0.1)


def test_silence_around_the_reference_is_trimmed_from_both() -> None:
    x = np.zeros((100 * 1024, 2))
    x[30 * 1024 : 60 * 1024] = 0.1
    span = sounding_span(x)
    assert 28 * 1024 <= span.start <= 30 * 1024
    assert 60 * 1024 <= span.stop <= 63 * 1024
