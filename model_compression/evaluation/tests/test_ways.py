"""Ways to ask a model: what is taken away is gone and nothing else, and a loss that was planted is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.contract.layout import MODEL_INPUT_COLUMNS
from model_compression.evaluation import ablation_evaluation, gathered, model_child, model_files, ways
from model_compression.evaluation.gathered import Gathered
from model_compression.evaluation.model_child import Inputs
from model_compression.evaluation.shards import Labelled
from model_compression.evaluation.tests.sessions_of_tones import arrays_of
from model_compression.evaluation.tests.test_data_scores import MIX, SONG, perfect
from model_compression.nets.layout import HEARD

TINY = Path(__file__).parents[3] / "firmware" / "tests" / "fixtures" / "tiny.bundle"


def session_of(seed: int, **sizes: Any) -> Labelled:
    arrays = arrays_of(seed, **sizes)
    arrays["x"][:, :, HEARD] = 100
    return Labelled(name=str(seed), arrays=arrays)


def test_columns_that_are_taken_away_say_the_mean_of_those_who_were_heard_and_others_what_they_said() -> None:
    session = session_of(0)
    session["x"][:, 3, HEARD] = 0  # never heard
    neutral = ways.neutral_of([session])
    x = ways.without_columns(session, neutral, ["count", "bleed_coherence"])["x"]
    count = MODEL_INPUT_COLUMNS["count"].start
    assert set(np.unique(x[:, :3, count])) == {np.rint(session["x"][:, :3, count].mean())}
    assert np.array_equal(x[:, 3], session["x"][:, 3])
    changed = np.flatnonzero((x != session["x"]).any(axis=(0, 1)))
    bleed = MODEL_INPUT_COLUMNS["bleed_coherence"].start
    means = [MODEL_INPUT_COLUMNS[name].start + 9 for name in ("fast_means", "slow_means")]
    assert set(changed) == {count, bleed, *means}


def test_channels_asked_alone_come_back_side_by_side() -> None:
    session = session_of(1, n_channels=3, seconds=2)
    asked = ways.alone(session.inputs)
    assert [one["x"].shape[1] for one in asked] == [1, 1, 1]

    def answer(one: Inputs) -> Inputs:
        return {"y": one["x"][:, :, :44].astype(np.float32), "z": one["m"], "role_prob": one["x"][:2, :, :21]}

    told = ways.side_by_side([answer(one) for one in asked])
    assert np.array_equal(told["y"], session["x"][:, :, :44])
    assert told["role_prob"].shape == (2, 3, 21)


def test_every_family_of_columns_is_among_the_ablations_and_each_is_asked_about_the_whole_session() -> None:
    session = session_of(2, n_channels=3, seconds=2)
    asked = {way.label: way.asked(session) for way in ways.ablations(ways.neutral_of([session]))}
    assert {f"columns of {family}" for family in ways.FAMILIES} < set(asked)
    assert all(sum(one["x"].shape[1] for one in questions) == 3 for questions in asked.values())


def test_a_forgetful_model_says_what_it_hears_now_and_a_named_one_hears_the_names() -> None:
    session = session_of(3, n_channels=2, seconds=2)
    x, m = session["x"], session["m"]
    roles = np.eye(21)[[3, 4]]
    stateless: Inputs = {"role_prob": roles, "is_forgetful": np.array(True), "has_no_song": np.array(True)}
    inputs: list[Inputs] = [
        {"x": x, "m": m, **stateless}, {"x": x[::-1], "m": m[::-1], **stateless},
        {"x": x, "m": m}, {"x": x, "m": m, "roles_given": np.array([3, -1])},
    ]  # fmt: skip
    there, back, plain, named = model_child.answers(TINY, "f16", inputs, jobs=2)
    assert np.abs(there["y"] - back["y"][::-1]).max() < 1e-6
    assert np.array_equal(plain["role_prob"], named["role_prob"]), "its own opinion is its own"
    assert np.abs(plain["y"] - named["y"])[:, 0].max() > 1e-4


def test_a_model_is_measured_in_every_way_by_children_at_once() -> None:
    sessions = [session_of(seed, n_channels=2, seconds=7) for seed in range(2)]
    way = ways.ablations(ways.neutral_of(sessions))[1]
    found = gathered.gather(TINY, model_files.read(TINY), "f16", sessions, way=way, jobs=2)
    assert found.n == 2
    assert np.isfinite(found.mae["offset_lu"]).all()


def measured(errors_lu: NDArray[np.floating]) -> Gathered:
    """Answers that are right but for an offset, one error a session."""
    found = Gathered()
    for seed, error_lu in enumerate(errors_lu):
        session = session_of(seed, seconds=7)
        session["offset_lu"][:] = -6.0
        answer = perfect(session)
        answer["y"][:, :, 0] += error_lu / 15.0
        found.add(session, answer, MIX, SONG)
    return found


def test_a_planted_loss_is_told_with_its_size() -> None:
    errors_lu = np.linspace(0.5, 1.5, 8)
    full, lacking = measured(errors_lu), measured(2.5 * errors_lu)
    gain, low, high = ablation_evaluation.rmse_gain_percent(full, lacking)
    assert gain == pytest.approx(60.0, abs=0.5)
    assert low <= gain <= high
    table = ablation_evaluation.table_of("planted", full, {"context": lacking, "nothing at all": full})
    rows = {row[0]: dict(zip(table.columns, row, strict=False)) for row in table.rows}
    assert rows["context"]["offset MAE more LU"] == pytest.approx(1.5, abs=0.03)
    assert rows["context"]["Holm p"] < 0.05
    assert rows["nothing at all"]["full lower by %"] == 0.0
    assert rows["nothing at all"]["Holm p"] == 1.0


def test_sessions_are_shortened_as_a_whole_and_spread_evenly() -> None:
    session = session_of(0, seconds=40)
    short = ablation_evaluation.shortened(session)
    seconds = ablation_evaluation.MAX_SECONDS
    assert short.n_ticks == 50 * seconds
    assert len(short["active"]) == len(short["beat"]) == 50 * seconds
    assert short["offset_lu"].shape[1] == seconds
    assert [s.name for s in ablation_evaluation.spread_out([session_of(k, seconds=1) for k in range(9)], 3)] == [
        "0", "4", "8",
    ]  # fmt: skip
