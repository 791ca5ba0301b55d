"""What recorded sounds, effects, percussion and textures promise: whole tables, pure splits, seeded sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_compression.data import (
    drum_kits,
    drum_patches,
    drum_synthesis,
    effects_chain,
    instruments,
    recorded_sounds,
    textures,
)
from model_compression.data.composer_song import Note
from model_compression.data.ingredients import MissingIngredient, in_use, ingredients
from model_compression.data.percussion_synthesis import GROUPS, MAKERS
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.solo_clips import solo_clip, spilt
from model_compression.data.variation import CHAINS, _bend, bent, doubled, varied


def _hits(n_channels: int = 1) -> np.ndarray:
    t = np.arange(SAMPLE_RATE_HZ // 4)
    one = (0.5 * np.sin(t * 0.03) * np.exp(-t / 3000)).astype(np.float32)
    return np.repeat(np.tile(one, 8)[:, None], n_channels, axis=1)


def _median_hz(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound.mean(axis=1))) ** 2
    return float(np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)[np.searchsorted(np.cumsum(power), power.sum() / 2)])


def test_every_file_of_the_table_is_there_and_can_be_decoded() -> None:
    files = [s.path for s in recorded_sounds.sounds() if s.ingredient in in_use()]
    assert len(files) > 400
    assert all(p.exists() for p in files)
    recordings = [p for p in files if p.suffix != ".ds"]
    for path in recordings[::2] + [p for p in files if p.suffix == ".ds"][::9]:
        sound = recorded_sounds.load(path)
        assert sound.ndim == 2
        assert sound.shape[1] == 2
        assert np.isfinite(sound).all()
        assert abs(np.abs(sound).max() - 1) < 1e-4, path


def test_recordings_are_divided_between_the_splits_and_declared() -> None:
    of = {side: {s.path for s in recorded_sounds.sounds() if s.split == side} for side in ("train", "test")}
    assert not of["train"] & of["test"]
    loose = [(k.split, k.source) for k in drum_kits.kits() if isinstance(k.source, drum_kits.Loose)]
    in_kits = {side: {p for split, kit in loose if split == side for _, p in kit.files} for side in ("train", "test")}
    assert in_kits["train"]
    assert in_kits["test"]
    assert not in_kits["train"] & in_kits["test"]
    assert {s.ingredient for s in recorded_sounds.sounds()} <= set(ingredients())
    assert {f.ingredient for f in instruments.families()} <= set(ingredients())
    assert {k.ingredient for k in drum_kits.kits()} <= set(ingredients())


@pytest.mark.parametrize("read", [recorded_sounds.load, recorded_sounds.patch, drum_patches.render])
def test_a_file_that_is_not_there_is_named_with_what_to_install(read: object, tmp_path: Path) -> None:
    with pytest.raises(MissingIngredient, match=r"nothing\.ogg cannot be read; apt install"):
        read(tmp_path / "nothing.ogg")  # type: ignore[operator]


def test_a_file_that_is_no_patch_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pat").write_bytes(b"RIFF" * 99)
    (tmp_path / "a.ds").write_text("[General]\nVersion=DrumSynth v2.0\n[Tone]\nOn=1\nEnvelope=oops\n")
    with pytest.raises(MissingIngredient, match="is no patch"):
        recorded_sounds.patch(tmp_path / "a.pat")
    with pytest.raises(MissingIngredient, match="makes no sound"):
        drum_patches.render(tmp_path / "a.ds")


@pytest.mark.parametrize("kind", ["piano", "clean_guitar", "nylon_guitar", "flute", "trumpet", "elec_bass"])
def test_patches_are_in_tune(kind: str) -> None:
    family = next(f for f in instruments.families() if f.name.startswith(f"freepats.{kind}."))
    pitch = sum(family.range) // 2
    note = Note(begin_s=0.0, length_s=1.5, pitch=pitch, velocity=0.8)
    zones = instruments.zones_of(family)
    sound = recorded_sounds.play_notes(np.random.default_rng(1), zones, (note,), 2 * SAMPLE_RATE_HZ, fade_s=np.inf)
    part = sound[4800:60000, 0] * np.hanning(55200)
    spectrum, hz = np.abs(np.fft.rfft(part, 1 << 19)), np.fft.rfftfreq(1 << 19, 1 / SAMPLE_RATE_HZ)
    expected_hz = 440 * 2 ** ((pitch - 69) / 12)
    off = []
    for k in (1, 2, 3):
        near = np.flatnonzero(np.abs(hz / (k * expected_hz) - 1) < 0.04)
        off.append(1200 * abs(np.log2(hz[near[np.argmax(spectrum[near])]] / (k * expected_hz))))
    assert min(off) < 25


@pytest.mark.parametrize("role", sorted(CHAINS))
def test_a_chain_is_seeded_bounded_and_silent_on_silence(role: str) -> None:
    begins_s = tuple(0.25 * i for i in range(8))
    for seed in range(5):
        sound = _hits(1 + seed % 2)
        first, again = (varied(np.random.default_rng(seed), sound, role, begins_s) for _ in range(2))
        assert first.tobytes() == again.tobytes()
        assert first.shape == sound.shape
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        assert abs(np.abs(first).max() - np.abs(sound).max()) < 1e-3
        assert not varied(np.random.default_rng(seed), np.zeros_like(sound), role, begins_s).any()


def test_chains_differ_and_some_sounds_stay_as_recorded() -> None:
    sound = _hits()
    made = [varied(np.random.default_rng(seed), sound, "elec_guitar") for seed in range(40)]
    plain = sum(m.tobytes() == sound.tobytes() for m in made)
    assert 2 <= plain <= 18
    assert len({m.tobytes() for m in made}) >= 40 - plain


def test_a_bend_starts_below_ends_on_the_note_and_leaves_the_next_one_alone() -> None:
    at = np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)[:, None]
    begins = np.array([0, 1, 2]) * SAMPLE_RATE_HZ
    semitones = np.where((at >= 1) & (at < 2), -2.0 * (1.0 - np.clip((at - 1.1) / 0.1, 0.0, 1.0)), 0.0)
    sound = effects_chain.bent(tone, semitones, begins)[:, 0]

    def hz_at(begin_s: float) -> float:
        part = sound[round(begin_s * SAMPLE_RATE_HZ) :][:3600]
        rises = np.flatnonzero((part[:-1] < 0) & (part[1:] >= 0))
        return float((len(rises) - 1) / np.ptp(rises) * SAMPLE_RATE_HZ)

    for begin_s, expected_hz in ((0.5, 440.0), (1.01, 392.0), (1.3, 440.0), (2.01, 440.0), (2.5, 440.0)):
        assert hz_at(begin_s) == pytest.approx(expected_hz, rel=0.003)


@pytest.mark.parametrize("semitones", [-7.0, 5.0])
def test_a_slide_lets_the_next_attack_sound_once_and_when_it_should(semitones: float) -> None:
    clicks = np.zeros((SAMPLE_RATE_HZ, 1), np.float32)
    begins = np.array([0, SAMPLE_RATE_HZ // 2])
    clicks[begins + 480] = 1.0
    at = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    slide = semitones * np.where(at < 0.5, 1.0 - np.clip((at - 0.1) / 0.2, 0.0, 1.0), 0.0)
    sound = np.abs(effects_chain.bent(clicks, slide, begins)[:, 0])
    heard = np.flatnonzero(sound > 0.2)
    second = heard[heard > SAMPLE_RATE_HZ // 4]
    assert second.tolist() == [begins[1] + 480]
    assert len(heard) - 1 <= 3, "the first comes late where the slide comes from above, and once"


@pytest.mark.parametrize("length_s", [0.06, 0.125, 0.25, 0.6])
def test_a_bent_note_is_at_its_pitch_for_most_of_its_time(length_s: float) -> None:
    chance, n = np.random.default_rng(1), round(length_s * SAMPLE_RATE_HZ)
    off = [abs(float(np.median(_bend(chance, n)))) for _ in range(300)]
    assert np.mean(np.array(off) > 0.5) < 0.12


def test_some_guitarists_bend_and_no_pianist_does() -> None:
    sound = _hits()
    notes = tuple(Note(begin_s=0.25 * i, length_s=0.2, pitch=60, velocity=0.8) for i in range(4))
    for role, least, most in (("elec_guitar", 8, 24), ("piano", 0, 0)):
        made = [bent(np.random.default_rng(seed), sound, role, notes) for seed in range(40)]
        assert least <= sum(m.tobytes() != sound.tobytes() for m in made) <= most
        assert all(np.isfinite(m).all() and m.shape == sound.shape and m.dtype == np.float32 for m in made)
        assert made[0].tobytes() == bent(np.random.default_rng(0), sound, role, notes).tobytes()


def test_octaves_double_notes_and_voices_are_left_alone() -> None:
    notes = (Note(begin_s=0.0, length_s=1.0, pitch=60, velocity=0.8),)
    counts = {len(doubled(np.random.default_rng(seed), notes, "synth")) for seed in range(40)}
    assert counts == {1, 2}
    assert doubled(np.random.default_rng(0), notes, "vocal_lead") == notes
    assert varied(np.random.default_rng(3), _hits(), "vocal_backing").tobytes() == _hits().tobytes()


def test_what_shares_a_sample_with_the_test_split_does_not_sound() -> None:
    names = {family.name for family in instruments.families()}
    assert "generaluser.trombone.0-57" in names
    shared = ("choir.0-53", "tuba.0-58", "synth_pad.0-91", "synth_pluck.0-98", "xylophone.0-114", "brass_section.11-61")
    assert not names & {f"generaluser.{name}" for name in shared}
    kits = {kit.name: kit for kit in drum_kits.kits()}
    assert not kits.keys() & {"GeneralUser-v1.47.acoustic.32", "GeneralUser-v1.47.acoustic.40"}
    kit, chance = kits["GeneralUser-v1.47.percussion.0"], np.random.default_rng(0)
    for key in (37, 56, 60, 61, 76, 77, 80, 81):
        assert not drum_kits.has(kit, key)
        note = Note(begin_s=0.1, length_s=0.1, pitch=key, velocity=0.8)
        assert not drum_kits.hits(chance, kit, drum_kits.tuning(chance), (note,), SAMPLE_RATE_HZ).any()


def test_own_kits_have_every_percussion_key() -> None:
    own = [k for k in drum_kits.kits() if isinstance(k.source, int)]
    assert {k for group in GROUPS for k in group} <= {*MAKERS, 39}
    for number, key in enumerate(sorted(MAKERS)):
        kit = own[number % len(own)]
        assert drum_kits.has(kit, key), key
        sound = drum_synthesis.struck(kit.source, key, 0.8, 1)  # type: ignore[arg-type]
        assert np.isfinite(sound).all()
        assert sound.tobytes() == drum_synthesis.struck(kit.source, key, 0.8, 1).tobytes()  # type: ignore[arg-type]


def test_a_cuica_of_any_kit_and_pick_is_finite() -> None:
    for number in range(drum_synthesis.N_KITS):
        for key in (78, 79):
            assert np.isfinite(drum_synthesis.struck(number, key, 0.9, number % 3)).all()


@pytest.mark.parametrize(
    ("key", "low_hz", "high_hz"), [(89, 50, 260), (88, 150, 1500), (56, 350, 3000), (70, 3000, 18000), (92, 800, 5000)]
)
def test_percussion_sounds_where_it_should(key: int, low_hz: float, high_hz: float) -> None:
    heard = [low_hz < _median_hz(drum_synthesis.struck(kit, key, 0.7, 0)) < high_hz for kit in range(12)]
    assert np.mean(heard) > 0.8


def test_open_hats_are_shorter_and_brighter_than_crashes() -> None:
    length = {}
    for key in (46, 49):
        sounds = [drum_synthesis.struck(kit, key, 0.7, 0) for kit in range(10)]
        energy = [np.cumsum(s[:, 0] ** 2) for s in sounds]
        length[key] = np.median([np.searchsorted(e, 0.95 * e[-1]) for e in energy])
        length[-key] = np.median([_median_hz(s) for s in sounds])
    assert length[46] < 0.5 * length[49]
    assert length[-46] > length[-49]


def test_the_rest_of_a_kit_stays_under_the_piece_that_a_microphone_is_there_for() -> None:
    own, others = _hits(2), 5.0 * np.roll(_hits(2), 3000, axis=0)
    heard = [spilt(np.random.default_rng(seed), others, own) for seed in range(40)]
    under_db = [20 * np.log10(np.abs(h).max() / np.abs(own).max()) for h in heard]
    assert all(h.shape == own.shape and h.dtype == np.float32 for h in heard)
    assert max(under_db) < -2.9
    assert min(under_db) < -15


def test_tunings_stay_within_what_a_piece_may_be() -> None:
    for seed in range(30):
        tuned = drum_kits.tuning(np.random.default_rng(seed))
        for key, ratio in tuned.ratio.items():
            low, high = drum_kits.RATIOS[drum_kits.PIECE_OF_KEY.get(key, "percussion")]
            assert low <= ratio <= high
        assert all(d > 0.02 for d in tuned.damping_s.values())


@pytest.mark.parametrize("seed", range(6))
def test_textures_are_seeded_and_neither_silent_nor_clipped(seed: int) -> None:
    first, again = (textures.texture(np.random.default_rng(seed), "test", SAMPLE_RATE_HZ * 2) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert first.shape == (2 * SAMPLE_RATE_HZ, 2)
    assert abs(np.abs(first).max() - 0.5) < 1e-3


@pytest.mark.parametrize("role", ["elec_guitar", "percussion", "snare", "drums", "other", "synth", "bass"])
def test_a_clip_is_the_same_twice_and_of_its_role(role: str) -> None:
    for seed in range(4):
        first, again = (solo_clip(np.random.default_rng(seed), role, "train", seconds=2.5) for _ in range(2))
        assert first.audio.tobytes() == again.audio.tobytes()
        assert first.role == role
        assert 0.02 < np.abs(first.audio).max() < 2.0
