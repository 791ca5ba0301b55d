"""The emulator's monitor: answers are told from events, a refusal is said, and an emulator that is gone is too."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hil_tests.drivers.emulator import CLOCK, CLOCK_WITHOUT_REST
from hil_tests.drivers.monitor import Monitor, MonitorError

pytestmark = pytest.mark.skipif(shutil.which("qemu-system-aarch64") is None, reason="no emulator is installed")
MACHINE = ("-M", "virt", "-cpu", "cortex-a72", "-m", "16", "-nodefaults", "-display", "none")


def machine(*words: str, clock: Sequence[str] = CLOCK_WITHOUT_REST) -> tuple[subprocess.Popen[bytes], Monitor]:
    """Return an emulated machine without a program."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["qemu-system-aarch64", *MACHINE, *clock, "-chardev", f"socket,id=monitor,fd={theirs.fileno()}", "-mon",
             "chardev=monitor,mode=control", *words],
            pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
    return process, Monitor(ours)


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    process, monitor = machine("-S")
    yield monitor
    monitor.close()
    process.kill()
    process.communicate()


def test_machine_stands_still_and_goes_on_when_told(monitor: Monitor) -> None:
    assert monitor.ask("query-status")["status"] == "prelaunch"
    monitor.ask("cont")
    assert monitor.ask("query-status")["running"]
    monitor.ask("stop")  # an event comes before its answer
    assert monitor.ask("query-status")["status"] == "paused"


def test_refusal_and_death_are_said(monitor: Monitor, tmp_path: Path) -> None:
    with pytest.raises(MonitorError, match="levitate: The command levitate has not been found"):
        monitor.ask("levitate")
    with pytest.raises(MonitorError, match="not completed"):
        monitor.save(tmp_path / "absent" / "machine")
    monitor.ask("quit")
    with pytest.raises(MonitorError, match=r"gone|reset|Broken pipe"):
        monitor.ask("query-status")


@pytest.mark.parametrize("clock", [CLOCK_WITHOUT_REST, CLOCK], ids=["by the same clock", "by one that rests"])
def test_saved_machine_goes_on_in_another_emulator(monitor: Monitor, tmp_path: Path, clock: Sequence[str]) -> None:
    saved = tmp_path / "machine"
    monitor.ask("cont")
    monitor.ask("stop")
    monitor.save(saved)
    process, other = machine("-incoming", f"exec:cat '{saved}'", clock=clock)
    try:
        other.go_on_from_saved()
        assert other.ask("query-status")["running"]
    finally:
        other.close()
        process.kill()
        process.communicate()
