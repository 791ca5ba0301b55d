"""The good mix: who leads, how genres, sections and talk move the balance, how far valid answers scatter."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import GENRES, ROLES, SCENE_KINDS, SECTIONS, STYLES
from model_compression.data.performance import Performance
from model_compression.data.recording import RecordedSession, record
from model_compression.data.targets import Targets, role_indices, tables, targets
from model_compression.training.batches import spare
from model_compression.training.sessions import Session

from .session_material import BAND, band, talk

NATURAL, UPFRONT, SPACIOUS = range(3)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def recorded(performance: Performance) -> RecordedSession:
    return record(rng(), performance, "train", "clean", is_whole=True)


def mean_answer(session: RecordedSession, n: int = 40) -> Targets:
    """Return the middle of many valid answers."""
    answers = [targets(rng(seed), session) for seed in range(n)]
    fields = {name: np.mean([getattr(a, name) for a in answers], axis=0) for name in vars(answers[0])}
    return Targets(**fields)


def channel(session: RecordedSession, role: str) -> int:
    return [mic.role for mic in session.microphones].index(role)


def test_the_tables_know_only_words_of_the_contract() -> None:
    t = tables()
    for name in ("offset_lu", "importance"):
        assert set(t[name]) == set(ROLES), name
    assert set(t["genre_lu"]) | {"none"} == set(GENRES) | {"none"}
    assert set(t["section_lu"]) == set(SECTIONS)
    assert set(t["style_lu"]) == set(STYLES)
    for table in (*t["genre_lu"].values(), *t["section_lu"].values(), *t["style_lu"].values(), t["send"]["role"],
                  t["pan"]["alone"], t["pan"]["several"], t["compressor"]["ratio"], t["tone"]["role"]):  # fmt: skip
        assert set(table) <= set(ROLES)
    assert set(t["compressor"]["ratio"]) == set(t["compressor"]["threshold_db"])
    assert set(t["pan"]["alone"]) | set(t["pan"]["centre"]) == set(ROLES)
    for key in ("pan", "send", "compressor", "tone"):
        assert set(t[key]["genre"]) == set(GENRES), key
    assert set(t["send"]["section"]) == set(SECTIONS)


@pytest.fixture(scope="module")
def rock() -> RecordedSession:
    return recorded(band(rng()))


def test_the_lead_stands_at_zero_and_the_solo_takes_its_place(rock: RecordedSession) -> None:
    answer = mean_answer(rock)
    voice, guitar = channel(rock, "vocal_lead"), channel(rock, "elec_guitar")
    offset_lu = answer.offset_lu[NATURAL]
    assert offset_lu[:3, voice] == pytest.approx(0.0, abs=0.3)
    assert offset_lu[3:, guitar] == pytest.approx(-1.0, abs=0.3)
    assert (offset_lu[:3, guitar] < -3.0).all()
    assert (answer.importance[10:140, voice] == 1.0).all()
    assert (answer.importance[160:, guitar] == 1.0).all()
    assert (answer.importance[10:140, guitar] < 0.6).all()


def test_when_the_singer_was_not_recorded_somebody_else_leads(rock: RecordedSession) -> None:
    performance = rock.performance
    others = tuple(stem for stem in performance.stems if stem.role != "vocal_lead")
    session = recorded(replace(performance, stems=others))
    importance = targets(rng(), session).importance
    assert ((importance[:40] == 1.0).sum(axis=1) == 1).all(), "one, and not several"
    leads = int(np.argmax(importance[20]))
    assert session.microphones[leads].role == "piano"


@pytest.fixture
def no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are the tables' own."""
    for name in ("offset_lu", "pan_abs", "tone_db", "compressor_db", "send_db"):
        monkeypatch.setitem(tables()["sigma"], name, 0.0)


def without(session: RecordedSession, gone: np.ndarray) -> RecordedSession:
    kept = np.flatnonzero(~gone)
    return replace(
        session,
        microphones=tuple(session.microphones[k] for k in kept),
        is_active=session.is_active[:, kept],
        gain_fault_db=session.gain_fault_db[kept],
        eq_fault_db=session.eq_fault_db[kept],
    )


