"""The simulated box: what makes it a rig on which figures may gate."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hil_tests.board import play
from hil_tests.drivers.sim_box import MEMORY, SimBox
from hil_tests.errors import HilError, NotWiredError
from hil_tests.rig import load_rig

PATIENCE_S = 60.0  # far more than a loaded machine needs
HELD_UP_S = 0.3
KILLED = """
import os, signal
from hil_tests.drivers.sim_box import SimBox
from hil_tests.rig import load_rig
box = SimBox(load_rig("sim")).__enter__()
box.power_on()
box.wait_until_up()
box.pass_time(0.1)
print(box.service("engine").pid, box.service("control").pid, box.service("agent").pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def box() -> Iterator[SimBox]:
    with SimBox(load_rig("sim")) as box:
        yield box


def something_to_decide_about(n_seconds: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(5)
    levels = np.repeat(rng.uniform(0.0, 0.2, (10 * n_seconds, 8)), 4800, axis=0)
    return (rng.standard_normal(levels.shape) * levels).astype(np.float32)


def test_automation_included_a_box_that_hears_the_same_plays_the_same_bits() -> None:
    sound, heard = something_to_decide_about(4), []
    for _ in range(2):
        with SimBox(load_rig("sim")) as fresh:
            fresh.power_on()
            fresh.wait_until_up()
            heard.append(play(fresh.audio, sound).sound)
            told = fresh.card.report()
        assert told["n_not_waited"] == 0, "control was later than anybody waits"
        assert told["counters"]["snapshots"] > 20, "nothing was decided"
    assert np.array_equal(heard[0], heard[1])


def test_frames_have_numbers_that_go_on_over_a_power_cut(box: SimBox) -> None:
    box.power_on()
    box.wait_until_up()
    assert play(box.audio, np.zeros((960, 8), np.float32)).first_frame == 0
    box.cut_power()
    assert not box.has_power
    gone = play(box.audio, np.full((4800, 8), 0.5, np.float32))
    assert gone.first_frame == 960
    assert not gone.sound[1000:].any(), "a box without power plays"


def test_late_wake_is_over_once_the_engine_has_done_with_it_however_long_that_takes(box: SimBox) -> None:
    """Else the clock goes on while an engine that a busy machine holds up has yet to give its card up."""
    box.power_on()
    box.wait_until_up()
    box.faults.begin("late_wake", 200.0)
    box.pass_time(0.1)
    engine = box.service("engine")
    engine.send(signal.SIGSTOP)
    may_look = threading.Event()

    def let_go() -> None:
        may_look.set()
        engine.send(signal.SIGCONT)

    threading.Timer(HELD_UP_S, let_go).start()
    box.faults.end("late_wake")
    assert may_look.is_set(), "the engine had not even looked"
    told = box.card.report()
    assert told["state"] == "running"
    assert told["card"]["capture"]["wait_frame"] > told["card"]["frame"], "it does not sleep for a frame to come"


def test_box_that_never_had_power_is_told_so(box: SimBox) -> None:
    with pytest.raises(HilError, match="no engine has opened it yet; give the box power"):
        play(box.audio, np.zeros((960, 8), np.float32))
    with pytest.raises(HilError, match="the box has no power"):
        box.run("true")
    with pytest.raises(NotWiredError, match='rig sim has no "serial"'):
        _ = box.serial


def test_sound_of_another_shape_is_refused(box: SimBox) -> None:
    with pytest.raises(HilError, match=r"shape \(10, 2\); this rig plays \(n_frames, 8\)"):
        list(box.audio.stream([np.zeros((10, 2), np.float32)]))


def test_setting_that_the_box_does_not_have_is_refused(box: SimBox) -> None:
    with pytest.raises(HilError, match=r"box\.env has no EVENHAND_BORED"):
        box.configure(EVENHAND_BORED="sim")


def test_run_that_was_killed_leaves_no_process_and_the_next_gives_its_memory_back() -> None:
    killed = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    told, _ = killed.communicate()
    pids = [int(word) for word in told.split()]
    assert len(pids) == 3, "it had no box, so this test shows nothing"
    assert list(MEMORY.glob(f"evenhand-hil-{killed.pid}-*"))
    until_s = time.monotonic() + PATIENCE_S
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until_s, f"processes {left} outlive their run"
        time.sleep(0.05)
    with SimBox(load_rig("sim")):
        assert not list(MEMORY.glob(f"evenhand-hil-{killed.pid}-*"))
