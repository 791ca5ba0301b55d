"""``evenhand-box run`` in a wrong world: one line that says what and where, and nothing left behind."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from board_configs.board import load_board
from firmware.errors import EvenhandError
from firmware.live_run import LiveRun, RunJob
from firmware.system.supervisor import Child, Supervisor
from firmware.tests.box_command import assert_refused, box, sim_board
from firmware.tests.card_bench import NAME, card_on_bench

STAGE = f"""\
title = "Stage"
machine = "any"
[audio]
sample_rate_hz = 48000
period_frames = 64
n_periods = 2
[[card]]
key = "stage"
pcm = "{NAME}"
n_capture = 2
n_playback = 2
[budget]
max_round_trip_frames = 176
min_served_percent = 99.0
max_wake_p999_us = 200.0
"""
FOREIGN_SCENE = 'contract_id = "000000000000"\n'


def stage_board(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = STAGE
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "stage.toml"
    path.write_text(text)
    return path


def test_a_board_with_an_impossible_rate(tmp_path: Path) -> None:
    board = sim_board(tmp_path / "venue.toml", sample_rate_hz=44000)
    assert_refused(box("run", "--board", board), "venue.toml: sample_rate_hz = 44000 is not one of 44100, 48000, 96000")


def test_a_rate_that_the_card_does_not_offer(tmp_path: Path) -> None:
    board = stage_board(tmp_path)
    with card_on_bench(tmp_path, sample_rate_hz=44100):
        done = box("run", "--board", board, "--seconds", "1")
    assert_refused(done, f"stage.toml: sample_rate_hz = 48000 is not offered by {NAME}; it offers 44100")


def test_channels_that_the_card_does_not_offer(tmp_path: Path) -> None:
    board = stage_board(tmp_path, ("n_capture = 2", "n_capture = 8"))
    with card_on_bench(tmp_path):
        done = box("run", "--board", board, "--seconds", "1")
    assert_refused(done, f"stage.toml: n_capture = 8 is not offered by {NAME}; it offers 2")


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    board = stage_board(tmp_path, (NAME, "hw:CARD=Nope"))
    done = box("run", "--board", board, "--seconds", "1")
    assert_refused(done, 'stage.toml: card stage: no card matches id = "Nope"; this machine has')


def test_an_alsa_name_that_is_not_there(tmp_path: Path) -> None:
    board = stage_board(tmp_path)
    assert_refused(box("run", "--board", board, "--seconds", "1"), f"{NAME}: cannot be opened for capture")


def test_forty_inputs(tmp_path: Path) -> None:
    board = sim_board(tmp_path / "venue.toml", n_capture=40)
    assert_refused(box("run", "--board", board), "venue.toml: 40 input channels; a mixer has at most 32")


def test_a_scene_of_a_foreign_contract(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text(FOREIGN_SCENE)
    done = box("run", "--board", "sim", "--seconds", "1", "--scene", tmp_path / "old.toml")
    assert_refused(done, "old.toml: written for contract '000000000000', this box speaks")


def test_a_session_that_is_not_there(tmp_path: Path) -> None:
    done = box("run", "--board", "sim", "--session", tmp_path / "friday")
    assert_refused(done, "friday: no such session; name a folder")


def test_a_session_with_33_channels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "wide.wav", np.full((4800, 33), 0.1, np.float32), 48000)
    assert_refused(box("run", "--board", "sim", "--session", tmp_path / "wide.wav"), "wide.wav", "33 channels")


def test_a_session_with_more_inputs_than_the_board_has(tmp_path: Path) -> None:
    board = sim_board(tmp_path / "venue.toml", n_capture=2)
    soundfile.write(tmp_path / "three.wav", np.full((4800, 3), 0.1, np.float32), 48000)
    assert_refused(box("run", "--board", board, "--session", tmp_path / "three.wav"), "needs 3 inputs, venue has 2")


def test_a_session_for_a_board_with_a_card(tmp_path: Path) -> None:
    done = box("run", "--board", stage_board(tmp_path), "--session", tmp_path)
    assert_refused(done, "--session", "stage hears its card; --board sim plays files")


def test_a_folder_to_record_into_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = box("run", "--board", "sim", "--seconds", "1", "--record", tmp_path / "file" / "friday")
    assert_refused(done, "file/friday: cannot be made (Not a directory); name another folder")


def test_a_start_that_a_process_refuses_is_told_once_and_nothing_else_is() -> None:
    told: list[str] = []
    job = RunJob(board=load_board("sim"), priority="high")  # type: ignore[arg-type]  # the engine refuses the word
    with pytest.raises(EvenhandError, match="engine: ended with status 2"), LiveRun(job, told.append):
        pass
    assert told == []


@pytest.mark.parametrize(
    ("name", "hint"), [("simm", "did you mean sim or sim_preamps?"), ("raspbery_pi_4", "raspberry_pi_4")]
)
def test_a_board_with_a_slip_of_the_finger(name: str, hint: str) -> None:
    assert_refused(box("run", "--board", name), f'no board "{name}"; ', hint)


def test_a_board_of_another_machine(tmp_path: Path) -> None:
    other = "x86_64" if platform.machine() == "aarch64" else "aarch64"
    board = sim_board(tmp_path / "venue.toml", machine=f'"{other}"')
    done = box("run", "--board", board, "--seconds", "1")
    assert_refused(done, f"venue.toml: is for {other}; this machine is {platform.machine()}")


def test_a_core_that_is_not_there(tmp_path: Path) -> None:
    board = stage_board(tmp_path, ("[budget]", "[cores]\naudio = 255\n[budget]"))
    done = box("run", "--board", board, "--seconds", "1")
    assert_refused(done, "stage.toml: cores: audio names core 255, which this process may not use; it may use 0")


@pytest.mark.parametrize("option", ["--session", "--record", "--scene", "--state"])
def test_a_folder_without_a_name(option: str) -> None:
    done = box("run", "--board", "sim", option, "")
    assert done.status == 2
    assert done.err.endswith(f"argument {option}: is empty; name a file or folder\n")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_no_time_to_run(seconds: str) -> None:
    assert_refused(box("run", "--board", "sim", f"--seconds={seconds}"), "--seconds")


def test_an_unreadable_board_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "venue.toml").write_text("title = ")
    assert_refused(box("run", "--board", tmp_path / "venue.toml"), "venue.toml: is not TOML")


def test_a_box_that_waits_for_its_card_starts_without_it(tmp_path: Path) -> None:
    board = stage_board(tmp_path)
    done = box("run", "--board", board, "--seconds", "1", "--wait-for-card", "--json")
    assert done.status == 0, done.err
    assert '"periods": 0' in done.out


# ---------------------------------------------------------------------------------- the reason of a process that ended


def test_all_that_a_process_said_is_heard_before_its_end_is_told() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('one\\nerror: the reason')"]
    child = Child("engine", command)
    with Supervisor([child], lambda name, line: time.sleep(0.1 if line == "one" else 0.0)) as supervisor:
        assert child.process is not None
        child.process.wait()
        supervisor.step(10.0)
        assert list(child.lines)[:2] == ["one", "error: the reason"]
        assert child.lines[2].startswith("ended with status 1")


def test_a_grandchild_that_keeps_the_pipe_open_delays_nobody_for_long() -> None:
    grandchild = "import subprocess, sys; sys.exit(str(subprocess.Popen(['sleep', '60']).pid))"
    child = Child("engine", [sys.executable, "-c", grandchild])
    with Supervisor([child]) as supervisor:
        assert child.process is not None
        child.process.wait()
        began_s = time.monotonic()
        supervisor.step(10.0)
        assert child.last_status == 1
        assert time.monotonic() - began_s < 30.0  # and not the minute that it lives
    for line in child.lines:
        if line.isdigit():
            os.kill(int(line), signal.SIGKILL)
