"""``evenhand-box check``: the delay to the frame, honest verdicts, and nothing left behind. No figure gates a test."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from board_configs.board import BudgetSpec
from firmware.check import served_percent
from firmware.check_bench import Counts
from firmware.check_verdicts import FAIL, NOT_MEASURED, PASS, Clicks, at_least, at_most, round_trip_verdict
from firmware.system.cores import usable_cores
from firmware.system.virtual_card import Direction, VirtualCard
from firmware.tests.box_command import Done, assert_refused, box, children_of, finished, sim_board, start_box
from firmware.tests.card_bench import NAME, card_on_bench
from firmware.tests.live_rig import wait_for

# Periods so long and so far ahead that a test machine may be late by 18 ms: the clicks come back all the same.
PERIOD, N_PERIODS, LIMITER = 128, 8, 48
WAY = PERIOD * N_PERIODS
PATIENT = {"period_frames": PERIOD, "n_periods": N_PERIODS, "max_round_trip_frames": WAY + LIMITER,
           "min_served_percent": 0.0, "max_wake_p999_us": 1e6}  # fmt: skip
KEYS = {
    "board", "way_frames", "round_trip_frames", "served_percent", "periods", "xruns", "wake_p50_us", "wake_p99_us",
    "wake_p999_us", "service_p999_us", "cyclictest", "health", "is_realtime", "is_locked", "verdicts", "passed",
    "notes",
}  # fmt: skip
BUDGET = BudgetSpec(max_round_trip_frames=176, min_served_percent=98.0, max_wake_p999_us=1200.0, max_temp_c=None)


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    return sim_board(tmp_path / "patient.toml", **PATIENT)


@contextmanager
def venue(tmp_path: Path) -> Iterator[tuple[Path, VirtualCard]]:
    """Yield a board whose card is an ALSA name like any other, with a cable from output 2 to input 4, and the card."""
    text = sim_board(tmp_path / "venue.toml", **PATIENT).read_text()
    for old, new in (('pcm = "virtual"', f'pcm = "{NAME}"'), ('n_capture = "session"', "n_capture = 4"),
                     ("n_playback = 12", "n_playback = 2")):  # fmt: skip
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (tmp_path / "venue.toml").write_text(text)
    settings: dict[str, Any] = {"n_capture": 4, "clock": "wall", "tape": False, "recorder": False, "cable": [(1, 3)]}
    with card_on_bench(tmp_path, **settings) as card:
        yield tmp_path / "venue.toml", card


def measured(done: Done) -> dict[str, Any]:
    """Return what was printed; the exit code must say the same."""
    assert done.status in (0, 1), done
    record: dict[str, Any] = json.loads(done.out)
    assert set(record) == KEYS
    assert record["passed"] == (done.status == 0) == (set(verdicts(record).values()) == {PASS})
    return record


def verdicts(record: dict[str, Any]) -> dict[str, str]:
    return {verdict["item"]: verdict["verdict"] for verdict in record["verdicts"]}


# --------------------------------------------------------------------------------------------------------- figures


def test_a_simulated_board_passes_with_its_delay_told_to_the_frame(patient: Path) -> None:
    record = measured(box("check", "--board", patient, "--seconds", "2", "--json"))
    assert (record["way_frames"], record["round_trip_frames"]) == (WAY, WAY + LIMITER)
    assert record["passed"]
    assert verdicts(record) == {"round_trip_frames": PASS, "served_percent": PASS, "wake_p999_us": PASS}
    assert record["periods"] >= 2 * 48000 // PERIOD - 3
    assert 0.0 < record["served_percent"] <= 100.0
    assert 0.0 < record["wake_p50_us"] <= record["wake_p99_us"] <= record["wake_p999_us"] <= record["service_p999_us"]
    if record["cyclictest"]:
        assert record["cyclictest"]["p50_us"] <= record["cyclictest"]["max_us"]
    else:
        assert any("cyclictest" in note for note in record["notes"])
    assert record["health"]["max_rt_priority"] >= 0


def test_people_get_a_table(patient: Path) -> None:
    done = box("check", "--board", patient, "--seconds", "2")
    assert done.status == 0, done
    assert done.err == ""
    assert done.out.startswith("patient: passed")
    assert f"{WAY} frames through the card, {LIMITER} in the limiter" in done.out
    assert done.out.count("pass  ") >= 3


def test_a_full_standard_output_is_told_in_one_line(patient: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start_box("check", "--board", patient, "--seconds", "1", out=full)
        done = finished(process)
    assert done.status == 1
    assert done.err.startswith("error: standard output: cannot be written (No space left on device)")
    assert done.err.count("\n") == 1


def test_a_board_that_promises_the_impossible_fails_with_one_line_after_the_table(tmp_path: Path) -> None:
    board = sim_board(tmp_path / "proud.toml", **{**PATIENT, "max_wake_p999_us": 1.0})
    done = box("check", "--board", board, "--seconds", "1")
    assert done.status == 1
    assert done.err.startswith("error: proud: wake-up p99.9 ")
    assert done.err.endswith(" is not ≤ 1\n")
    assert done.err.count("\n") == 1
    assert done.out.startswith("proud: not passed")
    assert " fail " in done.out


def test_with_json_a_failed_check_is_told_to_machines_too(tmp_path: Path) -> None:
    board = sim_board(tmp_path / "proud.toml", **{**PATIENT, "max_wake_p999_us": 1.0})
    record = measured(box("check", "--board", board, "--seconds", "1", "--json"))
    assert not record["passed"]
    assert verdicts(record)["wake_p999_us"] == FAIL


def test_without_a_cable_the_delay_is_not_measured_and_the_check_not_passed(patient: Path) -> None:
    done = box("check", "--board", patient, "--seconds", "1", "--cable", "1:2", "--json")
    record = measured(done)
    assert verdicts(record)["round_trip_frames"] == NOT_MEASURED
    assert (record["way_frames"], record["round_trip_frames"], record["passed"]) == (None, None, False)
    assert done.err == "error: patient: round trip not measured: no cable found: connect output 1 to input 2\n"


def test_a_promised_temperature_is_judged_or_told_as_not_measured(tmp_path: Path) -> None:
    board = sim_board(tmp_path / "cool.toml", **{**PATIENT, "max_wake_p999_us": "1e6\nmax_temp_c = 0.0"})
    record = measured(box("check", "--board", board, "--seconds", "1", "--json"))
    assert verdicts(record)["temp_c"] == (NOT_MEASURED if record["health"]["temp_c"] is None else FAIL)


def test_a_card_of_its_own_is_found_and_measured_like_a_simulated_one(tmp_path: Path) -> None:
    with venue(tmp_path) as (board, _card):
        record = measured(box("check", "--board", board, "--seconds", "1", "--cable", "2:4", "--json"))
    assert record["round_trip_frames"] == WAY + LIMITER


def test_the_delay_is_the_same_after_every_xrun(tmp_path: Path) -> None:
    with venue(tmp_path) as (board, card):
        process = start_box("check", "--board", board, "--seconds", "5", "--cable", "2:4", "--json")
        wait_for(lambda: card.report().capture.state == "running", "the engine does not start")
        while process.poll() is None:
            time.sleep(0.7)
            card.xrun(Direction.CAPTURE)
        record = measured(finished(process))
    assert record["xruns"] >= 1
    assert record["way_frames"] == WAY
    assert verdicts(record)["round_trip_frames"] == PASS


def test_without_cyclictest_the_rest_is_measured_and_a_note_says_how_to_get_it(patient: Path, tmp_path: Path) -> None:
    done = box("check", "--board", patient, "--seconds", "1", "--json", environment={"PATH": str(tmp_path)})
    record = measured(done)
    assert record["cyclictest"] is None
    assert any("apt-get install rt-tests" in note for note in record["notes"])


def test_without_the_right_to_real_time_the_rest_is_measured_and_a_note_says_how_to_get_it(patient: Path) -> None:
    prefix = ["prlimit", "--rtprio=0:0", "--memlock=65536:65536"]
    if os.geteuid() == 0:
        prefix += ["setpriv", "--bounding-set=-sys_nice,-ipc_lock", "--inh-caps=-sys_nice,-ipc_lock"]
    record = measured(box("check", "--board", patient, "--seconds", "1", "--json", prefix=prefix))
    assert (record["is_realtime"], record["is_locked"]) == (False, False)
    assert record["cyclictest"] is None
    for words in ("no real-time priority: give this user rtprio", "only 64 KiB may be locked", "cyclictest"):
        assert any(words in note for note in record["notes"]), record["notes"]


# -------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--board", "simm"], 'no board "simm"; did you mean sim or sim_preamps?'),
        (["--board", "/nowhere/venue.toml"], "/nowhere/venue.toml: no such file"),
        (["--board", "sim", "--cable", "13:1"], "--cable: sim plays nothing on output 13; it plays on 1, 2, 3"),
        (["--board", "sim", "--cable", "1:33"], "--cable: sim has no strip on input 33; it has on 1, 2, 3"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(arguments: list[str], words: str) -> None:
    assert_refused(box("check", *arguments), words)


@pytest.mark.parametrize(
    "arguments",
    [["--seconds", "0"], ["--seconds", "nan"], ["--seconds", "soon"], ["--cable", "1"], ["--cable", "0:1"], ["sim"]],
)
def test_wrong_usage_is_told_as_such(arguments: list[str]) -> None:
    done = box("check", "--board", "sim", *arguments)
    assert done.status == 2
    assert done.err.startswith("usage: evenhand-box ")


def test_another_machine_or_a_missing_core_is_refused(tmp_path: Path) -> None:
    board = sim_board(tmp_path / "venue.toml", **{**PATIENT, "max_wake_p999_us": "1e6\n[cores]\naudio = 255"})
    assert_refused(
        box("check", "--board", board), "venue.toml: cores: audio names core 255, which this process may not use"
    )


def test_a_core_that_the_kernel_keeps_us_off_may_be_asked_for() -> None:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert usable_cores() >= mine
        assert os.sched_getaffinity(0) == {min(mine)}
    finally:
        os.sched_setaffinity(0, mine)


def test_a_card_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with venue(tmp_path) as (board, card):
        card.unplug()
        done = box("check", "--board", board, "--cable", "2:4")
    assert_refused(done, f"{NAME}: cannot be opened for capture")


def test_a_card_that_goes_away_ends_the_check(tmp_path: Path) -> None:
    with venue(tmp_path) as (board, card):
        process = start_box("check", "--board", board, "--seconds", "60", "--cable", "2:4")
        wait_for(lambda: card.report().capture.state == "running", "the engine does not start")
        card.unplug()
        assert_refused(finished(process), "the card went away during the check")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_check_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with venue(tmp_path) as (board, card):
        process: subprocess.Popen[str] = start_box("check", "--board", board, "--seconds", "60", "--cable", "2:4")
        wait_for(lambda: card.report().capture.state == "running", "the engine does not start")
        n_children = 2 if shutil.which("cyclictest") else 1
        wait_for(lambda: len(children_of(process.pid)) == n_children, "nothing runs beside the engine")
        time.sleep(0.5)  # cyclictest makes its file
        children = children_of(process.pid)
        process.send_signal(number)
        assert_refused(finished(process), "check: stopped before the end")
        assert [child for child in children if Path(f"/proc/{child}").exists()] == []
        assert [child for child in children if Path(f"/dev/shm/cyclictest{child}").exists()] == []
        wait_for(lambda: card.report().capture.state == "closed", "the engine still has the card")


# -------------------------------------------------------------------------------------------------------- verdicts


def round_trip(n_heard: int, *ways_frames: int) -> Any:
    clicks = Clicks(n_heard=n_heard, ways_frames=frozenset(ways_frames))
    return round_trip_verdict(clicks, limiter_frames=LIMITER, cable=(1, 1), n_xruns=2, budget=BUDGET)


def test_the_way_through_the_card_and_the_limiter_are_held_to_the_budget_together() -> None:
    assert [round_trip(9, 128).verdict, round_trip(9, 129).verdict] == [PASS, FAIL]
    assert [round_trip(9, 128).value, round_trip(9, 129).value] == [176, 177]


def test_clicks_that_take_different_ways_are_no_pass_however_short() -> None:
    verdict = round_trip(9, 40, 41)
    assert (verdict.verdict, verdict.value) == (FAIL, 41 + LIMITER)
    assert "40 to 41 frames" in verdict.why


def test_a_few_sounds_are_no_measurement() -> None:
    assert round_trip(0).verdict == NOT_MEASURED
    assert round_trip(2, 40).verdict == NOT_MEASURED
    assert "only 2 clicks came back, with 2 xruns" in round_trip(2, 40).why


def test_what_is_not_told_is_neither_pass_nor_fail() -> None:
    assert at_most("temp_c", None, 75.0, missing="not told").verdict == NOT_MEASURED
    assert [at_most("temp_c", t, 75.0, missing="").verdict for t in (75.0, 75.1)] == [PASS, FAIL]
    assert [at_least("served_percent", p, 98.0).verdict for p in (98.0, 97.9)] == [PASS, FAIL]


@pytest.mark.parametrize(("passed", "served", "percent"), [(1000, 990, 99.0), (1000, 1001, 100.0), (0, 0, 0.0)])
def test_served_is_a_share_of_the_periods_that_the_card_went_through(
    passed: int, served: int, percent: float, counts: Callable[[int, int], Counts]
) -> None:
    assert math.isclose(served_percent(counts(passed, served)), percent)


@pytest.fixture
def counts() -> Callable[[int, int], Counts]:
    none = np.zeros(64, np.int64)
    return lambda passed, served: Counts(passed=passed, served=served, xruns=0, wake_us=none, service_us=none)
