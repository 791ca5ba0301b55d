"""Recorded sessions: faults that can be undone, bleed that is measured, truth that belongs to the channel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.signal

from dsp_kernels.contract.generated.contract import TONE_REGIONS_HZ
from model_compression.data.capture import convolve, path_matrix
from model_compression.data.faults import Faults, bell_sos, hum, sample_faults
from model_compression.data.microphones import MAX_CHANNELS, paths, sample_setup
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.recording import WORKING_LUFS, RecordedSession, record, recorded
from model_compression.data.rooms import N_TAPS, sample_room
from model_compression.data.stem_truth import TICK_FRAMES, gated_lufs, k_power, stem_truth
from model_compression.data.targets import targets

from .session_material import BAND, band, sound, talk

SEED = 11


def rng(seed: int = SEED) -> np.random.Generator:
    return np.random.default_rng(seed)


def lufs(audio: np.ndarray) -> float:
    return gated_lufs(k_power(audio))


def recorded_clean(faults: tuple[Faults, ...] | None = None) -> RecordedSession:
    """Return the band, every source for itself, hiss far down, and no fault but gain and tone."""
    performance = band(rng())
    setup = sample_setup(
        rng(), list(BAND), [False] * len(BAND), sample_room(rng(), "train", "studio"), genre="rock", is_isolated=True
    )
    chance = rng(3)
    if faults is None:
        faults = tuple(
            Faults(
                gain_db=float(chance.uniform(-15.0, 5.0)),
                tone_db=tuple(chance.uniform(-6.0, 6.0, 4).tolist()),
                hiss_db=90.0,
            )
            for _ in BAND
        )
    return recorded(rng(), performance, "clean", performance.stems, setup, faults)


def test_undoing_gain_and_tone_faults_gives_the_target_balance() -> None:
    session = recorded_clean()
    answer = targets(rng(), session)
    offset_lu = answer.offset_lu[0].mean(axis=0)
    for ch, audio in enumerate(session.channels):
        fixed = audio[:, 0].astype(float)
        for freq_hz, gain_db in zip(TONE_REGIONS_HZ, session.eq_fault_db[ch], strict=True):
            fixed = scipy.signal.sosfilt(bell_sos(freq_hz, -gain_db), fixed)
        gain_db = offset_lu[ch] - session.gain_fault_db[ch]
        in_mix = lufs(fixed[:, None] * 10.0 ** (gain_db / 20.0))
        assert in_mix - WORKING_LUFS == pytest.approx(offset_lu[ch], abs=0.3), session.microphones[ch].role


def test_the_tone_answer_undoes_the_fault_up_to_six_decibels() -> None:
    session = recorded_clean()
    answer = targets(rng(), session)
    assert np.abs(answer.tone_db).max() <= 6.0
    habit_and_spread_db = 1.5 + 4.0 * 0.4
    assert np.abs(answer.tone_db + session.eq_fault_db).max() < habit_and_spread_db


def test_a_bell_has_its_gain_at_its_frequency_and_is_undone_by_its_opposite() -> None:
    _, at = scipy.signal.sosfreqz(bell_sos(570.0, 6.0), [2.0 * np.pi * 570.0 / SAMPLE_RATE_HZ])
    assert 20.0 * np.log10(abs(at[0])) == pytest.approx(6.0, abs=1e-9)
    x = rng().standard_normal(4000)
    there_and_back = scipy.signal.sosfilt(bell_sos(200.0, -8.0), scipy.signal.sosfilt(bell_sos(200.0, 8.0), x))
    assert np.abs(there_and_back - x).max() < 1e-9


def test_paths_are_convolved_as_plain_convolution_does() -> None:
    x = rng().standard_normal((2, 3 * N_TAPS + 77)).astype(np.float32)
    taps = np.zeros((2, 3, N_TAPS), np.float32)
    taps[..., :900] = 0.05 * rng(1).standard_normal((2, 3, 900))
    got, _ = convolve(x, path_matrix(taps))
    want = sum(np.stack([scipy.signal.fftconvolve(x[s], taps[s, c])[: x.shape[1]] for c in range(3)]) for s in range(2))
    assert np.abs(got - want).max() < 1e-4  # float32 sums of some 1800 products of size 0.05


def test_bleed_comes_late_by_the_distance_and_soft_by_the_matrix() -> None:
    session = record(rng(), band(rng()), "train", "bleed", is_whole=True)
    matrix = session.bleed_db
    assert (np.diag(matrix) == 0.0).all()
    miked = [ch for ch, mic in enumerate(session.microphones) if mic.stem is not None and not mic.is_line]
    there = [matrix[i, j] for i in miked for j in miked if session.microphones[i].stem != session.microphones[j].stem]
    assert there, "this seed should record several sources by microphone"
    assert -60.0 < np.median(there) < -6.0
    lines = [ch for ch, mic in enumerate(session.microphones) if mic.is_line and mic.stem is not None]
    for ch in lines:
        others = [j for j, mic in enumerate(session.microphones) if mic.stem != session.microphones[ch].stem]
        assert (matrix[ch, others] == -100.0).all()


def test_the_bleed_matrix_is_what_a_microphone_hears_when_its_own_source_is_silent() -> None:
    performance = band(rng(), roles=("snare", "elec_guitar"))
    room = sample_room(rng(), "train", "stage")
    setup = sample_setup(rng(5), ["snare", "elec_guitar"], [False, False], room, genre="jazz", is_isolated=False)
    own = next(ch for ch, mic in enumerate(setup.microphones) if mic.stem == 0)
    setup = replace(setup, microphones=(setup.microphones[own],))
    quiet = (Faults(hiss_db=100.0),)
    both = recorded(rng(), performance, "bleed", performance.stems, setup, quiet)
    alone = []
    for kept in range(2):
        stems = tuple(replace(stem, audio=stem.audio * (k == kept)) for k, stem in enumerate(both.stems))
        alone.append(recorded(rng(), performance, "bleed", stems, setup, quiet).channels[0])
    # Both sources in two channels: the matrix of one microphone needs a channel for the other source.
    other = replace(setup.microphones[0], stem=1, is_line=True)
    together = replace(setup, microphones=(*setup.microphones, other))
    pair = recorded(rng(), performance, "bleed", performance.stems, together, quiet * 2)
    measured_db = lufs(alone[1]) - lufs(alone[0])
    assert pair.bleed_db[0, 1] == pytest.approx(measured_db, abs=1.5)  # gates and activity count pauses differently


def test_direct_sound_arrives_after_distance_over_speed_of_sound() -> None:
    room = sample_room(rng(), "train", "stage")
    setup = sample_setup(rng(2), ["vocal_lead", "snare"], [False, False], room, genre="rock", is_isolated=False)
    taps = paths(rng(), setup).taps
    for m, mic in enumerate(setup.microphones):
        for s in range(2):
            if taps[s, m].any() and not mic.is_line:
                distance_m = float(np.linalg.norm(setup.source_m[s] - mic.place_m))
                first = int(np.flatnonzero(taps[s, m])[0])
                assert first == pytest.approx(distance_m / 343.0 * SAMPLE_RATE_HZ, abs=1.0)


def test_rooms_of_the_test_split_occur_in_no_other() -> None:
    for space in ("stage", "studio"):
        seen = [sample_room(rng(k), split, space) for k in range(60) for split in ("train", "valid")]
        unseen = [sample_room(rng(k), "test", space) for k in range(60)]
        for room in unseen:
            nearest = min(abs(room.rt60_s - other.rt60_s) for other in seen)
            assert nearest > 0.005
            assert not any(np.allclose(room.size_m, other.size_m, atol=0.05) for other in seen)


def test_activity_is_the_sources_own_and_bleed_is_where_only_others_sound() -> None:
    session = record(rng(4), talk(rng()), "train", "bleed", is_whole=True)
    assert not (session.is_active & session.is_bleed).any()
    for ch, mic in enumerate(session.microphones):
        if mic.role == "speech":
            begin_s, end_s = session.stems[mic.stem].lead_spans_s[0]
            outside = np.ones(session.n_ticks, bool)
            outside[int(begin_s * 50) : int(end_s * 50) + 12] = False
            assert not session.is_active[outside, ch].any()
            assert session.is_active[~outside, ch].any()


@pytest.mark.parametrize("difficulty", ["clean", "bleed", "hard"])
def test_what_is_recorded_is_finite_and_within_full_scale(difficulty: str) -> None:
    for seed in range(3):
        session = record(rng(seed), band(rng(seed), 1.5), "train", difficulty)
        assert 1 <= len(session.channels) <= MAX_CHANNELS
        for audio in session.channels:
            assert np.isfinite(audio).all()
            assert np.abs(audio).max() <= 1.0


@pytest.mark.parametrize(("share", "microphones"), [(0.0, 1), (1.0, 2)])
def test_a_share_of_the_sources_has_a_second_microphone(share: float, microphones: int) -> None:
    roles = [*BAND, "synth"]
    setup = sample_setup(
        rng(), roles, [role == "synth" for role in roles], sample_room(rng(), "train", "stage"), genre="rock",
        is_isolated=False, doubled_share=share,
    )  # fmt: skip
    hung = [mic.stem for mic in setup.microphones]
    assert [hung.count(stem) for stem in range(len(BAND))] == [microphones] * len(BAND)
    assert hung.count(len(BAND)) == 1, "a pair needs no second pair"


def test_the_same_seed_records_the_same_sound() -> None:
    one, two = (record(rng(8), band(rng(8), 2.0), "test", "hard") for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one.channels, two.channels, strict=True))


def test_a_stem_that_never_sounds_is_recorded_as_silence() -> None:
    performance = band(rng(), 3.0)
    silent = replace(performance.stems[0], audio=np.zeros_like(performance.stems[0].audio))
    session = record(rng(), replace(performance, stems=(silent, *performance.stems[1:])), "train", "clean")
    ch = next(k for k, mic in enumerate(session.microphones) if mic.stem == 0)
    assert not session.is_active[:, ch].any()
    assert lufs(session.channels[ch]) < -40.0


def test_faults_grow_with_the_difficulty() -> None:
    def count(difficulty: str) -> float:
        chance = rng(1)
        drawn = [sample_faults(chance, difficulty, duration_s=20.0, hum_hz=50, can_be_limited=True) for _ in range(300)]
        return np.mean([abs(f.gain_db) + np.abs(f.tone_db).sum() + 10 * (f.clip_db > 0) for f in drawn])

    assert count("clean") < count("bleed") < count("hard")


def test_hum_lies_at_the_mains_and_its_overtones() -> None:
    wave = hum(SAMPLE_RATE_HZ, 60, rng())
    power = np.abs(np.fft.rfft(wave)) ** 2  # bins of 1 Hz
    assert power[60:481:60].sum() / power.sum() > 0.999


def test_loudness_of_a_stem_agrees_with_the_standard_meter() -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    audio = sound(rng(), "elec_guitar", 6.0)
    meter = pyloudnorm.Meter(SAMPLE_RATE_HZ)
    assert stem_truth(audio).loudness_lufs == pytest.approx(meter.integrated_loudness(audio.astype(float)), abs=0.1)
    assert len(stem_truth(audio).k_power) == len(audio) // TICK_FRAMES
