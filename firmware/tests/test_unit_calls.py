"""The system calls that the processes really make, from start to end, against those that their units let through."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from firmware.observation import ChannelSetup
from firmware.segment import PUBLIC_NOTEBOOK, Segment
from firmware.tests.live_rig import PCM, LiveRig, wait_for
from firmware.tests.tiny_bundle import PUBLIC, write_tiny
from firmware.tests.unit_file import UNITS, UnitFile, has_systemd_analyze

pytestmark = [
    pytest.mark.skipif(not has_systemd_analyze(), reason="systemd-analyze is not installed"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

PROCESSES = ("engine", "control", "recorder")
# NumPy's OpenBLAS asks for its memory on the nearest node, a model's process to stand back behind control. Both go on
# without: test_units_live runs them refused.
DOES_WITHOUT = {"control": {"mbind", "setpriority"}}
CHANNELS = [ChannelSetup(name=f"In {n}", is_stereo=n == 2, role=None) for n in (1, 2)]


class Traced:
    """A process under strace; its own id is that of the process, not of the tracer."""

    def __init__(self, folder: Path, name: str, environment: dict[str, str], command: Sequence[object]) -> None:
        self._log = folder / f"{name}.strace"
        words = ["strace", "-D", "-f", "-q", "-o", self._log, sys.executable, "-m", *command]
        self.process = subprocess.Popen(
            [str(word) for word in words], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def end(self) -> set[str]:
        """Ask it to end, and return the calls it made."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        exited = f"{self.process.pid} +++ exited with 0 +++"
        wait_for(lambda: exited in " ".join(self._log.read_text().split()), "the tracer does not end")
        return set(re.findall(r"^\d+ +(\w+)\(", self._log.read_text(), re.MULTILINE))


def page(segment: Segment) -> dict[str, Any]:
    """Return what control tells whoever looks."""
    return {"model": "none", **json.loads(segment.read_notebook(PUBLIC_NOTEBOOK) or b"{}")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the calls that each made: start, sound, a model, a card that is pulled and returns, end."""
    folder = tmp_path_factory.mktemp("calls")
    (folder / "state").mkdir()
    (folder / "recordings").mkdir()
    with LiveRig(CHANNELS, clock="wall", card={"tape": False, "recorder": False}) as rig:
        with rig.board.open("a") as board:
            board.write("\n[cores]\naudio = 0\n")
        mixer, spool = rig.folder / "mixer.json", folder / "markers"
        common = ("--mixer", mixer, "--segment", rig.segment_path)
        engine = Traced(
            folder, "engine", rig.environment,
            ["firmware.engine_process", "--board", rig.board, "--pcm", PCM, *common, "--record-ring", rig.ring_path,
             "--wait-for-card"],
        )  # fmt: skip
        control = Traced(
            folder, "control", dict(os.environ),
            ["firmware.control_process", *common, "--state", folder / "state", "--markers", spool, "--model",
             write_tiny(folder), "--model-key", PUBLIC],
        )  # fmt: skip
        recorder = Traced(
            folder, "recorder", dict(os.environ),
            ["firmware.recorder.process", "--ring", rig.ring_path, "--out", folder / "recordings", "--markers", spool,
             "--status", rig.folder / "recorder.json"],
        )  # fmt: skip
        rig.engine = engine.process
        segment = rig.attach(is_control=False)
        wait_for(lambda: segment.status().counters["periods"] > 200, "no sound")
        wait_for(lambda: segment.status().control_frame > 0, "control does not tick")
        wait_for(lambda: page(segment)["model"] != "none", "no model is loaded")
        wait_for(lambda: any((folder / "recordings").rglob("*.wav")), "nothing is recorded")
        rig.card.unplug()
        wait_for(lambda: segment.status().state == "no_card", "the engine holds on to a card that is gone")
        rig.card.replug()
        wait_for(lambda: segment.status().state == "running", "the card does not come back")
        return {"recorder": recorder.end(), "control": control.end(), "engine": engine.end()}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_makes_no_system_call_that_its_unit_refuses(made: dict[str, set[str]], name: str) -> None:
    refused = made[name] - UnitFile(UNITS / f"evenhand-{name}.service").allowed_calls()
    assert sorted(refused - DOES_WITHOUT.get(name, set())) == []


def test_the_trace_saw_what_only_the_engine_is_let_out_for(made: dict[str, set[str]]) -> None:
    real_time = {"sched_setscheduler", "sched_setaffinity"}
    assert made["engine"] >= real_time | {"mlockall"}
    for name in ("control", "recorder"):
        assert not real_time & UnitFile(UNITS / f"evenhand-{name}.service").allowed_calls()


@pytest.mark.parametrize("call", ["ptrace", "mount", "bpf", "init_module", "reboot", "clock_settime", "setuid"])
def test_what_no_process_needs_is_refused_to_all(made: dict[str, set[str]], call: str) -> None:
    for name in PROCESSES:
        assert call not in made[name] | UnitFile(UNITS / f"evenhand-{name}.service").allowed_calls()
