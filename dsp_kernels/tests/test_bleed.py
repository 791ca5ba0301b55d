"""Bleed between channels: coherence, delay, source, and what it does to activity."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, lfilter

from dsp_kernels.native import Library
from dsp_kernels.reference import bleed
from dsp_kernels.reference.slow_spectrum import windows
from dsp_kernels.tests.extract import RATE_HZ, Extractor, in_lanes, noise, talker

SECOND = int(RATE_HZ)
N_FRAMES = 5 * SECOND


def leaked(x: np.ndarray, delay_ms: float, gain_db: float = -12.0, low_pass_hz: float = 4000.0) -> np.ndarray:
    """Return ``x`` as a distant microphone hears it: later, softer, duller."""
    later = np.roll(x, round(delay_ms * RATE_HZ / 1000))
    return lfilter(*butter(1, low_pass_hz, fs=RATE_HZ), later) * 10 ** (gain_db / 20)


def delay_of_low_pass_ms(low_pass_hz: float = 4000.0) -> float:
    """Return the delay that a first-order low-pass adds far below its corner."""
    return 1000 / (2 * np.pi * low_pass_hz)


@pytest.mark.parametrize("delay_ms", [1.0, 3.3, 10.0])
def test_bleed_is_found_with_its_source_and_delay(library: Library, delay_ms: float) -> None:
    voice = talker(N_FRAMES)
    microphones = in_lanes(
        noise(N_FRAMES, -65.0, 7),
        leaked(voice, delay_ms) + noise(N_FRAMES, -65.0, 8),
        voice + noise(N_FRAMES, -65.0, 9),
    )
    extractor = Extractor(library, 4)
    records = extractor.run(microphones)
    last = records[-1]
    assert last["bleed_source"][1] == 2
    assert last["bleed_coherence"][1] > 0.7
    coherence, measured_ms = extractor.pair(2, 1)
    assert coherence == pytest.approx(last["bleed_coherence"][1], abs=0.02)
    assert abs(measured_ms - delay_ms) < 0.1, f"{measured_ms:.3f} ms"
    assert extractor.pair(1, 2) == (coherence, -measured_ms)
    assert last["bleed_source"][2] == -1, "the talker is no bleed"
    talks = records["is_active"][200:, 2] > 0
    assert talks.mean() > 0.3
    assert records["is_active"][200:, 1][talks].mean() < 0.05, "bleed counts as activity"


def test_independent_talkers_have_no_bleed_and_stay_active(library: Library) -> None:
    voices = [talker(N_FRAMES, level, seed) for seed, level in ((11, -20.0), (12, -29.0), (13, -23.0), (14, -26.0))]
    extractor = Extractor(library, 4)
    records = extractor.run(in_lanes(*[v + noise(N_FRAMES, -65.0, 20 + i) for i, v in enumerate(voices)]))
    for a in range(4):
        for b in range(4):
            if a != b:
                assert extractor.pair(a, b)[0] < 0.3
    assert (records["bleed_coherence"][-1] < 0.3).all()
    for ch, voice in enumerate(voices):
        level = np.sqrt(np.mean(np.square(voice[: len(records) * 480]).reshape(-1, 480), axis=1))
        assert records["is_active"][level > 0.3 * level.max(), ch].mean() > 0.98


def test_turns_of_two_talkers_leave_both_delays_sharp(library: Library) -> None:
    turn = np.arange(8 * SECOND) // SECOND % 2 == 0
    one, two = talker(8 * SECOND, -20.0, 31) * turn, talker(8 * SECOND, -20.0, 32) * ~turn
    extractor = Extractor(library, 4)
    first = one + leaked(two, 4.0)
    second = two + leaked(one, 4.0)
    idle = leaked(one, 2.0) + leaked(two, 7.0)
    parts = [x + noise(8 * SECOND, -66.0, 40 + i) for i, x in enumerate((first, second, idle))]
    records = extractor.run(in_lanes(*parts))
    assert extractor.pair(0, 2)[0] > 0.6
    assert abs(extractor.pair(0, 2)[1] - 2.0) < 0.1
    assert extractor.pair(1, 2)[0] > 0.6
    assert abs(extractor.pair(1, 2)[1] - 7.0) < 0.1
    settled = records["is_active"][400:]
    assert settled[:, 2].mean() < 0.1, "the idle microphone only hears the others"
    hop_turn = turn[480 * 400 :: 480][: len(settled)]
    assert settled[~hop_turn, 0].mean() < 0.15
    assert settled[hop_turn, 1].mean() < 0.15


def test_a_talker_over_bleed_is_active(library: Library) -> None:
    voice, own = talker(N_FRAMES, -20.0, 51), talker(N_FRAMES, -22.0, 52)
    records = Extractor(library, 4).run(in_lanes(voice, own + leaked(voice, 3.0)))
    level = np.sqrt(np.mean(np.square(own).reshape(-1, 480), axis=1))
    assert records["is_active"][200:, 1][level[200:] > 0.5 * level.max()].mean() > 0.95


@pytest.mark.parametrize("other", ["bleed", "talker", "noise"])
def test_coherence_and_delay_match_their_float64_reference(library: Library, other: str) -> None:
    voice = talker(N_FRAMES, -20.0, 61)
    others = {
        "bleed": leaked(voice, 5.2) + noise(N_FRAMES, -60.0, 63),
        "talker": talker(N_FRAMES, -55.0, 62),
        "noise": noise(N_FRAMES, -60.0, 64),
    }
    x = in_lanes(voice, others[other])
    extractor = Extractor(library, 4)
    records = extractor.run(x)
    spectra = windows(x, 4, 480)
    # Taken in the last hop of a cycle, learnt in the next, judged in turn: the pair knows all but the latest cycles.
    floor_dbfs = records["noise_floor_dbfs"][5::6, 0]
    known = range(len(floor_dbfs) - 4, len(floor_dbfs))
    twins = [bleed.pair(spectra[:n, :, 0], spectra[:n, :, 1], floor_dbfs[:n], 12000.0) for n in known]
    coherence, delay_ms = extractor.pair(0, 1)
    assert min(abs(coherence - expected) for expected, _ in twins) < 0.001
    if other == "bleed":
        assert min(abs(delay_ms - expected) for _, expected in twins if expected is not None) < 0.01


def test_a_tone_has_no_delay(library: Library) -> None:
    """The phase of a tone says nothing about whole periods."""
    tone = 0.2 * np.sin(2 * np.pi * 1000 * np.arange(N_FRAMES) / RATE_HZ)
    extractor = Extractor(library, 4)
    extractor.run(in_lanes(tone, leaked(tone, 6.3)))
    assert extractor.pair(0, 1)[1] == 0.0


def test_nothing_is_known_before_there_was_enough_sound(library: Library) -> None:
    voice = talker(SECOND // 3)
    extractor = Extractor(library, 4)
    extractor.run(in_lanes(voice, leaked(voice, 3.0)))
    assert extractor.pair(0, 1) == (0.0, 0.0)
    assert extractor.pair(0, 0) == extractor.pair(0, 9) == (0.0, 0.0)
