"""A child ends with the supervisor that started it, however that went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from firmware.tests.live_rig import wait_for

CHILD = """
import os, signal, sys, time
from firmware.system.parent import end_with_parent
end_with_parent(int(sys.argv[1]), signal.Signals[(*sys.argv, "SIGTERM")[2]])
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid()), *sys.argv[1:]])
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_parent_takes_its_child_with_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child_pid = int(parent.stdout.readline())
    assert is_running(child_pid)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_running(child_pid), "the child stayed")
    parent.stdout.close()


def test_a_killed_parent_takes_a_stopped_child_with_it_that_asked_for_sigkill() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, "SIGKILL"], stdout=subprocess.PIPE, text=True)
    child_pid = int(parent.stdout.readline())
    os.kill(child_pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_running(child_pid), "the stopped child stayed")
    parent.stdout.close()


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    done = subprocess.run([sys.executable, "-c", CHILD, str(gone.pid)], capture_output=True, text=True, timeout=60)
    assert done.returncode == -15
    assert done.stdout == ""


def test_a_child_of_a_living_parent_stays() -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(os.getpid())], stdout=subprocess.PIPE, text=True)
    try:
        assert int(child.stdout.readline()) == child.pid
        assert child.poll() is None
    finally:
        child.kill()
        child.communicate()
