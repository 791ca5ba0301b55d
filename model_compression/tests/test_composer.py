"""What the composer promises: songs of the right length, in key, on the beat, with parts that sections change."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import GENRES, KEYS, SECTIONS
from model_compression.data.composer import compose
from model_compression.data.composer_song import Song
from model_compression.data.composer_theory import SCALES, chord, voicing


def _songs(genre: str, n_songs: int = 5, seconds: float = 40.0) -> list[Song]:
    return [compose(np.random.default_rng([7, s]), genre, seconds=seconds) for s in range(n_songs)]


@pytest.mark.parametrize("genre", GENRES)
def test_songs_have_several_sections_that_begin_on_downbeats(genre: str) -> None:
    for song in _songs(genre):
        begins = song.section_times_s()
        assert len(begins) >= 2
        assert {word for _, word in begins} <= set(SECTIONS)
        assert all(np.min(np.abs(song.downbeats_s - at)) < 1e-6 for at, _ in begins if at < song.duration_s)


@pytest.mark.parametrize("genre", GENRES)
def test_every_note_lies_in_the_song_and_somebody_leads(genre: str) -> None:
    for song in _songs(genre):
        notes = [n for p in song.parts for n in p.notes]
        assert min(n.begin_s for n in notes) >= 0
        assert max(n.begin_s for n in notes) < song.duration_s
        assert all(0 < n.velocity <= 1 and n.length_s > 0 for n in notes)
        assert any(p.lead_spans_s for p in song.parts)


@pytest.mark.parametrize("genre", GENRES)
def test_tunes_stay_in_the_scale_of_the_key(genre: str) -> None:
    for song in _songs(genre):
        place = KEYS.index(song.key)
        scale = {(place % 12 + s) % 12 for s in SCALES["minor" if place >= 12 else "major"]}
        tunes = [p for p in song.parts if p.function in ("vocal", "melody", "harmony")]
        assert all(int(n.pitch) % 12 in scale for p in tunes for n in p.notes)


def test_downbeats_are_beats_and_the_tempo_is_the_spacing_of_beats() -> None:
    for genre in GENRES:
        for song in _songs(genre, 4):
            assert set(song.downbeats_s) <= set(song.beats_s)
            assert 60 / np.median(np.diff(song.beats_s)) == pytest.approx(song.clock.tempo_bpm, rel=0.02)


def test_all_keys_and_all_sections_occur() -> None:
    songs = [song for genre in GENRES for song in _songs(genre, 14, 16.0)]
    assert {song.key for song in songs} == set(KEYS)
    assert {s.word for song in songs for s in song.sections} == set(SECTIONS)


def test_outro_is_last_or_absent() -> None:
    for genre in GENRES:
        for song in _songs(genre):
            assert "outro" not in [s.word for s in song.sections[:-1]]


def test_the_same_seed_writes_the_same_song() -> None:
    first, second = (compose(np.random.default_rng(3), "funk") for _ in range(2))
    assert first.parts == second.parts


@pytest.mark.parametrize(("genre", "seconds", "says"), [("polka", 30.0, "rock, pop"), ("rock", 2.0, "too short")])
def test_what_cannot_be_composed_is_refused_in_one_line(genre: str, seconds: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        compose(np.random.default_rng(0), genre, seconds=seconds)


@pytest.mark.parametrize(
    ("numeral", "pitch_classes"),
    [
        ("I", (0, 4, 7)),
        ("iim7b5", (2, 5, 8, 0)),
        ("bVII7", (10, 2, 5, 8)),
        ("v", (7, 10, 2)),
        ("bVImaj7", (8, 0, 3, 7)),
    ],
)
def test_roman_numerals_read_as_musicians_read_them(numeral: str, pitch_classes: tuple[int, ...]) -> None:
    assert chord(numeral, 0).pitch_classes == pitch_classes


def test_voices_move_little_when_chords_change() -> None:
    before = voicing(chord("I", 0), 60, 4)
    for numeral in ("IV", "V", "vi", "iim7", "I"):
        after = voicing(chord(numeral, 0), 60, 4, before)
        assert max(abs(a - b) for a, b in zip(sorted(after), sorted(before), strict=True)) <= 7
        before = after
