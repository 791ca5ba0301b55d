"""What instruments recorded note by note promise: pitch and loudness as asked; extra sounds only where asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_compression.data import drum_kits, instruments, keyboards, plugin_player, qt_resources, recorded_sounds
from model_compression.data.composer_song import Note
from model_compression.data.ingredients import MissingIngredient, drawn_fairly, in_use, ingredients, shortage, sounding
from model_compression.data.keyboards import Keyboard
from model_compression.data.performance import SAMPLE_RATE_HZ as SR
from model_compression.data.solo_clips import solo_clip

LACK = shortage([one for one in ingredients().values() if not one.is_core])
needs_all = pytest.mark.skipif(bool(LACK), reason=f"sounds beyond the core: {LACK}")


def _tone(path: Path, pitch: float, *, seconds: float = 1.5, harmonics: int = 3) -> None:
    t = np.arange(int(seconds * 44100)) / 44100
    hz = 440 * 2 ** ((pitch - 69) / 12)
    sound = sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, harmonics + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.4 * np.asarray(sound), 44100)


def _keyboard(*folders: Path) -> Keyboard:
    return Keyboard(kind="piano", ingredient="made", split="train", folders=folders, range=(48, 84))


def _play(keyboard: Keyboard, pitch: float, velocity: float = 0.7, size: float = 0.0) -> np.ndarray:
    note = Note(begin_s=0.1, length_s=0.9, pitch=pitch, velocity=velocity)
    zones = keyboards.zones(keyboard)
    return recorded_sounds.play_notes(np.random.default_rng(1), zones, (note,), SR, fade_s=np.inf, size_semitones=size)


def _spectrum(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    part = sound[SR // 5 : SR // 5 + SR // 2, 0]
    return np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 19)), np.fft.rfftfreq(1 << 19, 1 / SR)


def _off_cents(sound: np.ndarray, pitch: float) -> float:
    """Distance of the nearest of three partials from where it should be."""
    spectrum, hz = _spectrum(sound)
    off = []
    for k in (1, 2, 3):
        asked_hz = k * 440 * 2 ** ((pitch - 69) / 12)
        near = np.flatnonzero(np.abs(hz / asked_hz - 1) < 0.04)
        off.append(1200 * abs(np.log2(hz[near[np.argmax(spectrum[near])]] / asked_hz)))
    return min(off)


@pytest.mark.parametrize(
    ("name", "pitch"), [("60.mp3", 60), ("A4.mp3", 69), ("Cs3.mp3", 49), ("D#1v10.ogg", 27), ("LICENSE", None)]
)
def test_files_are_placed_by_their_names(name: str, pitch: int | None) -> None:
    assert keyboards.pitch(Path(name)) == pitch


@pytest.mark.parametrize("pitch", [50, 58, 63, 71, 80])
@pytest.mark.parametrize("size", [-3.0, 0.0, 3.0])
def test_a_keyboard_is_in_tune_between_its_recordings_and_at_any_size(pitch: int, size: float, tmp_path: Path) -> None:
    for root, name in ((48, "C3"), (60, "C4"), (72, "C5")):
        _tone(tmp_path / f"{name}.wav", root)
    assert _off_cents(_play(_keyboard(tmp_path), pitch, size=size), pitch) < 15


def test_loud_notes_are_played_on_the_loud_recordings(tmp_path: Path) -> None:
    for word, harmonics in (("soft", 1), ("loud", 12)):
        _tone(tmp_path / word / "60.wav", 60, harmonics=harmonics)
    centre_hz = {}
    for velocity in (0.2, 0.9):
        spectrum, hz = _spectrum(_play(_keyboard(tmp_path / "soft", tmp_path / "loud"), 60, velocity))
        centre_hz[velocity] = float((spectrum * hz).sum() / spectrum.sum())
    assert centre_hz[0.9] > 2 * centre_hz[0.2]


def test_a_folder_without_notes_is_named_with_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no notes")
    with pytest.raises(MissingIngredient, match=f"^{tmp_path} has no recorded notes; run .ci/setup model$"):
        keyboards.zones(_keyboard(tmp_path))


def test_a_clip_of_a_take_has_sound_and_is_the_same_twice(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    played = np.where(np.arange(40 * 8000) // (20 * 8000) == 1, 0.2 * rng.normal(size=40 * 8000), 0.0)
    soundfile.write(tmp_path / "guitar.ogg", np.stack([played, -played], 1), 8000)
    take = recorded_sounds.Sound(
        path=tmp_path / "guitar.ogg", ingredient="made", split="train", form="take", place="elec_guitar"
    )
    cuts = [recorded_sounds.excerpt(np.random.default_rng(seed), take, 2 * SR) for seed in range(12)]
    assert {cut.shape for cut in cuts} == {(2 * SR, 2)}
    assert sum(float(np.abs(cut).max()) > 0.05 for cut in cuts) >= 11
    assert cuts[0].tobytes() == recorded_sounds.excerpt(np.random.default_rng(0), take, 2 * SR).tobytes()


def test_extra_sounds_are_drawn_only_where_all_are_asked_for_and_never_for_the_test() -> None:
    core = in_use()
    drawn: dict[tuple[str, str], set[str]] = {}
    for sounds in ("core", "all"):
        with sounding(sounds):
            for split in ("train", "test"):
                rng = np.random.default_rng(4)
                drawn[sounds, split] = {
                    instruments.choose(rng, split, kind=kind).ingredient
                    for kind in ("piano", "steel_guitar", "clean_guitar", "cello", "flute", "horn")
                    for _ in range(60)
                } | {drum_kits.choose(rng, split, "percussion").ingredient for _ in range(60)}
                drawn[sounds, split] |= {s.ingredient for s in recorded_sounds.fitting(split, "loop", "brass")}
    elsewhere = ("fretsonfire-songs-sectoid", "fretsonfire-songs-muldjord", "libstk-dev")  # takes, and a player
    extra = {name for name, one in ingredients().items() if not one.is_core} - set(elsewhere)
    assert in_use() == core, "sounds of one recipe leak into the next"
    assert drawn["core", "train"] <= core
    assert extra <= drawn["all", "train"]
    assert drawn["all", "test"] == drawn["core", "test"]


def test_a_bank_does_not_drown_what_was_recorded_elsewhere() -> None:
    rng = np.random.default_rng(5)
    fits = [
        instruments.Family(
            name=f"{who}{k}",
            kind="piano",
            role="piano",
            ingredient=who,
            split="train",
            range=(24, 96),
            has_breath=False,
        )
        for who, n in (("bank", 16), ("one", 1))
        for k in range(n)
    ]
    share = Counter(drawn_fairly(rng, fits).ingredient for _ in range(2000))["one"] / 2000
    assert 0.15 < share < 0.25  # the root of 1 beside the root of 16


@needs_all
def test_every_keyboard_and_take_is_there_and_in_tune() -> None:
    assert all(s.path.exists() or qt_resources.read(s.path.parent, s.path.name) for s in recorded_sounds.sounds())
    off = {}
    for one in keyboards.keyboards():
        pitch = sum(one.range) // 2
        off[one.name] = _off_cents(_play(one, pitch), pitch)
    assert {name: cents for name, cents in off.items() if cents > 40} == {}


@needs_all
@pytest.mark.parametrize("kind", ["piano", "elec_piano"])
def test_a_plug_in_is_in_tune_and_gives_the_same_bytes_whatever_was_played_before(kind: str) -> None:
    family = next(f for f in instruments.families() if f.knobs and f.kind == kind)
    rng = np.random.default_rng(6)
    for pitch in (40, 57, 76):
        note = (Note(begin_s=0.1, length_s=0.9, pitch=pitch, velocity=0.7),)
        knobs = tuple(float(rng.uniform(*span)) for span in family.knobs)
        first, again = (plugin_player.render(family.font, knobs, note, SR + 7) for _ in range(2))
        assert first.shape == (SR + 7, 2)
        assert first.tobytes() == again.tobytes()
        assert np.abs(first[: SR // 10 - 1]).max() < 1e-3 < 0.05 < np.abs(first).max() < 2.0
        assert _off_cents(first, pitch) < 25


def test_a_plug_in_that_is_not_there_is_named_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingIngredient, match=r"Piano\.so is no plug-in that can be played .*; apt install mda-lv2$"):
        plugin_player.render(str(tmp_path / "Piano.so"), (0.5,), (), 480)


@needs_all
@pytest.mark.parametrize("role", ["piano", "ac_guitar", "elec_guitar", "strings", "percussion"])
def test_clips_of_all_sounds_are_bounded_and_the_same_twice(role: str) -> None:
    with sounding("all"):
        for seed in range(3):
            first, again = (solo_clip(np.random.default_rng(seed), role, "train", seconds=2.5) for _ in range(2))
            assert first.audio.tobytes() == again.audio.tobytes()
            assert 0.02 < np.abs(first.audio).max() < 2.0
