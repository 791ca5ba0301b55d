"""Processes are kept running: replaced when they end or stand still, ended in order, and heard."""

from __future__ import annotations

import os
import signal
import threading
from collections import UserDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from firmware.system.supervisor import (
    FIRST_PAUSE_S,
    LAST_PAUSE_S,
    MAX_LINE_CHARACTERS,
    N_LINES,
    STABLE_S,
    Child,
    Supervisor,
)
from firmware.tests.live_rig import wait_for


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


STAYS = "echo here >&2; exec sleep 600"


class Told(list[tuple[str, str]]):
    """What the children and the supervisor said."""

    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))

    def lines(self, name: str) -> list[str]:
        return [line for teller, line in self if teller == name]


def step_until(supervisor: Supervisor, condition: Callable[[], object], what: str) -> None:
    def stepped() -> object:
        supervisor.step(0.01)
        return condition()

    wait_for(stepped, what)


def was_started(child: Child, n_starts: int) -> bool:
    return child.n_starts >= n_starts


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_child_that_ends_is_started_again_at_once_and_told_with_its_status() -> None:
    told = Told()
    child = Child("engine", shell(STAYS))
    with Supervisor([child], told) as supervisor:
        first = child.process.pid
        child.process.kill()
        step_until(supervisor, lambda: child.n_starts == 2, "not started again")
        assert child.pause_s == FIRST_PAUSE_S == 0.0
        assert child.process.pid != first
        assert child.n_restarts == 1
        assert child.last_status == -signal.SIGKILL
    assert any("ended with signal 9" in line for line in told.lines("engine"))


def test_a_child_that_dies_again_and_again_is_given_more_time_up_to_a_bound() -> None:
    child = Child("engine", shell("exit 7"))
    pauses_s = []
    with Supervisor([child]) as supervisor:
        for n_starts in range(2, 9):
            step_until(supervisor, partial(was_started, child, n_starts), "given up")
            pauses_s.append(child.pause_s)
            assert child.last_status == 7
    assert pauses_s[0] == FIRST_PAUSE_S
    assert pauses_s == sorted(pauses_s)
    assert max(pauses_s) == LAST_PAUSE_S


def test_a_step_waits_no_longer_than_a_child_that_is_due() -> None:
    child = Child("engine", shell("exit 1"))
    with Supervisor([child]) as supervisor:
        step_until(supervisor, lambda: child.n_starts >= 3, "given up")
        step_until(supervisor, lambda: child.process is None, "does not end")
        supervisor.step(3600.0)
        assert child.n_starts >= 4


def test_a_child_that_stands_still_is_killed_and_started_again() -> None:
    told, alive = Told(), [True]
    child = Child("control", shell(STAYS), is_alive=lambda: alive[0])
    with Supervisor([child], told) as supervisor:
        supervisor.step(0.0)
        first = child.process.pid
        alive[0] = False
        supervisor.step(0.0)
        assert is_gone(first)
        assert child.last_status == -signal.SIGKILL
        alive[0] = True
        step_until(supervisor, lambda: child.n_starts == 2, "not started again")
        assert not is_gone(child.process.pid)
    assert "stands still; it is killed and started again" in told.lines("control")


def test_one_childs_death_leaves_the_others_alone() -> None:
    children = [Child("engine", shell(STAYS)), Child("control", shell(STAYS))]
    with Supervisor(children) as supervisor:
        engine_pid = children[0].process.pid
        children[1].process.kill()
        step_until(supervisor, lambda: children[1].n_starts == 2, "not started again")
        assert children[0].process.pid == engine_pid
        assert children[0].n_starts == 1


