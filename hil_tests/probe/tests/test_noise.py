"""Noise of known level, weighted and not; loudness of the standard's own signals."""

from __future__ import annotations

import numpy as np
import pytest

from ..errors import ProbeError
from ..levels import a_weighting_db, level_dbfs
from ..loudness import measure_loudness
from ..noise import measure_noise
from ..signals import speech_like, tone
from .paths import RATE_HZ


@pytest.mark.parametrize("level_dbfs_", [-60.0, -96.0, -130.0])
def test_white_noise_has_the_level_it_was_made_with(level_dbfs_: float) -> None:
    power = 0.5 * 10 ** (level_dbfs_ / 10) * 24000 / (20000 - 20)
    noise = np.random.default_rng(2).standard_normal(4 * RATE_HZ) * np.sqrt(power)
    assert measure_noise(noise, RATE_HZ).noise_dbfs == pytest.approx(level_dbfs_, abs=0.1)


def test_a_weighting_of_white_noise_is_that_of_the_integral() -> None:
    noise = np.random.default_rng(2).standard_normal(8 * RATE_HZ) * 1e-4
    freq_hz = np.arange(20.0, 20000.0)
    found = measure_noise(noise, RATE_HZ)
    known_db = 10 * np.log10(np.mean(10 ** (a_weighting_db(freq_hz) / 10)))
    assert found.noise_a_dbfs - found.noise_dbfs == pytest.approx(known_db, abs=0.1)


@pytest.mark.parametrize(("freq_hz", "weight_db"), [(31.5, -39.4), (100, -19.1), (1000, 0), (2500, 1.3), (8000, -1.1)])
def test_a_weighting_is_that_of_the_standards_table(freq_hz: float, weight_db: float) -> None:
    exact_hz = 1000 * 10 ** (round(10 * np.log10(freq_hz / 1000)) / 10)  # the table's nominal frequencies
    assert float(a_weighting_db(exact_hz)) == pytest.approx(weight_db, abs=0.06)


def test_a_full_sine_is_0_dbfs() -> None:
    assert level_dbfs(tone(RATE_HZ, RATE_HZ, freq_hz=1000.0, peak_dbfs=0.0)) == pytest.approx(0.0, abs=1e-9)


def test_digital_silence_is_minus_200() -> None:
    assert measure_noise(np.zeros(RATE_HZ), RATE_HZ).noise_dbfs == -200.0


def test_a_mean_is_told_beside_the_noise() -> None:
    noise = np.random.default_rng(2).standard_normal(RATE_HZ) * 1e-5
    found = measure_noise(noise + 0.02, RATE_HZ)
    assert found.mean_lin == pytest.approx(0.02, abs=1e-6)
    assert found.noise_dbfs < -90.0


def test_something_that_plays_is_no_noise_floor() -> None:
    with pytest.raises(ProbeError, match=r"input 5: -15\.0 dBFS is no noise floor"):
        measure_noise(tone(RATE_HZ, RATE_HZ, peak_dbfs=-15.0), RATE_HZ, where="input 5")


def test_a_stereo_sine_of_1_khz_is_as_loud_as_the_standard_says() -> None:
    """EBU Tech 3341, case 1: -23 dBFS peak on both channels is -23 LUFS."""
    mono = tone(RATE_HZ, 20 * RATE_HZ, freq_hz=1000.0, peak_dbfs=-23.0)
    assert measure_loudness(np.stack([mono, mono], axis=1), RATE_HZ).integrated_lufs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(("frames", "why"), [(np.zeros(RATE_HZ), "no loudness"), (np.ones(100), "too short")])
def test_what_has_no_loudness_is_refused(frames: np.ndarray, why: str) -> None:
    with pytest.raises(ProbeError, match=why):
        measure_loudness(frames, RATE_HZ)


def test_what_sounds_like_speech_has_its_spectrum_and_pauses() -> None:
    speech = speech_like(RATE_HZ, 10.0)
    assert np.max(np.abs(speech)) == pytest.approx(10 ** (-12 / 20))
    power = np.square(np.abs(np.fft.rfft(speech)))
    octave = [power[round(f / 2**0.5 * 10) : round(f * 2**0.5 * 10)].sum() for f in (500, 1000, 2000, 4000)]
    assert np.diff(10 * np.log10(octave)) == pytest.approx([-6.0] * 3, abs=1.5)
    quiet = np.abs(speech).reshape(-1, 480).max(axis=1) < 1e-3
    assert 0.05 < np.mean(quiet) < 0.4
