"""Distortion that was put in comes out as the same figure."""

from __future__ import annotations

import numpy as np
import pytest

from ..distortion import measure_distortion, measure_multitone
from ..errors import ProbeError
from ..signals import multitone, tone, tone_bins
from .paths import RATE_HZ

N_FRAMES = 2 * RATE_HZ
MAX_ERROR_DB = 0.5
BAND_SHARE = (20000.0 - 20.0) / (RATE_HZ / 2)  # of white noise


def white(level_db: float, of: np.ndarray, seed: int = 3) -> np.ndarray:
    """Return white noise whose part from 20 Hz to 20 kHz lies so many dB over a signal."""
    power = np.mean(np.square(of)) * 10 ** (level_db / 10) / BAND_SHARE
    return np.random.default_rng(seed).standard_normal(len(of)) * np.sqrt(power)


@pytest.mark.parametrize("freq_hz", [60.0, 997.0, 6000.0])
@pytest.mark.parametrize("thd_n_db", [-20.0, -60.0, -100.0, -110.0])
def test_thd_n_of_noise_is_right(thd_n_db: float, freq_hz: float) -> None:
    clean = tone(RATE_HZ, N_FRAMES, freq_hz=freq_hz)
    found = measure_distortion(clean + white(thd_n_db, clean), RATE_HZ, freq_hz)
    assert found.thd_n_db == pytest.approx(thd_n_db, abs=MAX_ERROR_DB)


@pytest.mark.parametrize("thd_db", [-40.0, -80.0, -100.0])
def test_thd_of_known_harmonics_is_right(thd_db: float) -> None:
    clean = tone(RATE_HZ, N_FRAMES)
    dirt = tone(RATE_HZ, N_FRAMES, freq_hz=2 * 997.0) + 0.5 * tone(RATE_HZ, N_FRAMES, freq_hz=3 * 997.0)
    found = measure_distortion(clean + 10 ** (thd_db / 20) / np.sqrt(1.25) * dirt, RATE_HZ, 997.0)
    assert found.thd_db == pytest.approx(thd_db, abs=0.05)
    assert found.thd_n_db == pytest.approx(thd_db, abs=0.05)
    assert found.harmonics_db[0] - found.harmonics_db[1] == pytest.approx(6.02, abs=0.05)


def test_one_percent_is_one_percent() -> None:
    clean = tone(RATE_HZ, N_FRAMES, peak_dbfs=0.0)
    found = measure_distortion(
        clean + 0.01 * np.cos(2 * np.pi * 2 * 997.0 / RATE_HZ * np.arange(N_FRAMES)), RATE_HZ, 997.0
    )
    assert found.figures()["thd_n_percent"] == pytest.approx(1.0, abs=0.01)
    assert found.level_dbfs == pytest.approx(0.0, abs=0.001)


def test_the_method_itself_distorts_less_than_a_millionth() -> None:
    assert measure_distortion(tone(RATE_HZ, N_FRAMES), RATE_HZ, 997.0).thd_n_db < -120.0


@pytest.mark.parametrize("ppm", [-200, 13, 200])
def test_another_clock_does_not_show_as_distortion(ppm: int) -> None:
    found = measure_distortion(tone(RATE_HZ, N_FRAMES, freq_hz=997.0 * (1 + ppm * 1e-6)), RATE_HZ, 997.0)
    assert found.thd_n_db < -120.0
    assert found.freq_hz == pytest.approx(997.0 * (1 + ppm * 1e-6), abs=1e-6)


def test_a_mean_is_no_distortion() -> None:
    assert measure_distortion(tone(RATE_HZ, N_FRAMES) + 0.01, RATE_HZ, 997.0).thd_n_db < -120.0


@pytest.mark.parametrize(
    "recorded",
    [np.random.default_rng(1).standard_normal(N_FRAMES) * 0.1, tone(RATE_HZ, N_FRAMES, freq_hz=1200.0)],
    ids=["noise", "another tone"],
)
def test_without_the_tone_there_is_no_figure(recorded: np.ndarray) -> None:
    with pytest.raises(ProbeError, match="input 3: no steady tone of 997 Hz"):
        measure_distortion(recorded, RATE_HZ, 997.0, where="input 3")


BINS = tone_bins(RATE_HZ, RATE_HZ, 31, 20.0, 20000.0)
MANY = multitone(RATE_HZ, BINS)


@pytest.mark.parametrize("tdn_db", [-30.0, -70.0, -100.0])
def test_noise_between_many_tones_is_right(tdn_db: float) -> None:
    found = measure_multitone(MANY + white(tdn_db, MANY), RATE_HZ, BINS)
    assert found.tdn_db == pytest.approx(tdn_db, abs=MAX_ERROR_DB)
    assert found.n_tones == 31


def test_distortion_between_many_tones_shows_and_the_clean_signal_has_none() -> None:
    assert measure_multitone(MANY, RATE_HZ, BINS).tdn_db < -150.0
    bent = MANY + 0.1 * MANY**2
    square = 0.1 * MANY**2 - np.mean(0.1 * MANY**2)
    known_db = 10 * np.log10(np.mean(square**2) / np.mean(MANY**2))
    # 20 Hz to 20 kHz holds most of the products, not all.
    assert measure_multitone(bent, RATE_HZ, BINS).tdn_db == pytest.approx(known_db, abs=1.5)


def test_many_tones_from_another_clock_are_refused() -> None:
    stretched = np.interp(np.arange(RATE_HZ) * (1 + 50e-6), np.arange(2 * RATE_HZ), np.tile(MANY, 2))
    with pytest.raises(ProbeError, match="two clocks"):
        measure_multitone(stretched, RATE_HZ, BINS)


def test_many_tones_that_are_not_there_are_refused() -> None:
    with pytest.raises(ProbeError, match="the tones are not there"):
        measure_multitone(np.random.default_rng(1).standard_normal(RATE_HZ), RATE_HZ, BINS)
