"""Measures of mixes and settings: known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from model_compression.evaluation import console
from model_compression.evaluation.measures import (
    audio_features,
    balance,
    fitted_levels,
    loudness,
    parameters,
    spectral_loss,
    stability,
)
from model_compression.evaluation.measures.parameters import Band

RATE_HZ = 48000.0


def noise(seconds: float = 4.0, seed: int = 0, n_channels: int = 2) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((int(seconds * RATE_HZ), n_channels)) * 0.1


# ------------------------------------------------------------------------------------------------- audio features


def test_width_is_zero_for_mono_one_for_independent_sides_and_imbalance_shows_the_right() -> None:
    mono, wide = noise(n_channels=1), noise()
    assert audio_features.measure(mono, RATE_HZ).width == pytest.approx(0.0, abs=1e-12)
    assert audio_features.measure(wide, RATE_HZ).width == pytest.approx(1.0, abs=0.02)
    right = audio_features.measure(wide * np.array([0.0, 1.0]), RATE_HZ)
    assert right.imbalance == pytest.approx(1.0)


def test_a_sine_has_a_crest_of_3_db_and_its_energy_in_its_bark_band() -> None:
    t = np.arange(int(4 * RATE_HZ)) / RATE_HZ
    found = audio_features.measure(np.sin(2 * np.pi * 1000 * t), RATE_HZ)
    assert found.crest_db == pytest.approx(3.01, abs=0.01)
    centres = audio_features.bark_filters(RATE_HZ).argmax(axis=1) * RATE_HZ / audio_features.N_FFT
    assert abs(np.log2(centres[found.bark[0].argmax()] / 1000)) < 0.25


def test_af_loss_is_the_weighted_square_of_what_differs() -> None:
    wide = noise()
    a, b = audio_features.measure(wide, RATE_HZ), audio_features.measure(wide * 0.5, RATE_HZ)
    assert audio_features.af_loss(a, a) == 0
    assert audio_features.af_loss(a, b) == pytest.approx(0.1 * (0.05**2) + 0.1 * math.log(2) ** 2, rel=0.01)


def test_kernel_audio_distance_is_about_zero_for_one_distribution_and_large_for_two() -> None:
    rng = np.random.default_rng(3)
    a, b, c = (rng.standard_normal((200, 4)) + shift for shift in (0.0, 0.0, 4.0))
    assert abs(audio_features.kernel_audio_distance(a, b)) < 1.0
    assert audio_features.kernel_audio_distance(c, b) > 50.0


# ------------------------------------------------------------------------------------------------- spectral distance


def test_spectral_distance_is_zero_for_equals_blind_to_a_swap_and_the_same_for_quiet_items() -> None:
    a, b = noise(1.0, 1), noise(1.0, 2)
    assert spectral_loss.stereo_distance(a, a) == 0
    assert spectral_loss.stereo_distance(a[:, ::-1], b) == pytest.approx(spectral_loss.stereo_distance(a, b))
    loud, quiet = (spectral_loss.stereo_distance(a * level, b * level) for level in (1.0, 0.1))
    assert quiet == pytest.approx(loud, rel=0.02)


def test_twice_the_amplitude_is_a_distance_of_one_plus_ln_2() -> None:
    a = noise(1.0, 1)
    assert spectral_loss.stereo_distance(2 * a, a) == pytest.approx(1 + math.log(2), abs=0.01)


# ------------------------------------------------------------------------------------------------- settings


def test_equivalent_equalisers_score_zero() -> None:
    two_halves = [Band(kind="bell", freq_hz=1000, gain_db=3.0, q=1.0)] * 2
    # Two bells of 3 dB are not one of 6 dB; a bell and its inverse are nothing.
    inverse = [Band(kind="bell", freq_hz=1000, gain_db=-3.0, q=1.0)] * 2
    assert parameters.eq_error_db(two_halves + inverse, []) == pytest.approx(0.0, abs=1e-4)
    assert parameters.eq_error_db([Band(kind="bell", freq_hz=1000, gain_db=6.0, q=1.0)], []) > 1.0


def test_tone_errors_by_superposition_match_the_filters() -> None:
    mine, truth = np.array([[3.0, -4.0, 2.0, 0.0]]), np.array([[-1.0, 2.0, 0.0, 5.0]])
    exact = parameters.eq_error_db(parameters.tone_bands(mine[0]), parameters.tone_bands(truth[0]))
    assert parameters.tone_error_db(mine, truth)[0] == pytest.approx(exact, rel=0.1)


def test_compressor_curves_differ_by_what_they_take_away() -> None:
    assert parameters.compressor_error_db((-20.0, 4.0), (-20.0, 4.0)) == 0
    # Without a knee, limiting from -10 on against nothing: reduction 1 to 10 dB on 10 of 61 levels.
    expected = math.sqrt(sum(k * k for k in range(1, 11)) / 61)
    found = parameters.compressor_error_db((-10.0, 1e9), (0.0, 1.0), knee_db=1e-9)
    assert found == pytest.approx(expected, rel=1e-6)
    assert parameters.compressor_error_db((-10.0, 1.0), (-40.0, 1.0)) == 0, "a ratio of 1 has no threshold"


def test_times_pans_and_sends_have_their_own_units() -> None:
    assert parameters.time_error_octaves(40.0, 10.0) == 2.0
    assert parameters.pan_error_degrees(np.array([1.0]), np.array([-1.0]))[0] == 90.0
    found = parameters.send_error_db(np.array([-90.0, -20.0]), np.array([-70.0, -24.0]))
    assert found.tolist() == [0.0, 4.0]


# ------------------------------------------------------------------------------------------------- balance


def test_levels_are_told_exactly_from_strips() -> None:
    stems = [noise(seed=k, n_channels=1)[:, 0] for k in range(4)]
    gains_db, pans = np.array([0.0, -6.0, -12.0, 3.0]), [0.0, 0.5, -0.5, 1.0]
    angles = (np.array(pans) + 1) * np.pi / 4
    strips = [
        10 ** (g / 20) * stem[:, None] * np.array([np.cos(a), np.sin(a)])
        for g, stem, a in zip(gains_db, stems, angles, strict=True)
    ]
    mix = np.sum(strips, axis=0)
    levels = balance.levels_lu(strips, mix, RATE_HZ)
    assert np.diff(levels) == pytest.approx(np.diff(gains_db), abs=0.1)
    assert balance.balance_error_lu(levels + 2.0, levels) == pytest.approx(2.0)
    assert balance.order_tau(levels, levels) == pytest.approx(1.0)
    assert balance.order_tau(-levels, levels) == pytest.approx(-1.0)


def test_levels_are_told_from_the_mix_alone_though_it_is_late_and_equalised() -> None:
    rng = np.random.default_rng(4)
    # Each stem has its own rhythm, as instruments have.
    rhythms = [np.repeat(rng.uniform(0.05, 1.0, 40), int(0.2 * RATE_HZ)) for _ in range(4)]
    stems = [noise(8.0, k, 1) * rhythm[:, None] for k, rhythm in enumerate(rhythms)]
    settings = [
        console.Setting(gain_db=gain, pan=pan, bands=(Band(kind="bell", freq_hz=500.0, gain_db=tone, q=1.0),))
        for gain, pan, tone in ((0.0, 0.0, 0.0), (-6.0, 0.5, 6.0), (-10.0, -0.5, -6.0), (3.0, 1.0, 0.0))
    ]
    made = console.render(stems, settings, RATE_HZ)
    late = np.pad(made.mix, ((200, 0), (0, 0)))[:-200]
    found = fitted_levels.fitted_levels_lu(fitted_levels.stem_powers(stems, RATE_HZ), late, RATE_HZ)
    assert found == pytest.approx(
        balance.levels_lu(list(made.strips), made.mix, RATE_HZ), abs=0.8
    )  # 17 LU under the mix: 0.5


def test_the_lead_stands_over_the_band_by_its_level() -> None:
    lead, band = noise(seed=1), noise(seed=2) * 10 ** (-6 / 20)
    assert balance.lead_to_band_lu([lead, band], [True, False], RATE_HZ) == pytest.approx(6.0, abs=0.1)
    assert math.isnan(balance.lead_to_band_lu([lead, band], [False, False], RATE_HZ))


def test_a_lead_is_masked_by_the_same_band_and_not_by_another() -> None:
    t = np.arange(int(4 * RATE_HZ)) / RATE_HZ
    lead, near, far = (np.sin(2 * np.pi * hz * t)[:, None] for hz in (1000.0, 1030.0, 6000.0))
    assert balance.masking([lead, near], [True, False], RATE_HZ).worst_lead == pytest.approx(1.0, abs=0.02)
    assert balance.masking([lead, far], [True, False], RATE_HZ).worst_lead == pytest.approx(0.0, abs=0.02)
    assert math.isnan(balance.masking([lead, far * 0], [True, False], RATE_HZ).by_channel[1])


def test_loudness_reads_a_full_scale_kilohertz_sine_as_the_recommendation_says() -> None:
    t = np.arange(int(10 * RATE_HZ)) / RATE_HZ
    left = np.stack([np.sin(2 * np.pi * 997 * t), np.zeros_like(t)], axis=1)
    found = loudness.measure(left, RATE_HZ)
    assert found.integrated_lufs == pytest.approx(-3.01, abs=0.05)
    assert found.true_peak_dbtp == pytest.approx(0.0, abs=0.1)
    assert found.peak_to_loudness_lu == pytest.approx(3.01, abs=0.15)
    assert found.loudness_range_lu == pytest.approx(0.0, abs=0.05)
    assert loudness.measure(loudness.at_loudness(left, RATE_HZ, -20.0), RATE_HZ).integrated_lufs == pytest.approx(
        -20.0, abs=0.02
    )


# ------------------------------------------------------------------------------------------------- stability


def test_a_zigzag_is_restless_and_a_ramp_is_not_reversed() -> None:
    ramp = np.linspace(0, 6, 301)[:, None]  # 6 s at 50 Hz: 1 dB a second
    found = stability.of_trajectory(ramp, 0.02)
    assert found.variation_per_minute == pytest.approx(60.0, rel=0.01)
    assert found.max_slew_per_s == pytest.approx(1.0)
    assert found.reversed_percent == 0
    zigzag = stability.of_trajectory(np.tile([0.0, 1.0], 50)[:, None], 0.02)
    assert zigzag.reversed_percent == pytest.approx(100 * 98 / 99)


def test_decisions_count_as_reversed_within_two_seconds_only() -> None:
    moves = [(0, 0.0, 0.0, 2.0), (0, 1.0, 2.0, 1.0), (0, 9.0, 1.0, 3.0), (1, 1.5, 0.0, 0.0)]
    found = stability.of_moves(moves, n_channels=2, duration_s=60.0)
    assert found.reversed_percent == pytest.approx(100 / 3)
    assert found.variation_per_minute == pytest.approx(5.0 / 2)


def test_overshoot_is_what_goes_past_the_target() -> None:
    assert stability.overshoot_percent(np.array([0, 5, 12, 10]), 0.0, 10.0) == pytest.approx(20.0)
    assert stability.overshoot_percent(np.array([0, -5, -9, -10]), 0.0, -10.0) == 0
