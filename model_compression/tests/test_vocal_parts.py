"""What backing parts promise: takes that differ and share the phrase, harmonies in the key, answers after the lead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyworld
import soxr
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import KEYS
from model_compression.data import performers, singing, vocal_parts, voices
from model_compression.data.composer import compose
from model_compression.data.composer_song import Note, Part
from model_compression.data.composer_theory import SCALES
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.pitch_synchronous import marked
from model_compression.data.singing import Singer, Sung
from model_compression.data.solo_clips import solo_clip

SECONDS = 4.6
N_FRAMES = round(SECONDS * SAMPLE_RATE_HZ)
LINE = tuple(
    Note(begin_s=0.3 + 0.5 * i + 0.6 * (i > 3), length_s=0.45, pitch=60 + p, velocity=0.8)
    for i, p in enumerate((0, 4, 7, 5, 2, 4, 0))
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


@pytest.fixture(scope="module")
def singer() -> Singer:
    drawn = singing.draw_singer(np.random.default_rng(2), "test")
    slt = next(v for v in voices.voices() if v.name == "flite.slt")
    return replace(drawn, voice=slt, centre_pitch=62.0, breathiness=0.0, vibrato_cents=0.0, is_tuned=True, tilt_db=0.0)


@pytest.fixture(scope="module")
def first(singer: Singer, cache_dir: Path) -> Sung:
    return singing.sung(np.random.default_rng(3), singer, LINE, N_FRAMES, vowels_only=True, cache_dir=cache_dir)


def _takes(first: Sung, n: int) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(4)
    voice = marked(first.audio, first.f0_hz[: len(first.audio) // 240])
    level = np.zeros(len(first.f0_hz))
    return [vocal_parts.take_of(rng, first, voice, vocal_parts.draw_take(rng, spread=0.5), level) for _ in range(n)]


def _pitch(audio: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = soxr.resample(audio.astype(float), SAMPLE_RATE_HZ, 16000)
    f0, at = pyworld.dio(low, 16000, f0_floor=60.0, f0_ceil=900.0)
    f0 = pyworld.stonemask(low, f0, at, 16000)
    return np.where(f0 > 0, 69 + 12 * np.log2(np.maximum(f0, 1.0) / 440), np.nan), at


def _contour(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.sqrt(np.mean(audio[: N_FRAMES // 960 * 960].reshape(-1, 960) ** 2, axis=1))


def test_takes_of_a_choir_share_the_phrase_and_differ(first: Sung) -> None:
    takes = _takes(first, 4)
    lead = _contour(first.audio)
    for i, take in enumerate(takes):
        assert len(take) == len(first.audio)
        contour = _contour(take)
        likeness = [np.corrcoef(contour[lag:], lead[: len(lead) - lag])[0, 1] for lag in range(5)]
        assert max(likeness) > 0.75
        for other in takes[:i]:
            assert np.corrcoef(take, other)[0, 1] < 0.9


def test_a_take_is_late_and_out_of_tune_by_what_people_are(first: Sung) -> None:
    steady, _ = _pitch(first.audio)
    for take in _takes(first, 4):
        lag = np.argmax(np.correlate(np.abs(take)[::48], np.abs(first.audio)[::48], "full")) - len(take) // 48 + 1
        assert 0 <= lag <= 85  # ms
        late = int(lag / 5)
        sung, _ = _pitch(take)
        off_cents = 100 * (sung[late:] - steady[: len(steady) - late])
        held = off_cents[np.abs(off_cents) < 120]
        assert 2 < np.nanstd(held) < 45
        assert np.abs(np.nanmedian(held)) < 30


@pytest.mark.parametrize("key", ["C", "Am", "F#m", "A#"])
@pytest.mark.parametrize("steps", vocal_parts.STEPS_OF_HARMONY)
def test_harmonies_stay_in_the_key(key: str, steps: int) -> None:
    index = KEYS.index(key)
    scale = {(index + s) % 12 for s in SCALES["minor" if index >= 12 else "major"]}
    tune = tuple(replace(n, pitch=12 * 5 + p) for n, p in zip(LINE, sorted(scale), strict=True))
    moved = vocal_parts.harmony(tune, key, steps)
    assert {n.pitch % 12 for n in moved} <= scale
    intervals = {b.pitch - a.pitch for a, b in zip(tune, moved, strict=True)}
    assert intervals <= {2: {3, 4}, 4: {6, 7}, -3: {-5, -6}, -2: {-3, -4}, 7: {12}, -7: {-12}}[steps]


def test_a_harmony_is_heard_a_third_above(first: Sung) -> None:
    higher = vocal_parts.semitones_above(LINE, "C", 2, len(first.f0_hz))
    voice = marked(first.audio, first.f0_hz[: len(first.audio) // 240])
    take = vocal_parts.Take(
        late_s=0.01, drift_cents=0.0, vibrato_cents=0.0, vibrato_hz=5.0, size=1.0, gain_lin=1.0, place=0.5
    )
    pitch, at = _pitch(vocal_parts.take_of(np.random.default_rng(0), first, voice, take, higher))
    for note, third in zip(LINE, vocal_parts.harmony(LINE, "C", 2), strict=True):
        held = pitch[(at > note.begin_s + 0.15) & (at < note.begin_s + 0.4)]
        assert (np.nanmedian(held) - third.pitch + 6) % 12 - 6 == pytest.approx(0, abs=0.4)


def test_the_key_of_a_tune_is_found() -> None:
    for key, tonic, scale in (("D", 62, "major"), ("Gm", 55, "minor")):
        tune = tuple(
            Note(begin_s=0.5 * i, length_s=0.4, pitch=tonic + s, velocity=0.8)
            for i, s in enumerate((*SCALES[scale], 12))
        )
        assert vocal_parts.key_of(tune) == key


def test_answers_come_where_phrases_end_and_do_not_talk_over_the_next() -> None:
    for seed in range(5):
        written = vocal_parts.answers(np.random.default_rng(seed), LINE, "C")
        assert written
        sounding = [(n.begin_s, n.begin_s + n.length_s) for n in LINE]
        assert all(not any(a < n.begin_s + n.length_s - 1e-6 and n.begin_s < b for a, b in sounding) for n in written)
        assert {n.pitch % 12 for n in written} <= {0, 2, 4, 5, 7, 9, 11}


def test_shouts_are_short_and_in_the_rhythm_of_the_tune() -> None:
    shouted = vocal_parts.shouts(np.random.default_rng(0), LINE)
    assert {n.begin_s for n in shouted} <= {n.begin_s for n in LINE}
    assert all(n.length_s <= vocal_parts.SHOUT_S for n in shouted)


def test_a_gang_is_more_than_one_voice(monkeypatch: pytest.MonkeyPatch, singer: Singer, cache_dir: Path) -> None:
    monkeypatch.setattr(vocal_parts, "KINDS", {"shouts": 1.0})
    other = replace(singer, voice=next(v for v in voices.voices() if v.name == "recorded.klettres.es"))
    sound, gang = vocal_parts.backing(np.random.default_rng(0), singer, LINE, N_FRAMES, lead=other, cache_dir=cache_dir)
    assert {w.voice.name for w in gang} == {"flite.slt", "recorded.klettres.es"}
    loud = np.abs(sound).max(axis=1) > 0.02
    assert 0.02 < loud.mean() < 0.7


def test_chords_are_shared_out_between_voices() -> None:
    chords = tuple(replace(n, pitch=n.pitch + s) for n in LINE for s in (0, 4, 7))
    lines = vocal_parts.lines_of(chords)
    assert [[n.pitch for n in line] for line in lines] == [[n.pitch + s for n in LINE] for s in (0, 4, 7)]
    assert vocal_parts.lines_of(LINE) == [LINE]


@pytest.mark.parametrize("seed", range(6))
def test_a_part_is_seeded_finite_and_as_long_as_is_told(seed: int, singer: Singer, cache_dir: Path) -> None:
    notes = LINE if seed % 2 else tuple(replace(n, pitch=n.pitch + s) for n in LINE for s in (0, 4, 7))
    (one, who), (two, _) = (
        vocal_parts.backing(np.random.default_rng(seed), singer, notes, N_FRAMES, cache_dir=cache_dir) for _ in range(2)
    )
    assert one.tobytes() == two.tobytes()
    assert one.shape in ((N_FRAMES, 1), (N_FRAMES, 2))
    assert np.isfinite(one).all()
    assert np.abs(one).max() == pytest.approx(0.5, abs=1e-3)
    assert {w.voice for w in who} == {singer.voice}


def test_silence_is_not_made_into_a_choir(first: Sung) -> None:
    quiet = Sung(audio=np.zeros_like(first.audio), f0_hz=first.f0_hz)
    takes = [vocal_parts.draw_take(np.random.default_rng(0), spread=1.0)]
    assert not vocal_parts.stacked_takes(
        np.random.default_rng(1), quiet, takes, [np.zeros(len(first.f0_hz))], is_stereo=True
    ).any()


def test_clips_of_the_test_split_know_no_such_parts(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    made = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(vocal_parts, "SHARE_OF_BACKING", share)
        made.append({split: _clip(split, cache_dir) for split in ("test", "train")})
    assert made[0]["test"] == made[1]["test"]
    assert made[0]["train"] != made[1]["train"]


def _clip(split: str, cache_dir: Path) -> bytes:
    made = solo_clip(np.random.default_rng(2), "vocal_backing", split, seconds=2.0, cache_dir=cache_dir)
    return made.audio.tobytes()


def test_songs_of_the_test_split_know_none_either(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    song = compose(np.random.default_rng(4), "folk", seconds=8.0)
    part = Part(function="harmony", kind="singer", notes=LINE)
    made = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(vocal_parts, "SHARE_OF_BACKING", share)
        rng = np.random.default_rng(6)
        lead = singing.draw_singer(rng, "test")
        stems, _ = performers._vocal(rng, "test", part, song, lead, cache_dir)
        made.append(stems[0].audio.tobytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("kind", list(vocal_parts.KINDS))
def test_a_part_of_notes_too_short_to_sing_is_silence(
    kind: str, singer: Singer, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocal_parts, "KINDS", {kind: 1.0})
    brief = tuple(replace(note, length_s=0.02) for note in LINE)
    audio, _ = vocal_parts.backing(np.random.default_rng(5), singer, brief, N_FRAMES, tune=brief, cache_dir=cache_dir)
    assert audio.shape[0] == N_FRAMES
    assert np.isfinite(audio).all()
    if kind in ("double", "choir of one"):  # others draw notes out, or write their own
        assert not audio.any()
