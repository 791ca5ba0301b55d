"""What voices promise: people's recordings stay on their side and sound as they do; a studio adds, and never breaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from model_compression.data import ingredients, singing, studio, talkers, voices
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.stem_truth import stem_truth

TAIL_TICKS = 70  # 1.4 s: the longest that echoes and plate go on


@pytest.fixture(scope="module")
def people() -> list[voices.Voice]:
    return [v for v in voices.voices() if v.engine == voices.RECORDED]


@pytest.fixture(scope="module")
def vocal() -> NDArray[np.float32]:
    """Three phrases of a harmonic tone with rests of 1.6 s, ``(n_frames, 1)``, peak 1."""
    t = np.arange(9 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = sum(np.sin(2 * np.pi * 220 * k * t) / k**1.5 for k in range(1, 20))
    sound = (tone * (t % 3 < 1.4)).astype(np.float32)[:, None]
    return sound / np.abs(sound).max()


def test_a_recording_sounds_on_one_side_only(people: list[voices.Voice]) -> None:
    files: dict[str, set[str]] = {"train": set(), "test": set()}
    for person in people:
        files[person.split] |= {*voices.texts_of(person, "words"), *voices.texts_of(person, "guest")}
    assert files["train"]
    assert files["test"]
    assert not files["train"] & files["test"]
    listed = ingredients.ingredients()
    assert all(person.split in listed[person.ingredient].splits for person in people)


def test_half_of_those_who_train_are_people_and_telephones_never_sing() -> None:
    rng = np.random.default_rng(4)
    for sings in (False, True):
        drawn = [voices.choose(rng, "train", sings=sings) for _ in range(400)]
        assert 0.4 < np.mean([v.engine == voices.RECORDED for v in drawn]) < 0.6
        assert all(v.sings if sings else v.speaks for v in drawn)
        assert not sings or all(v.bandwidth_hz >= voices.FULL_BAND_HZ for v in drawn)


def test_what_a_person_says_is_the_recording(people: list[voices.Voice], tmp_path: Path) -> None:
    t = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = sum(np.sin(2 * np.pi * 190 * k * t) / k for k in range(1, 12)) * (np.abs(t - 0.5) < 0.3)
    soundfile.write(tmp_path / "word.wav", 0.1 * np.stack([tone, tone], axis=1), SAMPLE_RATE_HZ)
    person = replace(people[0], code=str(tmp_path / "*.wav"), name="recorded.of.a.test")
    assert voices.texts_of(person, "words") == [str(tmp_path / "word.wav")]
    said = voices.utterance(person, str(tmp_path / "word.wav"), None)
    assert len(said.f0_hz) * 5 < 900  # ms: what was silent is gone
    assert np.median(said.f0_hz[said.f0_hz > 0]) == pytest.approx(190, abs=2)


def test_a_person_says_the_same_with_and_without_a_cache(people: list[voices.Voice], tmp_path: Path) -> None:
    person = replace(talkers.draw_person(np.random.default_rng(1), "test"), voice=people[0])
    text = voices.texts_of(people[0], "words")[0]
    voices.forget()
    fresh = talkers.speak(np.random.default_rng(2), person, text)
    voices.forget()
    kept = [talkers.speak(np.random.default_rng(2), person, text, cache_dir=tmp_path) for _ in range(2)]
    assert fresh.tobytes() == kept[0].tobytes() == kept[1].tobytes()


def test_a_missing_recording_names_what_to_install(people: list[voices.Voice]) -> None:
    nobody = replace(people[0], code="/nowhere/*.ogg", name="recorded.nobody")
    with pytest.raises(ingredients.MissingIngredient, match=f"^[^\n]*apt install {people[0].ingredient}$"):
        voices.texts_of(nobody, "guest")
    with pytest.raises(ingredients.MissingIngredient, match=f"^[^\n]*apt install {people[0].ingredient}$"):
        voices.recording(nobody, "/nowhere/a.ogg", 16000)


def test_slurred_notes_are_one_breath_without_a_gap() -> None:
    singer = replace(singing.draw_singer(np.random.default_rng(3), "test"), slur=1.0, breathiness=0.0)
    notes = tuple(Note(begin_s=0.2 + 0.5 * i, length_s=0.42, pitch=60 + i, velocity=0.8) for i in range(4))
    sound = singing.sing(np.random.default_rng(4), singer, notes, 3 * SAMPLE_RATE_HZ, vowels_only=True)[:, 0]
    inside = sound[int(0.35 * SAMPLE_RATE_HZ) : int(2.0 * SAMPLE_RATE_HZ)]
    level = np.sqrt(np.mean(inside[: len(inside) // 960 * 960].reshape(-1, 960) ** 2, axis=1))
    assert level.min() > 0.1 * np.median(level)


@pytest.mark.parametrize("is_backing", [False, True])
def test_a_studio_is_seeded_finite_and_bounded(vocal: NDArray[np.float32], is_backing: bool) -> None:
    stereo = np.concatenate([vocal, 0.5 * vocal], axis=1)[: 3 * SAMPLE_RATE_HZ]
    for seed in range(6):
        first, again = (
            studio.studio(np.random.default_rng(seed), stereo, is_backing=is_backing, tempo_bpm=110.0) for _ in range(2)
        )
        assert first.tobytes() == again.tobytes()
        assert first.shape == stereo.shape
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert np.abs(first).max() == pytest.approx(1.0, abs=1e-4)
        assert np.abs(first.mean()) < 0.01


def test_what_a_studio_adds_ends_with_the_phrase(vocal: NDArray[np.float32]) -> None:
    sung = stem_truth(vocal).is_active
    may_sound = binary_dilation(sung, iterations=TAIL_TICKS) | binary_dilation(sung, iterations=2)
    begins = np.flatnonzero(np.diff(sung.astype(int)) == 1)
    for begin in begins:  # a tail follows, nothing runs ahead
        may_sound[begin - 20 : begin - 2] = False
    late = []
    for seed in range(12):
        made = studio.studio(np.random.default_rng(seed), vocal, is_backing=False, tempo_bpm=100.0)
        active = stem_truth(made).is_active
        assert active[sung].mean() > 0.95
        late.append(np.mean(active & ~sung))
        assert np.mean(active & ~may_sound) < 0.03
    assert np.median(late) < 0.15


def test_a_harmoniser_shifts_by_what_it_is_told(vocal: NDArray[np.float32]) -> None:
    one = vocal[: int(1.3 * SAMPLE_RATE_HZ)]
    up = studio.shifted(one, 7.0)[:, 0]
    spectrum = np.abs(np.fft.rfft(up * np.hanning(len(up))))
    hz = np.fft.rfftfreq(len(up), 1 / SAMPLE_RATE_HZ)
    assert hz[np.argmax(spectrum)] == pytest.approx(220 * 2 ** (7 / 12), rel=0.05)
