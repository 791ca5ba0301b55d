"""Long runs of the real processes, faster than real time: the card's clock is moved as fast as they follow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.observation import ChannelSetup
from firmware.segment import PUBLIC_NOTEBOOK, Segment
from firmware.tests.live_rig import LiveRig, wait_for
from firmware.tests.test_live_kills import resident_kb

RATE_HZ, TICK_FRAMES, PERIOD = 48000, 960, 96
CHUNK_TICKS, LAG_TICKS = 5, 2  # at a time, and how far control may lag: the taps hold eight
LOOP_TICKS = 60 * 50  # a minute of programme, again and again
PAIR = [ChannelSetup(name="Host", role="speech"), ChannelSetup(name="Guest", role="speech")]
# Of resident memory, from the first simulated tenth to the end. Control keeps a bounded number of decisions.
ENGINE_GROWTH_KB, CONTROL_GROWTH_KB = 64, 4096
SAME_DB = 0.5  # level of a minute against the same minute later: twice the dead-band of a fader


@dataclass(frozen=True)
class Look:
    """What stood at a point of the run."""

    engine_kb: int
    control_kb: int
    n_threads: int
    n_files: int


def talk(n_frames: int) -> NDArray[np.float32]:
    """Return two talkers in turn over their room's noise."""
    rng = np.random.default_rng(11)
    time_s = np.arange(n_frames) / RATE_HZ
    turns = np.stack([np.sin(2 * np.pi * time_s / 10) > 0, np.sin(2 * np.pi * time_s / 10) <= 0], axis=1)
    syllables = (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time_s))[:, None] ** 2
    voice = rng.standard_normal((n_frames, 2)) * syllables * turns * np.array([0.05, 0.02])
    return (voice + 1e-4 * rng.standard_normal((n_frames, 2))).astype(np.float32)


def look(engine: subprocess.Popen[str], control: subprocess.Popen[str]) -> Look:
    tasks, files = Path(f"/proc/{engine.pid}/task"), Path(f"/proc/{control.pid}/fd")
    return Look(
        resident_kb(engine.pid), resident_kb(control.pid), len(list(tasks.iterdir())), len(list(files.iterdir()))
    )


def play_chunk(rig: LiveRig, view: Segment, block: NDArray[np.float32]) -> NDArray[np.int32]:
    """Play 0.1 s, see control follow, and return the mix of it."""
    assert rig.card.feed(block) == len(block)
    rig.played.clear()
    rig.advance(len(block))
    frame = view.status().last_frame
    wait_for(lambda: view.status().control_frame + LAG_TICKS * TICK_FRAMES >= frame, "control misses its heartbeats")
    return np.concatenate(rig.played)[:, :2]


def check_long_run(hours: float) -> str:
    n_loops = max(3, round(hours * 60))
    audio = talk(LOOP_TICKS * TICK_FRAMES)
    chunk = CHUNK_TICKS * TICK_FRAMES
    first_look, powers = None, []
    began_s = time.monotonic()
    with LiveRig(PAIR, board_changes={"period_frames": str(PERIOD), "max_round_trip_frames": "240"}) as rig:
        engine = rig.start_engine()
        control = rig.start_control()
        view = rig.attach(is_control=False)
        rig.card.wait_for_start()
        for loop in range(n_loops):
            power = 0.0
            for start in range(0, len(audio), chunk):
                mix = play_chunk(rig, view, audio[start : start + chunk])
                power += float((mix.astype(np.float64) ** 2).sum())
            powers.append(power)
            if loop == n_loops // 10:
                first_look = look(engine, control)
            if loop % 60 == 59:
                print(f"{(loop + 1) // 60} h: {look(engine, control)}", flush=True)
        last_look = look(engine, control)
        wait_for(lambda: not view.is_control_behind, "control does not catch up")
        counters = view.status().counters
        n_decisions = json.loads(view.read_notebook(PUBLIC_NOTEBOOK))["n_decisions"]
        control.terminate()
        assert control.wait(30) == 0, control.stderr.read()
    simulated_s = n_loops * LOOP_TICKS / 50
    for name in ("xruns", "periods_lost", "card_losses", "observations_dropped", "events_dropped", "taps_dropped",
                 "healed"):  # fmt: skip
        assert counters[name] == 0, name
    assert counters["frames"] == n_loops * len(audio)
    assert (counters["engine_starts"], counters["control_starts"]) == (1, 1)
    assert last_look.engine_kb - first_look.engine_kb <= ENGINE_GROWTH_KB, (first_look, last_look)
    assert last_look.control_kb - first_look.control_kb <= CONTROL_GROWTH_KB, (first_look, last_look)
    assert (last_look.n_threads, last_look.n_files) == (first_look.n_threads, first_look.n_files)
    levels_db = 10.0 * np.log10(np.array(powers[max(2, n_loops // 10) :]))
    assert np.ptp(levels_db) <= SAME_DB, "the mix drifted"
    factor = simulated_s / (time.monotonic() - began_s)
    how = f"{simulated_s / 3600:.2f} h simulated at {factor:.0f} x real time, level within {np.ptp(levels_db):.2f} dB, "
    how += f"{n_decisions} decisions"
    return f"{how}; {first_look} then {last_look}"


def test_minutes_on_the_box_lose_no_heartbeat_and_leak_nothing() -> None:
    print(check_long_run(hours=0.1))


@pytest.mark.soak
def test_a_day_on_the_box_loses_no_heartbeat_and_leaks_nothing() -> None:
    print(check_long_run(hours=float(os.environ.get("SOAK_HOURS", "24"))))


if __name__ == "__main__":
    print(check_long_run(float(sys.argv[1])))
