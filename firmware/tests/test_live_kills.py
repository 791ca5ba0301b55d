"""Processes that are killed: not a period lost with control, sound and scene back by themselves with the engine."""

from __future__ import annotations

import math
import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from board_configs.board import load_board
from firmware.control.control import Control
from firmware.control.keepsake import recall_state
from firmware.live_run import LiveRun, RunJob
from firmware.observation import ChannelSetup
from firmware.segment import STATE_NOTEBOOK, LiveStatus, Segment
from firmware.tests.live_rig import LiveRig, wait_for
from firmware.tests.test_live import FOUR, noise_bursts

PERIOD = 64
MAX_ENGINE_RSS_KB, MAX_CONTROL_RSS_KB = 64_000, 250_000


class Tape:
    """Noise without end, a tick at a time."""

    def __init__(self, n_lanes: int) -> None:
        self._audio = noise_bursts(960 * 200, n_lanes)
        self._at = 0

    def play(self, rig: LiveRig, view: Segment, n_ticks: int) -> None:
        """Play on; not faster than analysis follows, which a card of its own would not be either."""
        for _ in range(n_ticks):
            block: NDArray[np.float32] = self._audio[self._at : self._at + 960]
            self._at = (self._at + 960) % len(self._audio)
            assert rig.card.feed(block) == 960
            rig.advance(960)
            wait_for(lambda: not view.is_analysis_behind, "analysis does not follow")


def settled(segment: Segment, frame: int) -> None:
    """Wait until control has decided about everything up to ``frame``."""
    wait_for(lambda: segment.status().control_frame >= frame, f"control does not reach frame {frame}")


def params_of(state: bytes) -> NDArray[np.void]:
    control = Control(FOUR, sample_rate_hz=48000.0)
    recall_state(control, state)
    return control.state.snapshot()


def check_kills_of_control(n_kills: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with LiveRig(FOUR) as rig:
        rig.start_engine()
        control = rig.start_control()
        view = rig.attach(is_control=False)
        rig.card.wait_for_start()
        tape = Tape(4)
        tape.play(rig, view, 50)
        settled(view, rig.card.frame // 960 * 960)
        for _ in range(n_kills):
            tape.play(rig, view, int(rng.integers(1, 30)))  # control is somewhere in its work when the blow falls
            control.kill()
            control.communicate()
            stood, state = view.params(), view.read_notebook(STATE_NOTEBOOK)
            tape.play(rig, view, int(rng.integers(1, 40)))
            assert view.params().tobytes() == stood.tobytes(), "parameters moved while nobody was there"
            beat_ns = view.status().control_beat_ns
            control = rig.start_control()
            wait_for(partial(has_new_beat, view, beat_ns), "no control came back")
            assert view.status().control_pid == control.pid
            came_back = view.read_notebook(STATE_NOTEBOOK)
            assert came_back == state, "the state that came back is not the one that was left"
            assert view.params().tobytes() == params_of(state).tobytes(), "the engine has something else"
            tape.play(rig, view, 2)
            settled(view, rig.card.frame // 960 * 960)
        counters = view.status().counters
        assert counters["control_starts"] == n_kills + 1
        assert (counters["periods_lost"], counters["xruns"], rig.card.report().capture.n_xruns) == (0, 0, 0)
        assert counters["periods"] == rig.card.frame // PERIOD
        print(f"{n_kills} kills of control, {counters['periods']} periods, none lost")
        control.terminate()
        assert control.wait(30) == 0


def test_control_may_be_killed_at_any_moment_and_no_period_is_lost() -> None:
    check_kills_of_control(6, seed=3)


@pytest.mark.soak
def test_control_may_be_killed_a_hundred_times() -> None:
    check_kills_of_control(100, seed=4)


def has_new_beat(view: Segment, beat_ns: int) -> bool:
    return view.status().control_beat_ns != beat_ns


def has_passed(time_s: float) -> bool:
    return time.monotonic() > time_s


def plays_again(view: Segment, before: LiveStatus, patience_s: float = math.inf) -> bool:
    """Whether another engine has served a few periods, or patience is at its end."""
    now = view.status()
    is_another = now.engine_pid != before.engine_pid and now.state == "running"
    has_played = now.counters["periods"] > before.counters["periods"] + 2
    return (is_another and has_played) or (patience_s < math.inf and has_passed(patience_s))


def check_kills_of_engine(n_kills: int, seed: int) -> list[float]:
    """Kill the engine of a whole supervised box; return how long each time the sound was away, in seconds."""
    rng = np.random.default_rng(seed)
    away_s = []
    job = RunJob(board=load_board("sim"), priority=80)
    with LiveRun(job) as box:
        view = box.segment
        box.run(lambda _: None, lambda: view.status().counters["periods"] > 500)
        for number in range(n_kills):
            box.run(lambda _: None, partial(has_passed, time.monotonic() + float(rng.uniform(0.0, 0.3))))
            before, status = view.params(), view.status()
            os.kill(status.engine_pid, signal.SIGKILL)
            killed_s = time.monotonic()
            patience_s = killed_s + 30.0
            box.run(lambda _: None, partial(plays_again, view, status, patience_s))
            assert plays_again(view, status), f"no sound after kill {number + 1}"
            away_s.append(time.monotonic() - killed_s)
            assert box.segment is view, "the engine made a new segment instead of taking up the old one"
            assert view.params().tobytes() == before.tobytes(), "another scene"
        record = box.finish()
    assert record["engine_restarts"] == n_kills
    assert record["control_restarts"] == 0
    return away_s


def test_a_killed_engine_comes_back_with_its_scene() -> None:
    away_s = check_kills_of_engine(3, seed=5)
    print(f"sound away for {max(away_s):.2f} s at most")


@pytest.mark.soak
def test_an_engine_killed_twenty_times_comes_back_each_time() -> None:
    away_s = check_kills_of_engine(20, seed=6)
    print(f"20 kills of the engine: sound away for {np.median(away_s):.2f} s, {max(away_s):.2f} s at most")


def resident_kb(pid: int, what: str = "VmRSS") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{what}:")))


def test_both_processes_stay_within_their_memory_at_32_channels() -> None:
    channels = [ChannelSetup(name=f"In {number + 1}") for number in range(32)]
    with LiveRig(channels, records=True) as rig:
        engine = rig.start_engine()
        control = rig.start_control()
        view = rig.attach(is_control=False)
        rig.card.wait_for_start()
        wait_for(partial(has_new_beat, view, 0), "no control")
        tape = Tape(32)
        for n_ticks in (40, 80, 120):  # no further ahead of control than its ring is long
            tape.play(rig, view, 40)
            settled(view, n_ticks * 960)
        engine_kb, control_kb = resident_kb(engine.pid), resident_kb(control.pid)
        print(f"engine {engine_kb} kB, {resident_kb(engine.pid, 'VmLck')} kB locked; control {control_kb} kB")
        control.terminate()
        control.communicate()
    assert engine_kb <= MAX_ENGINE_RSS_KB
    assert control_kb <= MAX_CONTROL_RSS_KB
