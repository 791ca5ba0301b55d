"""Latency, gain and polarity of delay lines and filters; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from ..arrival import Arrival, measure_arrival
from ..errors import ProbeError
from ..signals import impulse, mls, speech_like, sweep, tone
from .paths import RATE_HZ, delayed, high_pass, with_noise

SIGNALS = {"mls": mls(), "sweep": sweep(RATE_HZ, 1.0), "impulse": impulse(1000, at_frame=3)}


def arrival_of(played: np.ndarray, recorded: np.ndarray) -> Arrival:
    return measure_arrival(played, recorded, RATE_HZ, where="input 3")


@pytest.mark.parametrize("delay", [0, 1, 47, 176, 4800])
@pytest.mark.parametrize("signal", SIGNALS)
def test_latency_is_exact_to_the_frame(signal: str, delay: int) -> None:
    found = arrival_of(SIGNALS[signal], delayed(SIGNALS[signal], delay))
    assert found.latency_frames == delay
    assert found.fine_latency_frames == pytest.approx(delay, abs=0.01)
    assert found.gain_db == pytest.approx(0.0, abs=0.02)
    assert found.polarity == 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("signal", ["mls", "sweep"])
def test_latency_is_exact_with_noise_20_db_under_the_signal(signal: str, seed: int) -> None:
    recorded = with_noise(delayed(SIGNALS[signal], 311), 20.0, seed=seed)
    assert arrival_of(SIGNALS[signal], recorded).latency_frames == 311


def test_a_delay_between_frames_is_told_beside_the_frame() -> None:
    played = mls(12)
    spectrum = np.fft.rfft(delayed(played, 100), 16384)
    for part in (0.25, 0.4, -0.3):
        shift = np.exp(-2j * np.pi * np.fft.rfftfreq(16384) * part)
        found = arrival_of(played, np.fft.irfft(spectrum * shift, 16384)[:12000])
        assert found.latency_frames == 100
        assert found.fine_latency_frames == pytest.approx(100 + part, abs=0.02)


def test_inverted_polarity_shows_and_costs_no_gain() -> None:
    found = arrival_of(mls(), -delayed(mls(), 20))
    assert (found.polarity, found.gain_db) == (-1, pytest.approx(0.0, abs=0.02))


def test_half_a_db_shows() -> None:
    recorded = with_noise(delayed(mls(), 20), 60.0) * 10.0 ** (-0.5 / 20)
    assert arrival_of(mls(), recorded).gain_db == pytest.approx(-0.5, abs=0.02)


def test_a_high_pass_in_the_path_moves_neither_frame_nor_sign() -> None:
    recorded = lfilter(*high_pass(100.0), -delayed(mls(), 64))
    found = arrival_of(mls(), recorded)
    assert (found.latency_frames, found.polarity) == (64, -1)


def test_a_path_with_peaks_of_both_signs_has_no_polarity() -> None:
    assert arrival_of(mls(), lfilter([1.0, -1.0], [1.0], delayed(mls(), 64))).polarity == 0


@pytest.mark.parametrize("seed", range(4))
def test_noise_alone_is_no_arrival(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal(48000) * 0.1
    with pytest.raises(ProbeError, match="nothing came back on input 3"):
        arrival_of(mls(), noise)


@pytest.mark.parametrize("other", [tone(RATE_HZ, 48000), speech_like(RATE_HZ, 1.0)], ids=["tone", "speech"])
def test_another_signal_is_no_arrival(other: np.ndarray) -> None:
    with pytest.raises(ProbeError, match="nothing came back on input 3"):
        arrival_of(mls(), other)


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (np.zeros(20000), "nothing came back on input 3: digital silence"),
        (delayed(mls(), 20)[:16390], "the recording ends before"),
        (delayed(mls(), 0)[40:], "came back 40 frames before it was played"),
        (delayed(mls(), 20)[:300], "input 3: 300 frames are too few"),
        (delayed(mls(), 100) + np.roll(delayed(mls(), 100), 1000), "two arrivals of like level, after 100 and 1100"),
        (np.where(np.arange(30000) == 777, np.nan, 0.1), "1 frames are not numbers, the first is 777"),
    ],
    ids=["silence", "cut off", "too early", "short", "twice", "nan"],
)
def test_what_cannot_be_told_is_refused(recorded: np.ndarray, why: str) -> None:
    with pytest.raises(ProbeError, match=why):
        arrival_of(mls(), recorded)
