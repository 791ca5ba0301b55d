"""Beat tracker: finds a tempo, keeps it through noise, follows a new one, and knows when there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.beat_tracker import Beat, BeatTracker
from dsp_kernels.build_ffi import SOURCE_DIR, build_library
from dsp_kernels.native import Library, opened
from dsp_kernels.reference import beat_tracker as reference

TICKS_PER_S = 50
TOLERANCE_S = 0.07  # of the usual F-measure of beats
TEMPI_BPM = [60, 75, 90, 105, 120, 140, 160, 180, 200]


def beats_at(tempo_bpm: float, duration_s: float, first_s: float = 0.13) -> NDArray[np.float64]:
    return np.arange(first_s, duration_s, 60.0 / tempo_bpm)


def pulses(beats_s: NDArray[np.float64], duration_s: float) -> NDArray[np.float64]:
    """Return the activations of a network that is sure: three ticks wide."""
    out = np.zeros(int(duration_s * TICKS_PER_S) + 2)
    at = np.round(beats_s * TICKS_PER_S).astype(int)
    for offset, height in ((-1, 0.3), (1, 0.3), (0, 0.95)):
        out[np.maximum(at + offset, 0)] = height
    return out[:-2]


def unsure(beats_s: NDArray[np.float64], duration_s: float, seed: int) -> NDArray[np.float64]:
    """Return those of one that is not: beats 12 ms off, a tenth of them missed, noise up to a quarter all the time."""
    rng = np.random.default_rng(seed)
    seen_s = (beats_s + rng.normal(0, 0.012, len(beats_s)))[rng.random(len(beats_s)) > 0.1]
    clean = pulses(seen_s[(seen_s > 0) & (seen_s < duration_s)], duration_s)
    height = np.repeat(rng.uniform(0.5, 1.0, len(clean) // 10 + 1), 10)[: len(clean)]
    return np.maximum(clean * height, rng.random(len(clean)) * 0.25)


def listen(library: Library, beat: NDArray, downbeat: NDArray | None = None) -> list[Beat]:
    tracker = BeatTracker(library)
    down = np.zeros(len(beat)) if downbeat is None else downbeat
    return [tracker.process(float(b), float(d)) for b, d in zip(beat, down, strict=True)]


def times_s(heard: list[Beat], name: str = "is_beat") -> NDArray[np.float64]:
    return np.flatnonzero([getattr(b, name) for b in heard]) / TICKS_PER_S


def f_measure(found_s: NDArray, true_s: NDArray, from_s: float = 5.0) -> float:
    found_s, true_s = found_s[found_s >= from_s], true_s[true_s >= from_s]
    if len(found_s) == 0:
        return 0.0
    hits = sum(np.abs(found_s - t).min() <= TOLERANCE_S for t in true_s)
    return 2 * hits / (len(found_s) + len(true_s))


@pytest.mark.parametrize("tempo_bpm", TEMPI_BPM)
def test_clean_pulses_are_found_within_3_s_and_every_beat_is_hit(library: Library, tempo_bpm: float) -> None:
    true_s = beats_at(tempo_bpm, 20.0)
    heard = listen(library, pulses(true_s, 20.0))
    tempo = np.array([b.tempo_bpm for b in heard])[3 * TICKS_PER_S :]
    assert np.abs(tempo / tempo_bpm - 1).max() < 0.04, "no half, no double, from 3 s to the end"
    assert f_measure(times_s(heard), true_s) >= 0.97
    assert heard[-1].confidence > 0.7


@pytest.mark.parametrize("tempo_bpm", TEMPI_BPM)
def test_jittered_and_noisy_activations_are_followed(library: Library, tempo_bpm: float) -> None:
    true_s = beats_at(tempo_bpm, 25.0)
    figures = [f_measure(times_s(listen(library, unsure(true_s, 25.0, seed))), true_s) for seed in range(4)]
    assert np.mean(figures) >= 0.9, figures


@pytest.mark.parametrize(("before_bpm", "after_bpm"), [(100, 125), (140, 90), (80, 160), (120, 112)])
def test_a_new_tempo_is_followed_within_5_s(library: Library, before_bpm: float, after_bpm: float) -> None:
    first = beats_at(before_bpm, 12.0)
    true_s = np.concatenate([first, beats_at(after_bpm, 27.0, first[-1] + 60.0 / after_bpm)])
    heard = listen(library, pulses(true_s, 27.0))
    assert heard[11 * TICKS_PER_S].tempo_bpm == pytest.approx(before_bpm, rel=0.04)
    assert np.abs(np.array([b.tempo_bpm for b in heard[17 * TICKS_PER_S :]]) / after_bpm - 1).max() < 0.04
    assert f_measure(times_s(heard), true_s, 17.0) >= 0.97


def test_silence_and_noise_have_no_beats(library: Library) -> None:
    silent = listen(library, np.zeros(500))
    assert max(b.confidence for b in silent) == 0
    assert not any(b.is_beat or b.is_downbeat for b in silent)
    noise = listen(library, np.random.default_rng(2).random(1500) * 0.25)
    assert np.mean([b.confidence for b in noise]) < 0.1
    music_then_none = np.concatenate([pulses(beats_at(120, 10.0), 10.0), np.zeros(12 * TICKS_PER_S)])
    assert listen(library, music_then_none)[-1].confidence < 0.01


def test_beats_that_are_missing_for_two_bars_are_counted_on(library: Library) -> None:
    true_s = beats_at(120, 20.0)
    beat = pulses(true_s, 20.0)
    beat[10 * TICKS_PER_S : 12 * TICKS_PER_S] = 0  # a break of four beats
    assert f_measure(times_s(listen(library, beat)), true_s) >= 0.97


@pytest.mark.parametrize("n_per_bar", [3, 4])
@pytest.mark.parametrize("offset", [0, 2])
def test_downbeats_are_the_first_of_three_or_four(library: Library, n_per_bar: int, offset: int) -> None:
    true_s = beats_at(110, 25.0)
    heard = listen(library, pulses(true_s, 25.0), pulses(true_s[offset::n_per_bar], 25.0) * 0.6)
    assert f_measure(times_s(heard, "is_downbeat"), true_s[offset::n_per_bar], 8.0) >= 0.95


def test_it_matches_its_reference(library: Library) -> None:
    true_s = beats_at(97, 15.0)
    beat, down = unsure(true_s, 15.0, 5), pulses(true_s[::4], 15.0)
    twin, heard = reference.Tracker(), listen(library, beat, down)
    for ours, b, d in zip(heard, beat, down, strict=True):
        theirs = twin.process(float(np.float32(b)), float(np.float32(d)))
        assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-3)
        assert ours.tempo_bpm == pytest.approx(theirs.tempo_bpm, rel=1e-3)
        if theirs.confidence > 0.05:
            assert abs((ours.phase - theirs.phase + 0.5) % 1 - 0.5) < 2e-3
        assert (ours.is_beat, ours.is_downbeat) == (theirs.is_beat, theirs.is_downbeat)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -3.0, 7.0, 1e-40])
def test_an_activation_that_is_none_does_not_stay(library: Library, bad: float) -> None:
    true_s = beats_at(120, 20.0)
    beat = pulses(true_s, 20.0)
    beat[[100, 101, 330]] = bad
    heard = listen(library, beat, beat)
    assert all(np.isfinite([b.tempo_bpm, b.phase, b.confidence]).all() for b in heard)
    assert all(0 <= b.phase < 1 and 0 <= b.confidence <= 1 and 49 < b.tempo_bpm < 215 for b in heard)
    assert f_measure(times_s(heard), true_s, 8.0) >= 0.97


def test_reset_equals_fresh(library: Library) -> None:
    beat, tracker = unsure(beats_at(130, 6.0), 6.0, 1), BeatTracker(library)
    for b in beat[::-1]:
        tracker.process(float(b), float(b))
    tracker.reset()
    assert [tracker.process(float(b), 0.3) for b in beat] == listen(library, beat, np.full(len(beat), 0.3))


def test_gcc_and_clang_build_the_same_tracker_to_the_bit(tmp_path: Path) -> None:
    heard = []
    for compiler in ("gcc", "clang"):
        built = build_library(tmp_path / f"{compiler}.so", compiler=compiler, sources=[SOURCE_DIR / "beat_tracker.c"])
        heard.append(listen(opened(built), unsure(beats_at(110, 10.0), 10.0, 3)))
    assert heard[0] == heard[1]