def test_a_child_is_asked_to_end_and_may_put_its_things_in_order(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    child = Child(
        "control", shell(f"trap 'echo kept > {kept}; exit 3' TERM; echo here >&2; while :; do sleep 0.01; done")
    )
    with Supervisor([child]) as supervisor:
        wait_for(lambda: "here" in child.lines, "does not start")
        assert supervisor.end("control") == 3
        assert "control" not in supervisor.children
        supervisor.step(0.0)
        assert child.n_starts == 1, "what was ended for good was started again"
    assert kept.read_text() == "kept\n"


def test_a_child_that_will_not_end_is_killed() -> None:
    told = Told()
    child = Child("engine", shell("trap '' TERM; echo here >&2; while :; do sleep 0.01; done"))
    with Supervisor([child], told) as supervisor:
        wait_for(lambda: "here" in child.lines, "does not start")
        pid = child.process.pid
        assert supervisor.end("engine") == -signal.SIGKILL
        assert is_gone(pid)
    assert any("it is killed" in line for line in told.lines("engine"))


def test_a_stopped_child_is_ended_too() -> None:
    child = Child("engine", shell(STAYS))
    with Supervisor([child]) as supervisor:
        wait_for(lambda: "here" in child.lines, "does not start")
        os.kill(child.process.pid, signal.SIGTERM)
        wait_for(lambda: child.process.poll() is not None, "does not end")
        assert supervisor.end("engine") == -signal.SIGTERM


def test_children_end_in_the_opposite_order_and_before_the_supervisor_is_left(tmp_path: Path) -> None:
    log = tmp_path / "log"
    names = ("engine", "control", "recorder")
    children = [
        Child(name, shell(f"trap 'echo {name} >> {log}; exit 0' TERM; echo here >&2; while :; do sleep 0.01; done"))
        for name in names
    ]
    with Supervisor(children):
        wait_for(lambda: all("here" in child.lines for child in children), "do not start")
        pids = [child.process.pid for child in children]
    assert log.read_text().split() == list(reversed(names))
    assert all(map(is_gone, pids))


def test_what_children_say_is_kept_and_told_line_by_line_whatever_bytes_it_has() -> None:
    told = Told()
    script = f"printf 'one\\ntwo \\377\\n' >&2; i=0; while [ $i -lt {N_LINES + 50} ]; do echo n$i >&2; i=$((i+1)); done"
    child = Child("engine", shell(f"{script}; printf last >&2; exec sleep 600"))
    with Supervisor([child], told):
        wait_for(lambda: f"n{N_LINES + 49}" in child.lines, "lines are missing")
        assert len(child.lines) == N_LINES
    assert told.lines("engine")[:2] == ["one", "two \N{REPLACEMENT CHARACTER}"]
    assert len(told.lines("engine")) >= N_LINES + 52


def test_a_child_that_never_ends_its_line_takes_no_memory() -> None:
    told = Told()
    child = Child(
        "engine", shell("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo after >&2; exec sleep 600")
    )
    with Supervisor([child], told):
        wait_for(lambda: "after" in child.lines, "what came after is lost")
    assert [len(line) for line in told.lines("engine")[:2]] == [MAX_LINE_CHARACTERS, len("after")]


def test_the_environment_of_a_child_is_ours_with_its_own_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_TEST_OURS", "ours")
    child = Child(
        "engine", shell("echo $EVENHAND_TEST_OURS $ALSA_CONFIG_PATH >&2; " + STAYS), {"ALSA_CONFIG_PATH": "x"}
    )
    with Supervisor([child]):
        wait_for(lambda: "ours x" in child.lines, "another environment")


def test_when_one_cannot_be_started_the_others_are_ended(tmp_path: Path) -> None:
    children = [Child("engine", shell(STAYS)), Child("control", [str(tmp_path / "missing")])]
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError), Supervisor(children):
        pass
    assert children[0].process is None
    wait_for(lambda: len(list(Path("/proc/self/fd").iterdir())) <= n_open, "descriptors are left open")


def test_restarts_leave_no_descriptor_and_no_thread_behind() -> None:
    n_open, n_threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    child = Child("engine", shell(STAYS))
    with Supervisor([child]) as supervisor:
        for n_starts in range(2, 8):
            child.process.kill()
            step_until(supervisor, partial(was_started, child, n_starts), "not started again")
    wait_for(lambda: len(list(Path("/proc/self/fd").iterdir())) <= n_open, "descriptors are left open")
    wait_for(lambda: threading.active_count() <= n_threads, "threads are left")


def test_an_interrupt_at_the_terminal_reaches_the_supervisor_alone() -> None:
    child = Child("engine", shell(STAYS))
    with Supervisor([child]):
        assert os.getpgid(child.process.pid) == child.process.pid != os.getpgid(0)


def test_a_child_that_lived_long_is_started_again_without_a_pause() -> None:
    child = Child("engine", shell(STAYS), pause_s=LAST_PAUSE_S)
    with Supervisor([child]) as supervisor:
        child.n_starts = 2  # not its first end, which is free
        child.started_s -= 2 * STABLE_S
        child.process.kill()
        step_until(supervisor, lambda: child.n_starts == 3, "not started again")
        assert child.pause_s == FIRST_PAUSE_S


def test_a_second_interrupt_while_a_start_is_given_up_leaves_no_child_behind(tmp_path: Path) -> None:
    ready, told = tmp_path / "ready", tmp_path / "told"
    slow = f"trap 'touch {told}; sleep 0.3; exit 0' TERM; touch {ready}; while :; do sleep 0.02; done"
    first = Child(name="first", command=shell(slow))

    class OnceItRuns(UserDict[str, str]):
        def __iter__(self) -> Iterator[str]:
            wait_for(ready.exists, "the first child does not run")
            return super().__iter__()

    def press() -> None:
        wait_for(told.exists, "the first child is not told to end")
        os.kill(os.getpid(), signal.SIGINT)

    second = Child(name="second", command=[str(tmp_path / "nothing")], environment=OnceItRuns())
    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises(FileNotFoundError), Supervisor([first, second]):
        pass
    pressing.join()
    assert first.process is None
