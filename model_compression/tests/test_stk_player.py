"""What physical models promise: any position of their knobs is in tune, bounded and the same twice; train alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_compression.data import drum_kits, instruments, modelled_kits, stk_library, stk_player
from model_compression.data.composer_song import Note
from model_compression.data.ingredients import MissingIngredient, ingredients, shortage, sounding
from model_compression.data.modelled_instruments import Modelled, modelled
from model_compression.data.performance import SAMPLE_RATE_HZ as SR
from model_compression.data.pitch_heard import pitch_heard_hz

LACK = shortage([ingredients()[name] for name in ("stk", "libstk-dev")])
needs_stk = pytest.mark.skipif(bool(LACK), reason=f"physical models: {LACK}")
every_model = pytest.mark.parametrize("one", modelled(), ids=lambda one: one.name)
WORST_CENTS = 35.0
NOTE_S, STEP_S = 0.6, 1.1
BARS = 12  # partials among which one of a bar is looked for; its lowest is often not the loudest


def _note(pitch: float, velocity: float = 0.7, begin_s: float = 0.0, length_s: float = NOTE_S) -> Note:
    return Note(begin_s=begin_s, length_s=length_s, pitch=pitch, velocity=velocity)


def _play(one: Modelled, *notes: Note, seed: int = 1, positions: dict[str, float] | None = None) -> np.ndarray:
    n_frames = round((notes[-1].begin_s + notes[-1].length_s + one.tail_s + 0.2) * SR)
    return stk_player.render(np.random.default_rng(seed), one, notes, n_frames, positions=positions)


def _hz(pitch: float) -> float:
    return float(440 * 2 ** ((pitch - 69) / 12))


def _off_cents(one: Modelled, sound: np.ndarray, pitch: float) -> float:
    if one.is_tuned:
        heard_hz = pitch_heard_hz(sound, rate_hz=SR, near_hz=_hz(pitch))
        return np.inf if heard_hz is None else float(1200 * np.log2(heard_hz / _hz(pitch)))
    spectrum, hz = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 18)), np.fft.rfftfreq(1 << 18, 1 / SR)
    off = [np.inf]
    for k in range(1, BARS + 1):
        near = np.flatnonzero(np.abs(hz / (k * _hz(pitch)) - 1) < 0.04)
        loudest = near[np.argmax(spectrum[near])] if len(near) else 0
        if loudest and spectrum[loudest] > 0.03 * spectrum.max():
            off.append(float(1200 * np.log2(hz[loudest] / (k * _hz(pitch)))))
    return min(off, key=abs)


@needs_stk
@every_model
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_model_is_in_tune_over_its_range_with_its_knobs_at_their_ends(one: Modelled, seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions = {knob.name: float(rng.integers(2)) if seed else 0.5 for knob in one.knobs}
    low, high = one.range
    asked = [(low, 0.5), ((low + high) // 2, 0.95), (high, 0.7)]
    notes = [_note(pitch, velocity, begin_s=i * STEP_S) for i, (pitch, velocity) in enumerate(asked)]
    sound = _play(one, *notes, seed=seed, positions=positions)[:, 0]
    off = {}
    for note in notes:
        begin = note.begin_s + (one.settles_s if one.is_tuned else 0.01)
        off[note.pitch] = _off_cents(one, sound[round(begin * SR) : round((note.begin_s + NOTE_S) * SR)], note.pitch)
    assert {pitch: cents for pitch, cents in off.items() if abs(cents) > WORST_CENTS} == {}


@needs_stk
@every_model
def test_a_model_is_bounded_dies_away_and_is_louder_when_played_harder(one: Modelled) -> None:
    pitch = sum(one.range) // 2
    level = {}
    for velocity in (0.3, 0.95):
        sound = _play(one, _note(pitch, velocity), seed=3)
        assert np.isfinite(sound).all()
        assert 1e-4 < np.abs(sound).max() <= 1.0
        late = sound[round((NOTE_S + one.tail_s + 0.1) * SR) :]
        assert np.abs(late).max() < 0.02 * np.abs(sound).max()
        level[velocity] = float(np.sqrt(np.mean(sound**2)))
    assert level[0.95] > 1.3 * level[0.3]


@needs_stk
@every_model
def test_a_model_gives_the_same_bytes_whatever_was_played_before(one: Modelled) -> None:
    pitch = sum(one.range) // 2
    part = (_note(pitch, length_s=0.2), _note(pitch + 2, begin_s=0.2, length_s=0.2))
    first = _play(one, *part)
    with stk_library.instrument("Shakers", lowest_hz=20.0, seed=9) as other:
        other.note_on(440.0, 1.0)
        other.render(1000)
    assert first.shape[1] == 2
    assert first.tobytes() == _play(one, *part).tobytes()
    if one.knobs or one.body:
        assert first.tobytes() != _play(one, *part, seed=2).tobytes()


@needs_stk
def test_notes_that_touch_are_slurred_and_chords_keep_all_their_notes() -> None:
    by_name = {one.name: one for one in modelled()}
    flute, guitar = by_name["stk.flute"], by_name["stk.electric_guitar"]
    slurred = _play(flute, _note(72, begin_s=0.0), _note(76, begin_s=NOTE_S))[:, 0]
    around = np.abs(slurred[round((NOTE_S - 0.02) * SR) : round((NOTE_S + 0.04) * SR)]).reshape(-1, 240).max(axis=1)
    assert around.min() > 0.15 * np.abs(slurred).max()
    chord = _play(guitar, *(_note(pitch) for pitch in (52, 59, 64)))[round(0.1 * SR) : round(0.5 * SR), 0]
    spectrum, hz = np.abs(np.fft.rfft(chord * np.hanning(len(chord)))), np.fft.rfftfreq(len(chord), 1 / SR)
    for pitch in (52, 59, 64):
        assert spectrum[np.abs(hz / _hz(pitch) - 1) < 0.02].max() > 0.02 * spectrum.max()


def test_models_are_for_training_alone_and_only_where_all_sounds_are_asked_for() -> None:
    families = [f for f in instruments.families() if f.modelled]
    kits = [k for k in drum_kits.kits() if isinstance(k.source, drum_kits.Model)]
    assert {f.name for f in families} == {one.name for one in modelled()}, "a kind that the registry lacks"
    assert {(f.split, f.ingredient) for f in families} == {("train", "stk")}
    assert {(k.split, k.ingredient) for k in kits} == {("train", "stk")}
    for sounds, split in (("core", "train"), ("all", "test")):
        rng = np.random.default_rng(4)
        with sounding(sounds):
            assert not any(instruments.choose(rng, split, role=role).modelled for role in ("strings", "brass") * 60)
            assert not any(drum_kits.choose(rng, split, "percussion") in kits for _ in range(200))
    with sounding("all"):
        assert any(drum_kits.choose(np.random.default_rng(seed), "train", "percussion") in kits for seed in range(200))


@needs_stk
@pytest.mark.parametrize("name", ["stk.cello", "stk.trumpet", "stk.steel_guitar", "stk.marimba"])
def test_a_part_on_a_model_is_as_long_and_loud_as_on_any_instrument(name: str) -> None:
    family = next(f for f in instruments.families() if f.name == name)
    part = tuple(_note(pitch, begin_s=0.3 * i, length_s=0.28) for i, pitch in enumerate((40, 64, 67, 71, 90)))
    sounds = [instruments.play(np.random.default_rng(5), family, part, 2 * SR, is_stereo=True) for _ in range(2)]
    assert sounds[0].shape == (2 * SR, 2)
    assert np.abs(sounds[0]).max() == pytest.approx(0.5, rel=0.01)
    assert sounds[0].tobytes() == sounds[1].tobytes()


@needs_stk
@pytest.mark.parametrize("key", sorted(modelled_kits.MAKERS))
def test_hand_percussion_is_bounded_dies_away_and_is_the_same_twice(key: int) -> None:
    for number in range(3):
        sound = modelled_kits.struck(number, key, 0.7, 1)
        assert sound.tobytes() == modelled_kits.struck(number, key, 0.7, 1).tobytes()
        assert sound.shape[1] == 2
        assert np.abs(sound).max() == pytest.approx(1.0)
        assert len(sound) < drum_kits.MAX_HIT_S * SR
        assert np.abs(sound[-SR // 20 :]).max() < 0.6, "nearly all is heard: what still rings is faded by the kit"
    assert modelled_kits.struck(0, key, 0.7, 1).tobytes() != modelled_kits.struck(1, key, 0.7, 1).tobytes()


def test_a_key_that_hand_percussion_lacks_is_silent() -> None:
    assert not modelled_kits.struck(0, 36, 0.7, 0).any()


@needs_stk
def test_an_instrument_that_the_toolkit_lacks_is_named() -> None:
    with (
        pytest.raises(ValueError, match=r"^there is no instrument Kazoo$"),
        stk_library.instrument("Kazoo", lowest_hz=20.0, seed=1),
    ):
        pass


def test_a_machine_that_cannot_compile_the_shim_is_told_what_to_install(tmp_path: Path) -> None:
    remedy = r"\(.*\); apt install g\+\+ libstk-dev stk$"
    with pytest.raises(MissingIngredient, match=f"^no-such-compiler does not start {remedy}"):
        stk_library.compiled(tmp_path, ("no-such-compiler",))
    with pytest.raises(MissingIngredient, match=f"^the shim of the Synthesis ToolKit does not compile {remedy}"):
        stk_library.compiled(tmp_path, ("g++", "-std=c++17", "-include", "no_such_header.h"))
    assert list(tmp_path.glob("*.so")) == []


@pytest.mark.parametrize("hz", [41.2, 110.0, 440.0, 1760.0])
@pytest.mark.parametrize("first", [1, 2])
def test_a_pitch_is_heard_to_three_cents_with_or_without_its_fundamental(hz: float, first: int) -> None:
    t = np.arange(SR // 5) / SR
    sound = np.sum([np.sin(2 * np.pi * k * hz * t + k) / k for k in range(first, 8)], axis=0)
    heard_hz = pitch_heard_hz(sound, rate_hz=SR, near_hz=hz * 1.03)
    assert heard_hz is not None
    assert abs(1200 * np.log2(heard_hz / hz)) < 3


@pytest.mark.parametrize("ratio", [0.5, 2.0, 3.0])
def test_an_overblown_pitch_is_heard_where_it_is(ratio: float) -> None:
    t = np.arange(SR // 5) / SR
    sound = np.sum([np.sin(2 * np.pi * k * 200 * ratio * t) / k for k in range(1, 8)], axis=0)
    heard_hz = pitch_heard_hz(sound, rate_hz=SR, near_hz=200.0)
    assert heard_hz == pytest.approx(200 * ratio, rel=0.003)


def test_no_pitch_is_heard_in_silence_in_noise_or_in_what_is_no_number() -> None:
    noise = np.random.default_rng(1).normal(size=SR // 5)
    for sound in (np.zeros(SR // 5), noise, np.full(SR // 5, np.nan)):
        assert pitch_heard_hz(sound, rate_hz=SR, near_hz=300.0) is None