@pytest.mark.usefixtures("no_spread")
@pytest.mark.parametrize("first", [0, 60, 140, 200])
def test_what_training_unplugs_changes_nothing_that_is_true_of_the_others(rock: RecordedSession, first: int) -> None:
    whole, ticks = targets(rng(), rock), np.arange(first, first + 36)
    seconds = slice(ticks[0] // 50, ticks[-1] // 50 + 1)
    session = SimpleNamespace(
        importance=np.round(255 * whole.importance).astype(np.uint8),
        role=role_indices(rock),
        scene_kind=SCENE_KINDS.index("music"),
        n_channels=len(rock.microphones),
    )
    unplugged = []
    for seed in range(12):
        gone = spare(cast(Session, session), ticks, rng(seed))
        left = targets(rng(), without(rock, gone))
        np.testing.assert_allclose(left.offset_lu[:, seconds], whole.offset_lu[:, seconds][..., ~gone], atol=1e-9)
        np.testing.assert_allclose(left.send_db[:, seconds], whole.send_db[:, seconds][..., ~gone], atol=1e-9)
        np.testing.assert_allclose(left.pan_abs, whole.pan_abs[:, ~gone], atol=1e-9)
        np.testing.assert_allclose(left.importance[ticks], whole.importance[ticks][:, ~gone], atol=1e-9)
        unplugged.append(int(gone.sum()))
    assert max(unplugged) >= 2


def test_where_somebody_talks_nobody_is_unplugged(rock: RecordedSession) -> None:
    session = SimpleNamespace(scene_kind=SCENE_KINDS.index("mixed"), n_channels=len(rock.microphones))
    assert not spare(cast(Session, session), np.arange(36), rng()).any()


def test_genres_move_the_balance_where_practice_does(rock: RecordedSession) -> None:
    def offset(genre: str, role: str) -> float:
        session = replace(rock, performance=replace(rock.performance, genre=genre))
        return float(mean_answer(session, 12).offset_lu[NATURAL, 0, channel(session, role)])

    assert offset("electronic", "kick") > offset("rock", "kick") + 1.5
    assert offset("jazz", "snare") < offset("rock", "snare") - 2.0
    assert offset("folk", "kick") < offset("pop", "kick")
    assert offset("funk", "bass") > offset("folk", "bass") + 1.5


def test_a_classical_recording_is_not_compressed_and_is_wide(rock: RecordedSession) -> None:
    classical = replace(rock, performance=replace(rock.performance, genre="classical"))
    answer, other = mean_answer(classical, 4), mean_answer(rock, 4)
    assert (answer.compressor[:, 1] == 1.0).all()
    assert other.compressor[channel(rock, "vocal_lead"), 1] > 1.5
    piano = channel(rock, "piano")
    assert answer.pan_abs[NATURAL, piano] > other.pan_abs[NATURAL, piano]


def test_styles_differ_as_they_are_named(rock: RecordedSession) -> None:
    answer = targets(rng(), rock)
    guitar, piano = channel(rock, "elec_guitar"), channel(rock, "piano")
    assert answer.offset_lu[UPFRONT, 0, guitar] < answer.offset_lu[NATURAL, 0, guitar]
    assert answer.send_db[UPFRONT, 0, guitar] < answer.send_db[NATURAL, 0, guitar] < answer.send_db[SPACIOUS, 0, guitar]
    assert answer.pan_abs[UPFRONT, piano] < answer.pan_abs[SPACIOUS, piano]


def test_foundations_stay_in_the_middle_and_dry_roles_dry(rock: RecordedSession) -> None:
    for seed in range(5):
        answer = targets(rng(seed), rock)
        for role in ("kick", "snare", "bass", "vocal_lead"):
            assert (answer.pan_abs[:, channel(rock, role)] == 0.0).all()
        for role in ("kick", "bass", "hihat"):
            assert (answer.send_db[:, :, channel(rock, role)] == -40.0).all()


def test_music_lies_fourteen_lu_under_talk_and_talkers_are_equal() -> None:
    session = recorded(talk(rng()))
    answer = mean_answer(session)
    bed = channel(session, "playback")
    talkers = [ch for ch, mic in enumerate(session.microphones) if mic.role == "speech"]
    assert answer.offset_lu[NATURAL][:, talkers] == pytest.approx(0.0, abs=0.3)
    assert np.median(answer.offset_lu[NATURAL][:, bed]) == pytest.approx(-14.0, abs=0.5)


def test_valid_answers_scatter_by_the_sigma_that_is_stated(rock: RecordedSession) -> None:
    answers = [targets(rng(seed), rock) for seed in range(300)]
    sigma = answers[0].sigma
    bass, guitar = channel(rock, "bass"), channel(rock, "elec_guitar")
    spread = [
        np.std([a.offset_lu[0, 0, bass] for a in answers]),
        np.std([a.pan_abs[0, guitar] for a in answers]),
        np.std([a.tone_db[bass, 1] for a in answers]),
        np.std([a.compressor[bass, 0] for a in answers]),
        np.std([a.send_db[0, 0, guitar] for a in answers]),
    ]
    assert spread == pytest.approx(sigma, rel=0.15)  # 300 draws: 4 % is one standard error
    assert np.ptp(answers[0].offset_lu[0, :3, bass]) < 1e-9, "the spread stays with a channel over a section"


def test_every_role_has_an_answer_within_bounds() -> None:
    roles = tuple(role for role in ROLES if role not in BAND)
    session = recorded(band(rng(), 2.0, "funk", roles=roles))
    answer = targets(rng(), session)
    for name, low, high in (
        ("offset_lu", -30.0, 3.0), ("pan_abs", 0.0, 1.0), ("tone_db", -6.0, 6.0), ("send_db", -40.0, 0.0),
        ("importance", 0.0, 1.0),
    ):  # fmt: skip
        values = getattr(answer, name)
        assert np.isfinite(values).all()
        assert values.min() >= low, name
        assert values.max() <= high, name
    assert (answer.compressor[:, 1] >= 1.0).all()
