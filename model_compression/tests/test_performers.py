"""What performances promise: the same bytes from the same seed, true truth, splits apart, singers on the tune."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import pyworld
import soxr

from dsp_kernels.contract.generated.contract import GENRES, ROLES
from model_compression.data import ingredients, performers, singing, talkers, voices
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ, Performance
from model_compression.data.solo_clips import solo_clip

SECONDS = 8.0  # the shortest song


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


def _sound(made: Performance) -> list[bytes]:
    return [s.audio.tobytes() for s in made.stems]


def test_the_same_seed_gives_the_same_bytes_with_and_without_a_cache(cache_dir: Path) -> None:
    kept = performers.talk(np.random.default_rng(11), "test", n_talkers=2, seconds=2.5, cache_dir=cache_dir)
    again = performers.talk(np.random.default_rng(11), "test", n_talkers=2, seconds=2.5, cache_dir=cache_dir)
    voices.forget()
    fresh = performers.talk(np.random.default_rng(11), "test", n_talkers=2, seconds=2.5)
    assert _sound(kept) == _sound(again) == _sound(fresh)


def test_a_song_is_the_same_twice(cache_dir: Path) -> None:
    first, second = (
        performers.perform(np.random.default_rng(5), "test", genre="rock", seconds=SECONDS, cache_dir=cache_dir)
        for _ in range(2)
    )
    assert _sound(first) == _sound(second)


@pytest.mark.parametrize("genre", ["jazz", "electronic"])
def test_stems_are_aligned_finite_and_neither_silent_nor_clipped(genre: str, cache_dir: Path) -> None:
    made = performers.perform(np.random.default_rng(6), "train", genre=genre, seconds=SECONDS, cache_dir=cache_dir)
    assert performers.MIN_STEMS <= len(made.stems) <= performers.MAX_STEMS
    assert {s.role for s in made.stems} <= set(ROLES)
    for stem in made.stems:
        assert stem.audio.dtype == np.float32
        assert stem.audio.shape[0] == round(SECONDS * SAMPLE_RATE_HZ)
        assert np.all(np.isfinite(stem.audio))
        assert 0.01 < np.abs(stem.audio).max() < 2.0, stem.role
    assert set(made.ingredients) <= set(ingredients.ingredients())
    assert made.genre == genre
    assert made.scene_kind == "music"


def test_mixed_evenings_shift_the_truth_with_the_song(cache_dir: Path) -> None:
    made = performers.mixed(np.random.default_rng(8), "test", seconds=16.0, genre="folk", cache_dir=cache_dir)
    talk_end_s = made.sections[0][0]
    assert made.scene_kind == "mixed"
    assert made.beats_s[0] > 1.0
    music = sum(np.abs(s.audio).sum() for s in made.stems if s.role != "speech")
    before = sum(
        np.abs(s.audio[: int((talk_end_s - 0.7) * SAMPLE_RATE_HZ)]).sum() for s in made.stems if s.role != "speech"
    )
    assert before < 1e-4 * music


def test_splits_share_no_voice_and_no_ingredient_that_is_whole() -> None:
    train, test = ({v.name for v in voices.voices() if v.split == side} for side in ("train", "test"))
    assert not train & test
    assert {v.code for v in voices.voices() if v.split == "train"}.isdisjoint(
        v.code for v in voices.voices() if v.split == "test"
    )


def test_no_ingredient_is_a_package_that_the_evaluation_holds() -> None:
    assert all("sonic" not in one.package for one in ingredients.ingredients().values())


def test_a_missing_ingredient_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    core = [one for one in ingredients.ingredients().values() if one.is_core]
    assert re.search(r"apt install .*espeak-ng.*flite", ingredients.shortage(core))


def test_a_singer_sings_the_tune(cache_dir: Path) -> None:
    tune = tuple(
        Note(begin_s=0.3 + 0.8 * i, length_s=0.75, pitch=60 + p, velocity=0.8) for i, p in enumerate((0, 2, 4, 5, 7, 4))
    )
    singer = singing.draw_singer(np.random.default_rng(2), "train")
    audio = singing.sing(np.random.default_rng(3), singer, tune, 6 * SAMPLE_RATE_HZ, cache_dir=cache_dir)[:, 0]
    low = soxr.resample(audio.astype(float), SAMPLE_RATE_HZ, 16000)
    f0, at = pyworld.dio(low, 16000, f0_floor=60.0, f0_ceil=900.0)
    errors = []
    for note in tune:
        sung = f0[(at > note.begin_s + 0.3) & (at < note.begin_s + note.length_s - 0.1)]
        cents = 1200 * np.log2(np.median(sung[sung > 0]) / (440 * 2 ** ((note.pitch - 69) / 12)))
        errors.append((cents + 600) % 1200 - 600)
    assert np.max(np.abs(errors)) < 60


def test_who_talks_over_a_beat_talks_in_its_phrases_and_nowhere_else(cache_dir: Path) -> None:
    phrases_s = ((0.4, 2.2), (3.0, 4.4))
    notes = tuple(
        Note(begin_s=float(at), length_s=0.15, pitch=60, velocity=0.8)
        for begin_s, end_s in phrases_s
        for at in np.arange(begin_s, end_s - 0.1, 0.2)
    )
    person = talkers.draw_person(np.random.default_rng(3), "train")
    n_frames = 5 * SAMPLE_RATE_HZ
    said = talkers.recite(np.random.default_rng(3), person, notes, n_frames, cache_dir=cache_dir)[:, 0]
    assert said.shape == (n_frames,)
    power = (said.reshape(-1, SAMPLE_RATE_HZ // 50) ** 2).mean(axis=1)
    at_s = (np.arange(len(power)) + 0.5) / 50
    inside = np.any([(at_s > begin_s) & (at_s < end_s) for begin_s, end_s in phrases_s], axis=0)
    assert (power[inside] > 1e-6).mean() > 0.6
    assert not power[~np.convolve(inside, [1, 1, 1], "same").astype(bool)].any()


def test_nobody_talks_over_a_beat_in_the_test_split(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    def voice(split: str, spoken_share: float) -> bytes:
        monkeypatch.setattr(performers, "SPOKEN_SHARE", {"rap": spoken_share, "vocal": spoken_share})
        made = performers.perform(np.random.default_rng(5), split, genre="hiphop", seconds=SECONDS, cache_dir=cache_dir)
        return next(stem.audio.tobytes() for stem in made.stems if stem.role == "vocal_lead")

    assert voice("train", 0.0) != voice("train", 1.0)
    assert voice("test", 0.0) == voice("test", 1.0)


@pytest.mark.parametrize("role", [r for r in ROLES if r not in ("playback", "ambience")])
def test_every_role_can_be_heard_alone(role: str, cache_dir: Path) -> None:
    stem = solo_clip(np.random.default_rng(9), role, "test", seconds=3.0, cache_dir=cache_dir)
    assert stem.role == role
    assert len(stem.audio) == 3 * SAMPLE_RATE_HZ
    assert 0.01 < np.abs(stem.audio).max() < 2.0


@pytest.mark.soak
@pytest.mark.parametrize("genre", GENRES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_whole_songs_of_every_genre_stand(genre: str, split: str, cache_dir: Path) -> None:
    for seed in range(3):
        made = performers.perform(np.random.default_rng(seed), split, genre=genre, seconds=30.0, cache_dir=cache_dir)
        assert all(np.isfinite(s.audio).all() and 0.01 < np.abs(s.audio).max() < 2.0 for s in made.stems)
        assert any(s.lead_spans_s for s in made.stems)
    for role in ("playback", "ambience"):
        assert (
            np.abs(solo_clip(np.random.default_rng(1), role, split, seconds=6.0, cache_dir=cache_dir).audio).max() > 0.1
        )
