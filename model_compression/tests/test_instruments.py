"""What instruments and kits promise: splits that share nothing, sounds in tune, pieces that sound like themselves."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import ROLES
from model_compression.data import drum_kits, instruments, soundfont_player, synthesis
from model_compression.data.composer import genre_rules
from model_compression.data.composer_song import Note
from model_compression.data.ingredients import in_use
from model_compression.data.performance import SAMPLE_RATE_HZ

MADE_ELSEWHERE = {"kit", "jazz_kit", "soft_kit", "electronic_kit", "hand_percussion", "electronic_percussion"}
MADE_ELSEWHERE |= {"orchestral_percussion", "singer", "rapper", "effects"}
SUSTAINED: tuple[str, ...] = (
    "wave_lead",
    "organ",
    "bowed_violin",
    "blown_flute",
    "blown_clarinet",
    "blown_trumpet",
    "pluck_steel",
)
SUSTAINED += ("hammer_piano", "fm_piano", "amp_clean", "pluck_bass")


def _note(pitch: float, length_s: float = 1.0, velocity: float = 0.8) -> tuple[Note, ...]:
    return (Note(begin_s=0.0, length_s=length_s, pitch=pitch, velocity=velocity),)


def test_splits_share_no_family_and_no_font() -> None:
    train, test = ([f for f in instruments.families() if f.split == side] for side in ("train", "test"))
    assert not {f.name for f in train} & {f.name for f in test}
    assert not {f.font for f in train if f.font} & {f.font for f in test if f.font}
    kits = drum_kits.kits()
    assert not {k.source for k in kits if k.split == "train"} & {k.source for k in kits if k.split == "test"}


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_every_kind_that_the_composer_writes_for_can_be_played(split: str) -> None:
    written = {k for rules in genre_rules().values() for _, kinds, _ in rules.get("lineup", []) for k in kinds}
    for kind in sorted(written - MADE_ELSEWHERE):
        assert instruments.choose(np.random.default_rng(1), split, kind=kind).kind == kind


def test_every_role_has_a_source_in_both_splits() -> None:
    apart = {"speech", "vocal_lead", "playback", "ambience", "drums", *drum_kits.PIECES}
    for role in set(ROLES) - apart:
        for split in ("train", "test"):
            assert instruments.choose(np.random.default_rng(2), split, role=role).role == role


@pytest.mark.parametrize("engine", SUSTAINED)
def test_synthesis_is_in_tune(engine: str) -> None:
    family = next(f for f in instruments.families() if f.name == f"{engine}.03")
    pitch = (family.range[0] + family.range[1]) // 2
    audio = synthesis.render(np.random.default_rng(4), family.name, _note(pitch, 1.5), 2 * SAMPLE_RATE_HZ)[:, 0]
    steady = audio[SAMPLE_RATE_HZ // 5 : SAMPLE_RATE_HZ + SAMPLE_RATE_HZ // 5]
    expected_hz = 440 * 2 ** ((pitch - 69) / 12)
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady)), 8 * len(steady)))
    hz = np.fft.rfftfreq(8 * len(steady), 1 / SAMPLE_RATE_HZ)
    found = [
        hz[near][np.argmax(spectrum[near])] / k
        for k in (1, 2, 3)
        for near in [np.abs(hz / (k * expected_hz) - 1) < 0.03]
    ]
    errors_cents = 1200 * np.abs(np.log2(np.array(found) / expected_hz))
    assert np.min(errors_cents) < 25  # vibrato and detune are wider than a tuner's eye


def test_a_part_sounds_the_same_whatever_was_played_before() -> None:
    family = next(f for f in instruments.families() if f.name.startswith("timgm.piano"))
    other = next(f for f in instruments.families() if f.name.startswith("timgm.organ"))
    gesture = soundfont_player.Gesture(vibrato=30)
    first = soundfont_player.render(family.font, family.bank, family.program, _note(60), 24000, gesture)
    soundfont_player.render(other.font, other.bank, other.program, _note(64), 24000, gesture)
    assert np.array_equal(
        first, soundfont_player.render(family.font, family.bank, family.program, _note(60), 24000, gesture)
    )


def test_notes_move_by_octaves_into_the_range_of_the_instrument() -> None:
    flute = next(f for f in instruments.families() if f.kind == "flute")
    moved = instruments.in_range(tuple(n for p in (20, 45, 61, 110) for n in _note(p)), flute)
    assert all(flute.range[0] <= n.pitch <= flute.range[1] for n in moved)
    assert [int(n.pitch) % 12 for n in moved] == [20 % 12, 45 % 12, 61 % 12, 110 % 12]


def _median_hz(audio: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(audio.mean(axis=1))) ** 2
    return float(np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE_HZ)[np.searchsorted(np.cumsum(power), power.sum() / 2)])


@pytest.mark.parametrize(
    ("key", "low_hz", "high_hz"), [(36, 30, 160), (42, 2500, 17000), (49, 900, 15000), (43, 45, 350)]
)
def test_pieces_sound_where_they_should_in_most_kits(key: int, low_hz: float, high_hz: float) -> None:
    tuned = drum_kits.Tuning(ratio={}, damping_s={}, pick=0)
    kits = [k for k in drum_kits.kits() if k.style != "percussion" and not isinstance(k.source, tuple)]
    kits = [k for k in kits if k.ingredient in in_use()]
    heard = []
    for kit in kits[::5]:
        if drum_kits.has(kit, key):
            sound = drum_kits.hits(np.random.default_rng(5), kit, tuned, _note(key), SAMPLE_RATE_HZ)
            assert 0.1 < np.abs(sound).max() <= 1.5, kit.name
            heard.append(low_hz < _median_hz(sound) < high_hz)
    assert len(heard) > 5
    assert np.mean(heard) > 0.8
