"""The service benchmark reports: how it counts is tested here, what it counts is no matter for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware.bench.service.counts import Counts, bucket_of_us
from firmware.bench.service.loops import Setting
from firmware.bench.service.rounds import Tally
from firmware.live_extension import live_extension
from firmware.segment import bucket_upper_us
from firmware.system.cyclictest import CyclictestError, Wakes, read_wakes, run_cyclictest

PATIENCE_S = 120.0


def bench(*arguments: str, path: str | None = None) -> tuple[dict[str, Any], str]:
    """Return what a short benchmark printed."""
    command = [sys.executable, "-m", "firmware.bench.service", "--seconds", "1", "--rounds", "1", "--json", *arguments]
    environment = os.environ | ({"PATH": path} if path else {})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_short_benchmark_reports_sane_figures_of_each_loop() -> None:
    record, told = bench("--no-costs", "--frames", "128")
    assert "C loop" in told
    assert {row["loop"]: row["periods_served"] > 0 for row in record["loops"]}["C"]
    for row in record["loops"]:
        assert row["frames"] == 128
        assert row["periods_passed"] >= 370  # of a second; a loaded machine may take longer
        assert 0 <= row["periods_served"] <= row["periods_passed"] + 3  # the looks at both are not one
        assert row["served_percent"] == pytest.approx(100.0 * row["periods_served"] / row["periods_passed"])
        assert 0.0 < row["deadline_us"] <= 128 / 0.048
        assert row["xruns"] >= 0
        assert 0.0 <= row["wake_p50_us"] <= row["wake_p99_us"] <= row["wake_p999_us"]
        assert row["service_p50_us"] >= row["wake_p50_us"]
        if row["cyclictest"]:
            assert 0.0 <= row["possible_percent"] <= 100.0
            assert row["cyclictest"]["cycles_passed"] >= 370


def test_the_memory_of_both_processes_and_the_cost_of_a_period_are_reported() -> None:
    costs = bench("--frames", "128", "--channels", "2")[0]["costs"]
    assert set(costs["memory"]) == {"engine", "control", "web", "models"}
    assert all(8.0 < memory["rss_mb"] <= memory["peak_mb"] < 1000.0 for memory in costs["memory"].values())
    assert costs["period"]["periods_served"] > 0
    assert costs["period"]["service_p50_us"] <= costs["period"]["service_p9999_us"]


def test_without_cyclictest_the_loops_are_measured_all_the_same_and_a_note_says_why(tmp_path: Path) -> None:
    record, _ = bench("--no-costs", "--no-load", "--frames", "128", path=str(tmp_path))
    assert all(row["cyclictest"] is None and row["served_percent"] > 0.0 for row in record["loops"])
    assert any("apt-get install rt-tests" in note for note in record["notes"])


@pytest.mark.parametrize(("arguments", "word"), [(["--frames", "48"], "48"), (["--seconds", "0"], "seconds"),
                                                 (["--channels", "33"], "33")])  # fmt: skip
def test_wrong_usage_is_refused(arguments: list[str], word: str) -> None:
    command = [sys.executable, "-m", "firmware.bench.service", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2
    assert word in done.stderr.splitlines()[-1]


# ------------------------------------------------------------------------------------------------------ cyclictest


def test_cycles_slept_through_count_as_passed_and_not_in_time() -> None:
    wakes = Wakes(interval_us=1000, n_by_us=Counter({10: 6, 3500: 1}))
    assert wakes.n_passed == 10  # the late one stands for the three after it, which cyclictest does not count
    assert wakes.in_time_percent(1000.0) == pytest.approx(60.0)
    assert wakes.in_time_percent(4000.0) == pytest.approx(70.0)


def test_percentiles_are_of_the_wake_ups() -> None:
    wakes = Wakes(interval_us=1000, n_by_us=Counter({300: 1, 10: 98, 20: 1}))
    assert [wakes.percentile_us(percent) for percent in (50.0, 98.0, 99.0, 99.9)] == [10, 10, 20, 300]
    assert wakes.max_us == 300


def test_rounds_of_cyclictest_pool() -> None:
    pooled = Wakes(interval_us=1000, n_by_us=Counter({10: 2})) + Wakes(interval_us=1000, n_by_us=Counter({10: 1, 9: 1}))
    assert pooled.n_by_us == {10: 3, 9: 1}


def test_what_lies_outside_the_histogram_counts_as_late_as_the_latest(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    path.write_text(json.dumps({"thread": {"0": {"histogram": {"12": 5}, "cycles": 7, "max": 400_000}}}))
    assert read_wakes(path, 1000).n_by_us == {12: 5, 400_000: 2}


@pytest.mark.parametrize("text", ["", "[]", '{"thread": {}}', '{"thread": {"0": {"histogram": {"x": 1}}}}'])
def test_foreign_output_of_cyclictest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "said.json"
    path.write_text(text)
    with pytest.raises(CyclictestError, match=r"said\.json"):
        read_wakes(path, 1000)


def test_a_cyclictest_without_its_priority_is_not_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "cyclictest"
    fake.write_text("#!/bin/sh\necho 'Unable to change scheduling policy!' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(CyclictestError, match="Unable to change scheduling policy!"):
        run_cyclictest(0.1, 1333, None)


# ---------------------------------------------------------------------------------------------------------- counts


def test_the_python_loop_counts_in_the_same_buckets_as_the_c_loop() -> None:
    _ffi, lib = live_extension()
    assert bucket_upper_us(bucket_of_us(1333)) > 1333
    for us in [*range(2, 3000), 10_000, 50_000]:
        bucket = bucket_of_us(us)
        assert bucket_upper_us(bucket - 1) <= us < bucket_upper_us(bucket)
    assert bucket_of_us(0) == 0
    assert bucket_of_us(10**9) == lib.EH_N_WAKE_BUCKETS - 1


def test_served_periods_are_counted_against_the_clock_of_the_card(counts: Callable[..., Counts]) -> None:
    setting = Setting(n_channels=32, n_frames=64, n_periods=2, has_load=True)
    tally = Tally(setting, True, counts(card_frames=64 * 100, periods=99), Wakes(interval_us=1333, n_by_us=Counter()))
    tally.add(Tally(setting, True, counts(card_frames=64 * 100, periods=91), None, "no cyclictest in this round"))
    record = tally.as_record(1333.0)
    assert record["served_percent"] == 95.0
    assert record["possible_percent"] is None  # half a comparison is none


def test_the_served_share_is_told_of_what_was_possible(counts: Callable[..., Counts]) -> None:
    setting = Setting(n_channels=32, n_frames=64, n_periods=2, has_load=True)
    wakes = Wakes(interval_us=1333, n_by_us=Counter({20: 96, 1400: 2}))
    record = Tally(setting, True, counts(card_frames=64 * 100, periods=96), wakes).as_record(setting.slack_us)
    assert setting.slack_us == pytest.approx(1333.3, abs=0.1)
    assert record["possible_percent"] == pytest.approx(96.0)
    assert record["served_of_possible_percent"] == pytest.approx(100.0)


@pytest.fixture
def counts() -> Callable[..., Counts]:
    """Return a maker of counts that are 0 but for what is said."""

    def made(**some: int) -> Counts:
        none: dict[str, Any] = {"xruns": 0, "card_losses": 0, "audio_cpu_ns": 0}
        return Counts(**{**none, **some}, wake_us=np.zeros(64, np.int64), service_us=np.zeros(64, np.int64))

    return made
