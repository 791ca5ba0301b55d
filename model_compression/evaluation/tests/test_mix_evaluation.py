"""Mixes of many sessions: the truth's own settings are the good mix, and who was planted to win wins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_compression.evaluation import clicks, label_evaluation, mix_evaluation, statistics
from model_compression.evaluation.console import SEND_OFF_DB, Setting, render
from model_compression.evaluation.data_scores import truth_of
from model_compression.evaluation.goals import table_of
from model_compression.evaluation.measures.loudness import measure
from model_compression.evaluation.mix_material import (
    Material,
    heard_loudness_lufs,
    settings_of,
    true_settings,
)
from model_compression.evaluation.results import Figure, Results, goal_figure
from model_compression.evaluation.shards import Labelled
from model_compression.evaluation.tests.sessions_of_tones import RATE_HZ, arrays_of, band_noise, small_session

SECONDS = 9


def material_of(**changes: Any) -> Material:
    """Three sources whose faults are known: they are as loud as `gain_fault_db` says."""
    session = small_session(float(SECONDS))
    arrays = arrays_of(0, n_channels=3, seconds=SECONDS)
    loudness = [measure(stem, RATE_HZ).integrated_lufs for stem in session.stems]
    arrays["gain_fault_db"] = np.array(loudness) + 23.0
    arrays["offset_lu"][:] = np.array([0.0, -4.0, -9.0])
    arrays["tone_db"][:] = 0.0
    arrays["compressor"][:] = np.array([-5.0, 3.0])
    arrays["send_db"][:] = SEND_OFF_DB
    arrays["pan_abs"][:] = np.array([0.0, 0.4, 0.6])
    return Material(session=session, labelled=Labelled(name="planted", arrays=arrays | changes))


def test_the_good_mix_has_the_offsets_of_the_truth_whatever_the_compressors_do() -> None:
    material = material_of()
    strips = render(material.session.stems, true_settings(material), RATE_HZ).strips
    levels = [measure(strip, RATE_HZ).integrated_lufs for strip in strips]
    assert np.diff(levels) == pytest.approx([-4.0, -5.0], abs=0.1)


def test_settings_of_the_truth_make_the_good_mix_and_baselines_do_not() -> None:
    material = material_of()
    truth = truth_of(material.labelled)
    level = np.broadcast_to(-23.0 + material.labelled["gain_fault_db"], truth.offset_lu.shape[:2])
    settings = mix_evaluation.baseline_settings(material, None) | {"the truth": settings_of(truth, level)}
    scores = mix_evaluation.scores_of(material, settings, {})
    assert max(abs(value) for value in scores["the truth"].values() if np.isfinite(value)) < 1e-6
    assert scores["B1 equal LUFS"]["spectral fixed %"] > 1.0
    assert scores["B1 equal LUFS"]["panning fixed %"] > 1.0


def test_a_send_is_heard_where_it_is_on_and_a_compressor_leaves_the_loudness() -> None:
    burst = band_noise(300, 3000, 4.0, 1) * (np.arange(4 * RATE_HZ)[:, None] < RATE_HZ)
    dry, off, wet = (
        render([burst], [Setting(send_track_db=track)], RATE_HZ).mix[RATE_HZ + 4800 :]
        for track in (None, np.full(5, SEND_OFF_DB), np.full(5, -6.0))
    )
    assert not dry.any()
    assert not off.any()
    assert np.abs(wet).max() > 1e-4
    is_loud = np.arange(4 * RATE_HZ) % RATE_HZ < RATE_HZ // 2
    lively = band_noise(300, 3000, 4.0, 2) * np.where(is_loud, 4.0, 1.0)[:, None]
    plain, pressed = (render([lively], [Setting(compressor=c)], RATE_HZ).mix for c in (None, (-35.0, 6.0)))
    assert measure(pressed, RATE_HZ).integrated_lufs == pytest.approx(measure(plain, RATE_HZ).integrated_lufs, abs=0.1)
    assert _level_step_db(plain, is_loud) == pytest.approx(12.0, abs=0.3)
    assert _level_step_db(pressed, is_loud) < 7.0


def _level_step_db(mix: np.ndarray, is_loud: np.ndarray) -> float:
    loud, soft = (np.mean(mix[chosen] ** 2) for chosen in (is_loud, ~is_loud))
    return float(10 * np.log10(loud / soft))


def test_loudness_is_what_the_inputs_say_and_before_a_channel_is_heard_what_it_is_at_first() -> None:
    x = np.zeros((200, 1, 104), np.int8)
    x[100:, 0, 102] = 50
    x[:, 0, 98] = np.repeat([-127, -127, 0, 32], 50)
    assert heard_loudness_lufs(x)[:, 0] == pytest.approx([-30.0, -30.0, -30.0, -30.0 + 40 * 32 / 127], abs=1e-6)


def planted(model_error: float, n: int = 30) -> list[mix_evaluation.Scores]:
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(n):
        song = rng.uniform(5, 15)

        def row(error: float, song: float = song) -> dict[str, float]:
            return {f"{group} {kind} %": song + error + rng.normal(0, 0.2)
                    for group in mix_evaluation.GROUPS for kind in ("MAPE", "fixed")}  # fmt: skip

        scores.append({mix_evaluation.MODEL: row(model_error), mix_evaluation.MODEL_NAMED: row(0.0)}
                      | {rival: row(0.0) for rival in mix_evaluation.RIVALS})  # fmt: skip
    return scores


@pytest.mark.parametrize(("model_error", "n_groups", "is_met"), [(-1.0, 4, True), (0.0, 0, False), (1.0, 0, False)])
def test_a_planted_winner_wins_all_groups_and_nobody_else_any(model_error: float, n_groups: int, is_met: bool) -> None:
    results = Results(command="test")
    mix_evaluation.report(planted(model_error), results)
    goals = [f for f in results.figures if f.goal.startswith("G8") and " in which model beats" in f.name]
    assert len(goals) == 3
    assert [(f.value, f.is_met, f.n) for f in goals] == [(float(n_groups), is_met, 30)] * 3
    table = next(t for t in results.tables if t.title == "model, against each other mix")
    delta = table.rows[0][table.columns.index("difference")]
    assert delta == pytest.approx(model_error, abs=0.15)


def test_the_table_of_goals_has_every_goal_with_what_was_measured_or_what_measures_it() -> None:
    figures = [
        goal_figure("offset", 0.5, "LU", 9, at_most=0.8, goal="G3", low=0.4, high=0.6),
        goal_figure("pan", 0.9, "ratio", 9, at_most=0.04, goal="G3"),
        Figure(name="beside", value=1.0, unit="LU", n=1),
    ]
    table = table_of(figures, "the command")
    assert ("G3 ≤ 0.8", "offset", "0.5 LU (0.4 to 0.6), n 9", "yes", "the command") in table.rows
    assert ("G3 ≤ 0.04", "pan", "0.9 ratio, n 9", "no", "the command") in table.rows
    assert "beside" not in {row[1] for row in table.rows}
    goals = [row[0].split()[0] for row in table.rows]
    assert goals == sorted(goals, key=lambda goal: int(goal[1:]))
    assert set(goals) == {f"G{k}" for k in range(1, 16)}
    assert all("--mixes 100" in row[4] for row in table.rows if row[0] == "G8")


def test_parameters_move_without_a_click_and_a_jump_is_heard() -> None:
    assert max(clicks.residues().values()) < -60.0
    tone = 0.5 * np.sin(2 * np.pi * 400 * np.arange(3 * RATE_HZ) / RATE_HZ)
    jump = tone * np.where(np.arange(3 * RATE_HZ) < int(2.00031 * RATE_HZ), 1.0, 0.5)
    assert clicks.residue_dbfs(tone) < -100
    assert clicks.residue_dbfs(jump) > -40


def test_a_console_of_known_settings_is_read_back() -> None:
    steps = [np.repeat(np.random.default_rng(k).uniform(0.05, 1.0, 30), RATE_HZ // 10)[:, None] for k in range(2)]
    stems = [(band_noise(*span, 3.0, k) * step).astype(np.float32)
             for k, (span, step) in enumerate(zip(((100, 4000), (300, 9000)), steps, strict=True))]  # fmt: skip
    found = label_evaluation.read_back(stems, RATE_HZ, np.random.default_rng(0))
    assert max(row.gain_error_db for row in found) < 1.5, "settings are up to 6 dB four times and a ratio up to 6"
    assert max(row.release_error for row in found if row.release_confidence > label_evaluation.TRUSTED) < 0.1
    assert any(row.release_confidence > label_evaluation.TRUSTED for row in found)


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    ends = [statistics.interval_of_quantile(rng.exponential(size=25), 0.5) for _ in range(100)]
    assert sum(low <= np.log(2) <= high for low, high in ends) >= 90
