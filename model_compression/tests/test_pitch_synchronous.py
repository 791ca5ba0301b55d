"""What moving a voice promises: the pitch, pace and formants that are told, and nothing out of silence."""

from __future__ import annotations

import numpy as np
import pytest
import pyworld
import soxr
from numpy.typing import NDArray

from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.pitch_synchronous import PER_TICK, Marked, marked, moved

N_TICKS = 300
FORMANT_HZ = 1100.0


@pytest.fixture(scope="module")
def f0_hz() -> NDArray[np.float64]:
    return 180 * 2 ** (0.4 * np.sin(np.arange(N_TICKS) / 40) / 12)


@pytest.fixture(scope="module")
def voice(f0_hz: NDArray[np.float64]) -> Marked:
    """Return a pulse train that glides, with one formant."""
    periods = np.cumsum(np.repeat(f0_hz, PER_TICK)) / SAMPLE_RATE_HZ
    tone = sum(
        np.cos(2 * np.pi * k * periods) * (0.3 * (k == 1) + np.exp(-(((k * 180 - FORMANT_HZ) / 400) ** 2)))
        for k in range(1, 30)
    )
    return marked(tone.astype(np.float32), f0_hz)


def _pitch_hz(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    low = soxr.resample(audio.astype(float), SAMPLE_RATE_HZ, 16000)
    f0, at = pyworld.dio(low, 16000, f0_floor=60.0, f0_ceil=600.0)
    return pyworld.stonemask(low, f0, at, 16000)[20 : N_TICKS - 20]


def _centroid_hz(audio: NDArray[np.float32]) -> float:
    power = np.abs(np.fft.rfft(audio)) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE_HZ)
    upper = hz > 450
    return float(np.sum(hz[upper] * power[upper]) / power[upper].sum())


@pytest.mark.parametrize("semitones", [-5, 0, 7])
def test_a_voice_goes_to_the_pitch_that_it_is_told(semitones: int, voice: Marked, f0_hz: NDArray[np.float64]) -> None:
    aim_hz = f0_hz * 2 ** (semitones / 12)
    sound = moved(np.random.default_rng(0), voice, np.arange(N_TICKS, dtype=float), aim_hz)
    assert len(sound) == N_TICKS * PER_TICK
    off_cents = 1200 * np.log2(_pitch_hz(sound) / aim_hz[20 : N_TICKS - 20])
    assert np.abs(np.median(off_cents)) < 3
    assert np.percentile(np.abs(off_cents), 90) < 15


def test_formants_go_with_size_and_stay_where_only_pitch_moves(voice: Marked, f0_hz: NDArray[np.float64]) -> None:
    path = np.arange(N_TICKS, dtype=float)
    plain, high, small = (
        _centroid_hz(moved(np.random.default_rng(0), voice, path, f0_hz * ratio, size=size))
        for ratio, size in ((1.0, 1.0), (1.3, 1.0), (1.0, 1.15))
    )
    assert high == pytest.approx(plain, rel=0.06)
    assert small == pytest.approx(1.15 * plain, rel=0.06)


def test_a_held_place_goes_on_as_long_as_is_told(voice: Marked) -> None:
    sound = moved(np.random.default_rng(1), voice, np.full(N_TICKS, 150.0), np.full(N_TICKS, 220.0))
    level = np.sqrt(np.mean(sound.reshape(-1, 10 * PER_TICK) ** 2, axis=1))
    assert level[1:-1].min() > 0.6 * level[1:-1].max()
    assert np.median(_pitch_hz(sound)) == pytest.approx(220, rel=0.005)


def test_silence_stays_silent_whatever_its_pitch_is_said_to_be() -> None:
    for f0 in (0.0, 200.0):
        voice = marked(np.zeros(N_TICKS * PER_TICK, np.float32), np.full(N_TICKS, f0))
        assert not moved(np.random.default_rng(0), voice, np.arange(N_TICKS, dtype=float), np.full(N_TICKS, f0)).any()
