"""Measures whether a board keeps its budget: the way through its card, its periods, its wake-ups, its warmth."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from board_configs.board import Board

from .check_bench import CheckBench, Counts
from .check_verdicts import PASS, Clicks, Verdict, at_least, at_most, round_trip_verdict
from .interrupt import heed
from .segment import LiveStatus, percentile_us
from .system.cyclictest import Cyclictest, CyclictestError, Wakes
from .system.health import Health, read_health

SETTLE_S = 0.3  # caches and page faults of the start
LOOK_S = 0.1


@dataclass(frozen=True, kw_only=True)
class CheckJob:
    """What to check, for how long, and where the cable is: output and input of the card, both from 1."""

    board: Board
    seconds: float = 10.0
    cable: tuple[int, int] = (1, 1)


def check(job: CheckJob, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """Run the board's engine for ``job.seconds`` and return the figures and verdicts, as ``--json`` prints them.

    Raises
    ------
    EvenhandError
        When the engine cannot be started, or ends too soon.
    """
    audio, budget = job.board.audio, job.board.budget
    with CheckBench(job.board, cable=job.cable) as bench:
        _pass_time(bench, SETTLE_S, lambda _: None)
        before = bench.counts()
        wakes, why_no_wakes = None, ""
        with ExitStack() as stack:
            try:
                interval_us = round(1e6 * audio.period_frames / audio.sample_rate_hz)
                beside = stack.enter_context(Cyclictest(job.seconds, interval_us, job.board.cores.audio))
            except CyclictestError as error:
                beside, why_no_wakes = None, str(error)
            _pass_time(bench, job.seconds, on_progress)
            counts, status, health = bench.counts() - before, bench.status(), read_health()
            try:
                wakes = beside.wakes() if beside else None
            except CyclictestError as error:
                why_no_wakes = str(error)
        clicks = bench.clicks
    limiter_frames = status.round_trip_frames - audio.n_periods * audio.period_frames
    verdicts = [
        round_trip_verdict(clicks, limiter_frames=limiter_frames, cable=job.cable, n_xruns=counts.xruns, budget=budget),
        at_least("served_percent", served_percent(counts), budget.min_served_percent),
        at_most("wake_p999_us", _percentile(counts.wake_us, 99.9), budget.max_wake_p999_us, missing="no period served"),
    ]
    if budget.max_temp_c is not None:
        verdicts.append(at_most("temp_c", health.temp_c, budget.max_temp_c, missing="this machine does not tell it"))
    notes = [*health.complaints, *([why_no_wakes] if why_no_wakes else [])]
    return _record(job, clicks, counts, status, wakes, health, verdicts) | {"notes": notes}


def served_percent(counts: Counts) -> float:
    """Return the share of the card's periods that were served; two clocks read one after the other may make it more."""
    return min(100.0, 100.0 * counts.served / max(counts.passed, 1))


def _pass_time(bench: CheckBench, seconds: float, on_progress: Callable[[float], None]) -> None:
    began_s = time.monotonic()
    while (gone_s := time.monotonic() - began_s) < seconds:
        heed()
        bench.step(min(LOOK_S, seconds - gone_s))
        on_progress(min(1.0, (time.monotonic() - began_s) / seconds))


def _percentile(histogram: np.ndarray, percent: float) -> float | None:
    return percentile_us(histogram.astype(np.uint32), percent) if histogram.sum() else None


def _record(
    job: CheckJob, clicks: Clicks, counts: Counts, status: LiveStatus, wakes: Wakes | None, health: Health,
    verdicts: list[Verdict],
) -> dict[str, Any]:  # fmt: skip
    return {
        "board": job.board.name,
        "way_frames": clicks.way_frames,
        "round_trip_frames": verdicts[0].value,
        "served_percent": served_percent(counts),
        "periods": counts.passed,
        "xruns": counts.xruns,
        "wake_p50_us": _percentile(counts.wake_us, 50.0),
        "wake_p99_us": _percentile(counts.wake_us, 99.0),
        "wake_p999_us": _percentile(counts.wake_us, 99.9),
        "service_p999_us": _percentile(counts.service_us, 99.9),
        "cyclictest": wakes and {
            "p50_us": wakes.percentile_us(50.0), "p99_us": wakes.percentile_us(99.0),
            "p999_us": wakes.percentile_us(99.9), "max_us": wakes.max_us, "cycles_passed": wakes.n_passed,
        },
        "health": vars(health),
        "is_realtime": status.is_realtime,
        "is_locked": status.is_locked,
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "passed": all(verdict.verdict == PASS for verdict in verdicts),
    }  # fmt: skip
