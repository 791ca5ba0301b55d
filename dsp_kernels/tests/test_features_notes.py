"""Onsets, attack, decay, activity, roughness and syllabic modulation of sounds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.native import Library
from dsp_kernels.reference import envelope, roughness
from dsp_kernels.reference.slow_spectrum import windows
from dsp_kernels.tests.extract import RATE_HZ, Extractor, in_lanes, noise, talker

NOTE_EVERY_S = 0.8
SECOND = int(RATE_HZ)


def notes(shape: np.ndarray, n_notes: int = 4, freq_hz: float = 440.0) -> np.ndarray:
    """Return a tone under ``n_notes`` repetitions of an amplitude ``shape``, after 0.3 s of faint noise."""
    every = int(NOTE_EVERY_S * RATE_HZ)
    amplitude = np.tile(np.pad(shape, (0, every - len(shape))), n_notes)
    amplitude = np.concatenate([np.zeros(int(0.3 * RATE_HZ)), amplitude])
    tone = 0.5 * np.sin(2 * np.pi * freq_hz * np.arange(len(amplitude)) / RATE_HZ)
    return amplitude * tone + noise(len(tone), -85.0)


@pytest.mark.parametrize("ramp_ms", [0.0, 10.0, 30.0, 100.0, 200.0])
@pytest.mark.parametrize("freq_hz", [440.0, 3000.0])
def test_attack_is_the_rise_of_the_note(library: Library, ramp_ms: float, freq_hz: float) -> None:
    n_ramp = int(ramp_ms * 48)
    shape = np.concatenate([np.arange(n_ramp) / max(n_ramp, 1), np.ones(int(0.5 * RATE_HZ) - n_ramp)])
    attack_ms = Extractor(library, 4).run(in_lanes(notes(shape, freq_hz=freq_hz)))["attack_ms"][-1, 0]
    assert attack_ms == pytest.approx(envelope.rise_ms(shape, RATE_HZ), rel=0.2, abs=1.0)
    if ramp_ms >= 10:
        assert attack_ms == pytest.approx(0.8 * ramp_ms, rel=0.2)


@pytest.mark.parametrize("db_per_s", [30.0, 100.0, 300.0])
@pytest.mark.parametrize("freq_hz", [60.0, 440.0])
def test_decay_is_the_fall_of_the_note(library: Library, db_per_s: float, freq_hz: float) -> None:
    shape = 10 ** (-db_per_s / 20 * np.arange(int(0.75 * RATE_HZ)) / RATE_HZ)
    decay = Extractor(library, 4).run(in_lanes(notes(shape, freq_hz=freq_hz)))["decay_db_per_s"][-1, 0]
    assert decay == pytest.approx(db_per_s, rel=0.2)


def test_each_note_has_one_onset_where_it_begins_that_lasts_two_hops(library: Library) -> None:
    shape = np.exp(-6 * np.arange(int(0.7 * RATE_HZ)) / RATE_HZ)
    onset = Extractor(library, 4).run(in_lanes(notes(shape, 5)))["onset"][:, 0]
    expected_s = 0.3 + NOTE_EVERY_S * np.arange(5)
    found_s = np.flatnonzero(np.diff(onset, prepend=0.0) > 0) * 0.01
    assert len(found_s) == 5, f"onsets at {found_s} s"
    assert np.abs(found_s - expected_s).max() <= 0.02
    assert onset[::2].sum() == onset[1::2].sum() == 5, "who looks every second hop does not see each onset once"


@pytest.mark.parametrize("freq_hz", [41.2, 110.0, 1000.0])
def test_a_held_tone_and_steady_noise_have_no_onsets(library: Library, freq_hz: float) -> None:
    tone = 0.3 * np.sin(2 * np.pi * freq_hz * np.arange(3 * SECOND) / RATE_HZ)
    records = Extractor(library, 4).run(in_lanes(tone, noise(3 * SECOND, -30.0), noise(3 * SECOND, -30.0, 2, 500.0)))
    assert not records["onset"][20:, :3].any()


def test_a_change_of_tone_at_equal_level_is_an_onset(library: Library) -> None:
    t = np.arange(SECOND) / RATE_HZ
    chords = [sum(np.sin(2 * np.pi * f * k * t) / k for k in range(1, 12)) * 0.1 for f in (110.0, 164.8, 233.1)]
    onset = Extractor(library, 4).run(in_lanes(np.concatenate(chords)))["onset"][:, 0]
    for change in (100, 200):
        assert onset[change : change + 4].any(), f"nothing within 40 ms of hop {change}"


def test_speech_has_more_syllabic_modulation_than_anything_steady(library: Library) -> None:
    n = 6 * SECOND
    t = np.arange(n) / RATE_HZ
    slow = noise(n, -20.0, 4) * (1 + np.sin(2 * np.pi * 1.0 * t))
    fast = noise(n, -20.0, 5) * (1 + np.sin(2 * np.pi * 14.0 * t))
    records = Extractor(library, 4).run(in_lanes(talker(n), noise(n), slow, fast))
    talking, steady, swell, flutter = records["syllabic_modulation"][-1]
    assert talking > 0.5
    assert max(steady, swell, flutter) < 0.6 * talking


def test_activity_follows_the_talker_and_not_the_noise(library: Library) -> None:
    n = 8 * SECOND
    quiet, loud = noise(n, -62.0, 1), noise(n, -20.0, 2, 3000.0)
    loud[: 2 * SECOND] = 0
    loud[5 * SECOND :] = 0
    records = Extractor(library, 4).run(in_lanes(quiet + loud, quiet, np.zeros(n), noise(n, -85.0)))
    active = records["is_active"]
    assert active[:199, 0].mean() < 0.02, "active before the talker began"
    assert active[205:490, 0].all(), "lost the talker"
    assert not active[520:, 0].any(), "active after the talker ended"
    assert not active[:, 1:].any(), "noise, silence or sound under the gate counts as activity"


def test_noise_that_comes_on_is_soon_the_new_floor(library: Library) -> None:
    n = 16 * SECOND
    x = noise(n, -65.0)
    x[2 * SECOND :] += noise(n - 2 * SECOND, -50.0, 3)
    records = Extractor(library, 4).run(in_lanes(x))
    assert records["is_active"][210, 0] == 1.0
    assert not records["is_active"][-200:, 0].any()
    assert records["noise_floor_dbfs"][-1, 0] == pytest.approx(-51.0, abs=2.5)
    fallen = Extractor(library, 4).run(in_lanes(np.concatenate([noise(SECOND, -50.0), noise(SECOND // 2, -70.0)])))
    assert fallen["noise_floor_dbfs"][-1, 0] == pytest.approx(-70.0, abs=2.0), "falls within 0.5 s"


def two_tones(f1_hz: float, f2_hz: float) -> np.ndarray:
    """Return a second of two equal tones."""
    t = np.arange(SECOND) / RATE_HZ
    return 0.2 * (np.sin(2 * np.pi * f1_hz * t) + np.sin(2 * np.pi * f2_hz * t))


def test_a_quarter_of_a_critical_band_is_rougher_than_an_octave(library: Library) -> None:
    def critical_band_hz(f_hz: float) -> float:  # Zwicker and Terhardt, JASA 68, 1980
        return 25 + 75 * (1 + 1.4e-6 * f_hz**2) ** 0.69

    pairs = [two_tones(f, f + 0.25 * critical_band_hz(f)) for f in (700.0, 1500.0)]
    pairs += [two_tones(f, 2 * f) for f in (700.0, 1500.0)]
    rough = Extractor(library, 4).run(in_lanes(*pairs))["roughness"][-1]
    assert rough[:2].min() > 5 * rough[2:].max()


def test_roughness_matches_its_float64_reference(library: Library) -> None:
    t = np.arange(SECOND) / RATE_HZ
    chord = sum(0.1 / k * np.sin(2 * np.pi * f * k * t) for f in (196.0, 207.7, 293.7) for k in range(1, 6))
    x = in_lanes(two_tones(1000.0, 1080.0), two_tones(440.0, 880.0), chord, noise(SECOND))
    records = Extractor(library, 4).run(x)
    spectrum = np.abs(windows(x, 4, 480)[15, :369])
    for ch in range(4):
        places, heights = roughness.peaks(spectrum[:, ch])
        expected = roughness.dissonance(places * 12000 / 1024, heights)
        assert records["roughness"][-1, ch] == pytest.approx(expected, rel=0.01, abs=1e-4)
