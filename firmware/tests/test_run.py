"""``evenhand-box run --board sim`` as a person starts it: what it says, records, and leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
from numpy.typing import NDArray

from firmware.tests.box_command import children_of, finished, start_box
from firmware.tests.live_rig import wait_for
from firmware.tests.test_live import LOOKAHEAD, noise_bursts

RATE_HZ, SESSION_S = 48000, 4.0
FIELDS = ["board", "periods", "periods_lost", "xruns", "engine_restarts", "control_restarts", "wake_p50_us",
          "wake_p999_us", "round_trip_frames", "integrated_lufs", "true_peak_dbtp", "model", "channels"]  # fmt: skip


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("friday")
    audio = noise_bursts(int(SESSION_S * RATE_HZ), 5)
    for name, lanes in (("Host", [0]), ("Kick", [1]), ("Lead vocal", [2]), ("Keys", [3, 4])):
        soundfile.write(folder / f"{name}.wav", audio[:, lanes], RATE_HZ, "PCM_16")
    return folder


def box(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "firmware", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        said, complained = running.communicate(timeout=120)
    assert not left_overs(running.pid), "something is left in memory"
    return subprocess.CompletedProcess(command, running.returncode, said, complained)


def run_json(*arguments: str | Path) -> dict[str, Any]:
    done = box("run", "--board", "sim", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return dict(json.loads(done.stdout))


def mix_of(path: Path) -> NDArray[np.int32]:
    audio, _ = soundfile.read(path, dtype="int32", always_2d=True)
    return audio


def left_overs(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"evenhand-run-{pid}-*"))


def test_a_live_mix_of_a_fixed_scene_is_the_render_of_the_same_session_to_the_bit(
    session: Path, tmp_path: Path
) -> None:
    record = run_json("--session", session, "--record", tmp_path / "takes", "--amount", "0")
    assert box("render", session, "--out", tmp_path / "mix.wav", "--amount", "0").returncode == 0
    (take,) = (tmp_path / "takes").iterdir()
    live, rendered = mix_of(take / "mix.wav"), mix_of(tmp_path / "mix.wav")
    assert np.array_equal(live[LOOKAHEAD : LOOKAHEAD + len(rendered)], rendered)
    assert np.abs(rendered).max() > 1e7
    assert list(record) == FIELDS
    assert (record["board"], record["periods_lost"], record["xruns"]) == ("sim", 0, 0)
    assert (record["engine_restarts"], record["control_restarts"]) == (0, 0)
    assert [c["name"] for c in record["channels"]] == ["Host", "Keys", "Kick", "Lead vocal"]
    assert {p.name for p in take.iterdir()} >= {"mix.wav", "inputs.wav", "report.html", "decisions.jsonl"}


def test_with_the_automation_on_gains_and_loudness_of_live_and_render_agree(session: Path, tmp_path: Path) -> None:
    live = run_json("--session", session, "--record", tmp_path / "takes")
    rendered = json.loads(box("render", session, "--out", tmp_path / "mix.wav", "--json").stdout)
    (take,) = (tmp_path / "takes").iterdir()
    render_mix, live_mix = mix_of(tmp_path / "mix.wav"), mix_of(take / "mix.wav")
    live_mix = live_mix[LOOKAHEAD : LOOKAHEAD + len(render_mix)]  # the box went on a little longer
    loudness_lufs = [pyloudnorm.Meter(RATE_HZ).integrated_loudness(m / 2**31) for m in (live_mix, render_mix)]
    assert abs(loudness_lufs[0] - loudness_lufs[1]) <= 0.1
    for ours, theirs in zip(live["channels"], rendered["channels"], strict=True):
        assert ours["role"] == theirs["role"]
        assert abs(ours["gain_db"] - theirs["gain_db"]) <= 0.2


def test_what_is_recorded_of_the_inputs_is_the_session(session: Path, tmp_path: Path) -> None:
    run_json("--session", session, "--record", tmp_path)
    (take,) = tmp_path.iterdir()
    inputs = mix_of(take / "inputs.wav")
    names = ["Host", "Keys", "Kick", "Lead vocal"]
    expected = np.concatenate([mix_of(session / f"{name}.wav") for name in names], axis=1)
    assert np.array_equal(inputs[: len(expected)], expected)


def test_an_interrupt_ends_the_box_in_order(session: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "firmware", "run", "--board", "sim", "--session", str(session), "--seconds", "60"]
    running = subprocess.Popen(
        [*command, "--record", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(lambda: list(tmp_path.glob("*/mix.wav")), "nothing is recorded")
    time.sleep(1.0)
    running.send_signal(signal.SIGINT)
    said, complained = running.communicate(timeout=60)
    assert running.returncode == 0, complained
    assert "mix:" in said
    assert "Traceback" not in complained
    (take,) = tmp_path.iterdir()
    assert json.loads((take / "recording.json").read_text())["state"] == "complete"
    assert not left_overs(running.pid)


def test_a_second_interrupt_does_not_cost_the_recording_its_end(session: Path, tmp_path: Path) -> None:
    running = start_box("run", "--board", "sim", "--session", session, "--seconds", "60", "--record", tmp_path)
    wait_for(lambda: list(tmp_path.glob("*/mix.wav")), "nothing is recorded")
    time.sleep(1.0)
    for _ in range(2):
        running.send_signal(signal.SIGINT)
        time.sleep(0.05)
    done = finished(running)
    assert done.status == 0, done
    (take,) = tmp_path.iterdir()
    assert json.loads((take / "recording.json").read_text())["state"] == "complete"
    assert (take / "run.json").exists(), "the figures of the run are missing"


def test_two_interrupts_while_it_starts_leave_nothing_behind(session: Path) -> None:
    running = start_box("run", "--board", "sim", "--session", session)
    wait_for(lambda: len(children_of(running.pid)) == 2, "no process has started")
    for _ in range(2):
        running.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert "Traceback" not in finished(running).err


def test_a_full_log_does_not_end_the_mix_and_a_full_output_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        running = start_box("run", "--board", "sim", "--seconds", "1", out=full)
        done = finished(running)
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith("error: standard output: cannot be written (No space left on device)")
    assert "Traceback" not in done.err
    shell = f"exec {sys.executable} -m firmware run --board sim --seconds 1 2> /dev/full"
    ended = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.count("periods")) == (0, 1)


def test_a_killed_run_takes_its_processes_with_it(session: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "firmware", "run", "--board", "sim", "--session", str(session), "--seconds", "60"]
    running = subprocess.Popen(
        [*command, "--record", str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: list(tmp_path.glob("*/mix.wav")), "nothing is recorded")
    children = [int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
    assert len(children) == 3
    running.kill()
    running.wait()
    wait_for(lambda: not any(_is_alive(pid) for pid in children), "a child lives on without its parent")
    run_json("--session", session, "--seconds", "0.2")
    assert not left_overs(running.pid), "the next run did not clear up"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_what_a_full_standard_error_still_holds_does_not_change_the_status() -> None:
    code = (
        "import sys; sys.stderr = open(2, 'w', buffering=8192, closefd=False); sys.stderr.write('left over'); "
        "from firmware.__main__ import main; sys.exit(main(['devices']))"
    )
    shell = f'exec {sys.executable} -c "{code}" 2> /dev/full'
    assert subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True).returncode == 0
