"""Scores on generated sessions: a perfect answer is perfect, a known error is that error; damaged data is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES
from model_compression.errors import ModelError
from model_compression.evaluation import data_figures, data_scores, invariance, shards
from model_compression.evaluation.gathered import Gathered
from model_compression.evaluation.model_files import Head
from model_compression.evaluation.shards import Labelled
from model_compression.evaluation.tests.sessions_of_tones import arrays_of, write_shard

MIX_ROWS = (
    ("offset_lu", 3, 15.0, 0.0), ("pan_abs", 3, 1.0, 0.0), ("tone_db", 4, 6.0, 0.0),
    ("compressor_threshold_db", 1, 20.0, 0.0), ("compressor_log2_ratio", 1, 2.0, 0.0), ("send_db", 3, 40.0, -40.0),
    ("ln_sigma", 5, 2.5, -2.5), ("importance", 1, 8.0, 0.0), ("activity", 1, 8.0, 0.0), ("bleed", 1, 8.0, 0.0),
    ("role", len(ROLES), 8.0, 0.0),
)  # fmt: skip
SONG_ROWS = (("beat", 1), ("downbeat", 1), ("boundary", 1), ("section", 6), ("genre", 8), ("scene", 3), ("key", 24))


def heads_of(rows: Any) -> dict[str, Head]:
    first, heads = 0, {}
    for name, count, *scales in rows:
        scale, offset = scales or (1.0, 0.0)
        heads[name] = Head(first=first, count=count, scale=scale, offset=offset)
        first += count
    return heads


MIX, SONG = heads_of(MIX_ROWS), heads_of(SONG_ROWS)


@pytest.fixture
def session() -> Labelled:
    return Labelled(name="0", arrays=arrays_of(0))


def perfect(session: Labelled) -> dict[str, NDArray[Any]]:
    """Return the truth, written as networks would say it."""
    n_ticks, n_channels = session.n_ticks, session.n_channels
    y = np.zeros((n_ticks, n_channels, 44), np.float32)
    z = np.full((n_ticks, 44), -5.0, np.float32)

    def say(name: str, value: Any) -> None:
        head = MIX[name]
        y[:, :, head.first : head.first + head.count] = (np.asarray(value) - head.offset) / head.scale

    second = np.arange(n_ticks) // 50
    for name in ("offset_lu", "send_db"):
        say(name, np.moveaxis(session[name].astype(float)[:, second], 0, 2))
    say("pan_abs", session["pan_abs"].T[None])
    say("tone_db", session["tone_db"][None])
    say("compressor_threshold_db", session["compressor"][None, :, :1])
    say("compressor_log2_ratio", np.log2(session["compressor"][None, :, 1:]))
    say("ln_sigma", np.log(session["sigma"] / np.array([15.0, 1.0, 6.0, 20.0, 40.0])))
    say("activity", np.where(session["active"], 4.0, -4.0)[:, :, None])
    say("bleed", np.where(session["is_bleed"], 4.0, -4.0)[:, :, None])
    z[session["beat"] > 0, 0] = z[session["beat"] == 2, 1] = z[session["boundary"], 2] = 5.0
    z[:, 3 + 1] = z[:, 9 + 2] = z[:, 17 + 1] = z[:, 20 + 9] = 5.0
    role_prob = np.broadcast_to(np.eye(len(ROLES), dtype=np.float32)[session["role"]], (12, n_channels, len(ROLES)))
    return {"y": y, "z": z, "role_prob": role_prob}


def test_the_truth_scores_zero_error_and_full_marks(session: Labelled) -> None:
    answer = perfect(session)
    mine, truth, mask = (
        data_scores.decoded(answer["y"], MIX),
        data_scores.truth_of(session),
        data_scores.judged(session),
    )
    assert mask.sum() == (12 - data_scores.SETTLE_S) * 3, "the last channel never sounds"
    errors = data_scores.parameter_errors(mine, truth, mask)
    assert max(float(np.abs(values).max()) for values in errors.values()) < 0.02
    assert set(data_scores.covered(mine, truth, mask).values()) == {1.0}
    told = data_scores.song(session, answer, SONG)
    assert told == dict.fromkeys(told, pytest.approx(1.0))
    truth_roles, guess, confidence = data_scores.roles(session, answer)
    assert (truth_roles == guess).all()
    assert len(guess) == 3
    assert (confidence == 1.0).all()


def test_two_lu_too_loud_is_an_error_of_two_lu(session: Labelled) -> None:
    answer = perfect(session)
    answer["y"][:, :, 0] += 2.0 / 15.0
    mine, truth = data_scores.decoded(answer["y"], MIX), data_scores.truth_of(session)
    errors = data_scores.parameter_errors(mine, truth, data_scores.judged(session))
    assert errors["offset_lu"] == pytest.approx(2.0, abs=0.02)
    assert np.abs(errors["offset_lu_style_1"]).max() < 0.02


def test_a_model_that_is_too_sure_covers_too_little(session: Labelled) -> None:
    answer = perfect(session)
    rng = np.random.default_rng(0)
    answer["y"][:, :, 3] += 0.1 * rng.standard_normal(answer["y"].shape[:2])  # pan, with a sigma of 0.1
    truth, mask = data_scores.truth_of(session), data_scores.judged(session)
    mine = data_scores.decoded(np.clip(answer["y"], -1, 1), MIX)
    honest = data_scores.covered(mine, truth, mask)["pan_abs"]
    answer["y"][:, :, MIX["ln_sigma"].first + 1] -= np.log(10.0) / 2.5
    boasting = data_scores.covered(data_scores.decoded(answer["y"], MIX), truth, mask)["pan_abs"]
    assert honest > 0.7
    assert boasting < 0.4


def test_channels_are_told_apart_by_the_bleed_they_hear(session: Labelled) -> None:
    groups = data_scores.bleed_groups(session)
    assert groups["near"].tolist() == [True, False, False, False]
    assert groups["none"].tolist() == [False, True, True, True]


def test_figures_hold_a_perfect_answer_to_the_goals(session: Labelled) -> None:
    found = Gathered()
    answer = perfect(session)
    found.add(session, answer, MIX, SONG)
    figures = data_figures.figures_of(found, "int8")
    by_name = {figure.name: figure for figure in figures}
    assert by_name["offset_lu MAE, int8"].is_met
    assert by_name["activity F1"].value == 1.0
    assert by_name["bleed ROC-AUC"].value == 1.0
    assert by_name["beat_f"].is_met
    assert by_name["roles macro-F1"].is_met


def test_shards_come_back_in_order_and_as_many_as_asked(tmp_path: Path) -> None:
    write_shard(tmp_path / "test", [arrays_of(k, n_channels=k + 2, seconds=2) for k in range(3)])
    assert [s.n_channels for s in shards.sessions(tmp_path, "test")] == [2, 3, 4]
    assert len(list(shards.sessions(tmp_path, "test", at_most=2))) == 2


def test_damaged_and_foreign_shards_are_refused_by_name(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "test", [arrays_of(0, seconds=2)])
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"shard_0000\.npz: is damaged"):
        list(shards.sessions(tmp_path, "test"))
    np.savez(path, s0_x=np.zeros((1, 1, 104), np.int8))
    with pytest.raises(ModelError, match="session 0 lacks m"):
        list(shards.sessions(tmp_path, "test"))


def test_channels_that_never_sound_are_written_as_the_model_input_has_them() -> None:
    rows = invariance.silent_rows(3, 2, 104)
    assert rows.shape == (3, 2, 104)
    assert (rows[:, :, :60] == -127).all()
    assert (rows[:, :, 71] == -127).all()
    assert (rows[:, :, 72] == 0).all()


def test_the_bundles_own_scale_of_sigmas_counts(session: Labelled) -> None:
    answer = perfect(session)
    plain, wide = (data_scores.decoded(answer["y"], MIX, scale) for scale in ((1.0,) * 5, (2.0, 1.0, 1.0, 1.0, 3.0)))
    assert wide.sigma / plain.sigma == pytest.approx(np.broadcast_to([2.0, 1.0, 1.0, 1.0, 3.0], plain.sigma.shape))


def test_beats_are_those_that_the_tracker_finds_in_the_activations(session: Labelled) -> None:
    """A peak that is missing is bridged, as on the box; picking peaks would lose every other beat."""
    answer = perfect(session)
    answer["z"][:, :3] = -5.0
    beats = np.flatnonzero(session["beat"])
    answer["z"][beats, 0] = 5.0
    answer["z"][beats[[12, 15, 18]], 0] = -5.0
    assert data_scores.song(session, answer, SONG)["beat_f"] > 0.95
