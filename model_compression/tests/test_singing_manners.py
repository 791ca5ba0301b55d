"""What manners of singing promise: each is heard as what it is, and none of them is a talker's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyworld
import soxr
from numpy.typing import NDArray

from model_compression.data import singing, singing_manners, talkers, voices
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.singing_manners import TRAINED_MANNERS, Delivery

RATE_HZ = 16000
TUNE = tuple(
    Note(begin_s=0.3 + 0.8 * i, length_s=0.75, pitch=60 + p, velocity=0.8) for i, p in enumerate((0, 2, 4, 5, 7, 4))
)
PLAIN = Delivery(scoop_share=0.0)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("voices")


@pytest.fixture(scope="module")
def engine_singer() -> singing.Singer:
    return _singer("flite.slt")


@pytest.fixture(scope="module")
def person() -> singing.Singer:
    return _singer("recorded.klettres.es")


def _singer(name: str) -> singing.Singer:
    drawn = singing.draw_singer(np.random.default_rng(2), "test")
    return replace(
        drawn, voice=next(v for v in voices.voices() if v.name == name), size=1.0, centre_pitch=62.0, tilt_db=0.0,
        breathiness=0.0, vibrato_cents=0.0, looseness_cents=0.0, glide_s=0.02, slur=0.0, is_tuned=False, delivery=PLAIN,
    )  # fmt: skip


def _sing(singer: singing.Singer, cache_dir: Path, *, notes: tuple[Note, ...] = TUNE) -> NDArray[np.float64]:
    n_frames = round((notes[-1].begin_s + notes[-1].length_s + 0.2) * SAMPLE_RATE_HZ)
    made = singing.sing(np.random.default_rng(3), singer, notes, n_frames, vowels_only=True, cache_dir=cache_dir)
    return made[:, 0].astype(float)


def _pitch(audio: NDArray[np.float32] | NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """MIDI pitch per 5 ms, NaN where unvoiced, and the times in s."""
    low = soxr.resample(audio.astype(float), SAMPLE_RATE_HZ, RATE_HZ)
    f0, at = pyworld.dio(low, RATE_HZ, f0_floor=60.0, f0_ceil=900.0)
    f0 = pyworld.stonemask(low, f0, at, RATE_HZ)
    return np.where(f0 > 0, 69 + 12 * np.log2(np.maximum(f0, 1.0) / 440), np.nan), at


def _off_grid_cents(audio: NDArray[np.float64], notes: tuple[Note, ...], *, from_s: float) -> NDArray[np.float64]:
    pitch, at = _pitch(audio)
    off: list[float] = []
    for note in notes:
        held = pitch[(at > note.begin_s + from_s) & (at < note.begin_s + note.length_s - 0.1)]
        off += list(100 * ((held[~np.isnan(held)] - note.pitch + 6) % 12 - 6))
    return np.array(off)


def _high_share_db(audio: NDArray[np.float64]) -> float:
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE_HZ)
    return float(10 * np.log10(power[(hz > 2500) & (hz < 7000)].sum() / power[hz < 2500].sum()))


def test_half_of_the_singers_who_train_have_a_manner_and_none_of_the_test() -> None:
    plain = {m.delivery for m in singing_manners.MANNERS}
    rng = np.random.default_rng(1)
    trained = [singing_manners.draw_manner(rng, "train") for _ in range(400)]
    assert 0.4 < np.mean([m.delivery not in plain for m in trained]) < 0.6
    tests = [singing.draw_singer(rng, "test") for _ in range(60)]
    assert all(s.delivery == Delivery() for s in tests)
    assert all(
        not m.is_for_leads for m in (singing_manners.draw_manner(rng, "train", is_backing=True) for _ in range(200))
    )


def test_the_test_split_draws_as_if_there_were_no_manners() -> None:
    drawn = singing.draw_singer(np.random.default_rng(17), "test")
    rng = np.random.default_rng(17)
    size = float(rng.uniform(0.88, 1.2))
    manner = singing_manners.MANNERS[int(rng.choice(6, p=[m.odds for m in singing_manners.MANNERS]))]
    assert drawn.size == size
    assert drawn.is_tuned == manner.is_tuned
    assert drawn.voice == voices.choose(rng, "test", sings=True)


def test_people_mostly_sing_with_their_recordings() -> None:
    rng = np.random.default_rng(5)
    drawn = [singing.draw_singer(rng, "train") for _ in range(300)]
    people = Counter(s.delivery.is_as_recorded for s in drawn if s.voice.engine == voices.RECORDED)
    assert 0.5 < people[True] / people.total() < 0.8
    assert not any(s.delivery.is_as_recorded for s in drawn if s.voice.engine != voices.RECORDED)


@pytest.mark.parametrize("name", list(TRAINED_MANNERS))
@pytest.mark.parametrize("is_as_recorded", [False, True])
def test_a_manner_is_finite_and_heard(name: str, is_as_recorded: bool, person: singing.Singer, cache_dir: Path) -> None:
    manner = TRAINED_MANNERS[name]
    singer = replace(person, tilt_db=manner.tilt_db, delivery=replace(manner.delivery, is_as_recorded=is_as_recorded))
    first = _sing(singer, cache_dir, notes=TUNE[:2])
    assert np.isfinite(first).all()
    assert 0.1 < np.abs(first).max() < 2.0


@pytest.mark.parametrize("is_as_recorded", [False, True])
def test_hard_tuned_notes_are_within_10_cents_of_the_grid(
    is_as_recorded: bool, person: singing.Singer, cache_dir: Path
) -> None:
    delivery = replace(TRAINED_MANNERS["hard tuned"].delivery, is_as_recorded=is_as_recorded)
    singer = replace(person, is_tuned=True, glide_s=0.002, delivery=delivery)
    off = _off_grid_cents(_sing(singer, cache_dir), TUNE, from_s=0.1)
    assert len(off) > 400
    assert np.percentile(np.abs(off), 90) < 10


def test_falsetto_has_less_in_its_upper_harmonics(person: singing.Singer, cache_dir: Path) -> None:
    for is_as_recorded in (False, True):
        delivery = replace(PLAIN, is_as_recorded=is_as_recorded)
        singer = replace(person, delivery=delivery)
        falsetto = replace(singer, tilt_db=TRAINED_MANNERS["falsetto"].tilt_db)
        belted = replace(singer, tilt_db=TRAINED_MANNERS["belted"].tilt_db)
        plain_db = _high_share_db(_sing(singer, cache_dir))
        assert _high_share_db(_sing(falsetto, cache_dir)) < plain_db - 6
        assert _high_share_db(_sing(belted, cache_dir)) > plain_db + 3


def test_falsetto_is_an_octave_up(engine_singer: singing.Singer, cache_dir: Path) -> None:
    note = (Note(begin_s=0.2, length_s=1.5, pitch=60, velocity=0.8),)
    lifted = replace(engine_singer, centre_pitch=engine_singer.centre_pitch + TRAINED_MANNERS["falsetto"].lift)
    low, high = (np.nanmedian(_pitch(_sing(s, cache_dir, notes=note))[0]) for s in (engine_singer, lifted))
    assert high - low == pytest.approx(12, abs=0.3)


@pytest.mark.parametrize("is_as_recorded", [False, True])
def test_the_same_seed_sings_the_same_bytes_with_and_without_a_cache(
    is_as_recorded: bool, person: singing.Singer, cache_dir: Path
) -> None:
    delivery = Delivery(growl=0.3, melisma=0.5, is_legato=True, is_as_recorded=is_as_recorded)
    singer = replace(person, delivery=delivery)
    kept, again = (singing.sing(np.random.default_rng(3), singer, TUNE, 96000, cache_dir=cache_dir) for _ in range(2))
    voices.forget()
    fresh = singing.sing(np.random.default_rng(3), singer, TUNE, 96000)
    assert kept.tobytes() == again.tobytes() == fresh.tobytes()


def test_growl_halves_the_rate_of_what_repeats(engine_singer: singing.Singer, cache_dir: Path) -> None:
    note = (Note(begin_s=0.2, length_s=2.0, pitch=60, velocity=0.8),)
    growled = replace(engine_singer, delivery=replace(PLAIN, growl=0.7))
    shares = []
    for singer in (engine_singer, growled):
        sound = _sing(singer, cache_dir, notes=note)[int(0.6 * SAMPLE_RATE_HZ) : int(2.0 * SAMPLE_RATE_HZ)]
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE_HZ)
        between = [1.5 * 261.6, 2.5 * 261.6, 3.5 * 261.6]
        shares.append(sum(power[np.abs(hz - f) < 25].sum() for f in between) / power[hz < 1200].sum())
    assert shares[1] > 10 * shares[0]


def test_scoops_begin_below_and_late_vibrato_begins_late(engine_singer: singing.Singer, cache_dir: Path) -> None:
    note = (Note(begin_s=0.2, length_s=2.4, pitch=60, velocity=0.8),)
    gliding = replace(TRAINED_MANNERS["gliding"].delivery, scoop_share=1.0)
    pitch, at = _pitch(_sing(replace(engine_singer, delivery=gliding), cache_dir, notes=note))
    begun, held = pitch[(at > 0.22) & (at < 0.3)], pitch[(at > 1.0) & (at < 2.0)]
    assert np.nanmedian(held) - np.nanmedian(begun) > 0.4
    late = replace(engine_singer, vibrato_cents=80.0, delivery=TRAINED_MANNERS["late vibrato"].delivery)
    pitch, at = _pitch(_sing(late, cache_dir, notes=note))
    early, swinging = pitch[(at > 0.35) & (at < 0.75)], pitch[(at > 1.4) & (at < 2.4)]
    assert np.nanstd(swinging) > 3 * np.nanstd(early)


def test_ornaments_keep_to_the_pitches_and_the_time_of_the_tune() -> None:
    sung = singing_manners.delivered(np.random.default_rng(0), TUNE, replace(PLAIN, melisma=1.0, is_legato=True))
    assert len(sung) >= 2 * len(TUNE)
    assert {n.pitch for n in sung} <= {n.pitch for n in TUNE}
    assert all(n.length_s > 0.05 for n in sung)
    ends_s = [n.begin_s + n.length_s for n in sung]
    assert ends_s[-1] == pytest.approx(TUNE[-1].begin_s + TUNE[-1].length_s)
    assert all(a <= n.begin_s + 1e-9 for a, n in zip(ends_s, sung[1:], strict=False))


@pytest.mark.parametrize("is_as_recorded", [False, True])
def test_a_sung_lead_holds_its_pitch_and_its_vowels_where_talk_does_not(
    is_as_recorded: bool, person: singing.Singer, cache_dir: Path
) -> None:
    singer = replace(person, looseness_cents=10.0, vibrato_cents=30.0, delivery=Delivery(is_as_recorded=is_as_recorded))
    sung = singing.sing(np.random.default_rng(3), singer, TUNE, 6 * SAMPLE_RATE_HZ, cache_dir=cache_dir)[:, 0]
    talker = replace(
        talkers.draw_person(np.random.default_rng(1), "train"), voice=_singer("recorded.fillets.cs.v").voice
    )
    said, _ = talkers.conversation(np.random.default_rng(2), [talker], 6.0, cache_dir=cache_dir)
    assert _steady_share(sung) > 0.5
    assert _steady_share(said[0][:, 0]) < 0.4


def _steady_share(audio: NDArray[np.float32]) -> float:
    """Share of the voiced time that lies within half a semitone of the mean for 300 ms around it."""
    pitch, _ = _pitch(audio)
    windows = np.lib.stride_tricks.sliding_window_view(pitch, 60)
    whole = ~np.isnan(windows).any(axis=1)
    steady = np.zeros(len(pitch), bool)
    for i in np.flatnonzero(whole):
        if np.abs(windows[i] - np.median(windows[i])).max() < 0.6:
            steady[i : i + 60] = True
    return float(steady.sum() / (~np.isnan(pitch)).sum())
