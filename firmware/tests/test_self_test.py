"""What an update must show before it stays, beyond the mixer: an agent by which the box can be updated again."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from firmware.self_test import Finding, agent


class Systemd:
    """A ``systemctl`` on the path that tells what the test wants of the update agent."""

    def __init__(self, folder: Path) -> None:
        self.answer = folder / "answer"
        self._asked = folder / "asked"
        program = folder / "bin/systemctl"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$@" >>{self._asked}\ncat {self.answer}\n')
        program.chmod(0o755)
        self.path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def tell(
        self, *, state: str = "active", wanted_by: str = "multi-user.target", ready_s: float = 1.0, fed_s: float = 0.5
    ) -> None:
        """Tell that it has been in this state for so long, and fed its watchdog so long ago."""
        since_us, fed_us = (int(1e6 * (time.monotonic() - ago_s)) for ago_s in (ready_s, fed_s))
        self.answer.write_text(
            f"NRestarts=7\nActiveState={state}\nActiveEnterTimestampMonotonic={since_us}\nWantedBy={wanted_by}\n"
            f"WatchdogTimestampMonotonic={fed_us}\n"
        )

    @property
    def n_asked(self) -> int:
        return len(self._asked.read_text().splitlines())


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    there = Systemd(tmp_path)
    monkeypatch.setenv("PATH", there.path)
    return there


def look(seconds: float = 0.2, *, is_needed: bool = True) -> list[Finding]:
    return list(agent(seconds=seconds, start_s=0.3, is_needed=is_needed, sleep=lambda _: time.sleep(0.01)))


def test_an_agent_that_has_been_ready_as_long_as_the_periods_were_watched_is_good(systemd: Systemd) -> None:
    systemd.tell(ready_s=61.0)
    (found,) = look(600.0)  # a minute is enough
    assert (found.item, found.is_good) == ("agent", True)
    assert re.fullmatch(r"has been ready for 6\d s", found.words)
    assert systemd.n_asked == 1


def test_an_agent_is_waited_for_until_it_has_been_ready_so_long(systemd: Systemd) -> None:
    systemd.tell(ready_s=0.0)
    (found,) = look(3.0)
    assert found.is_good
    assert systemd.n_asked > 1


@pytest.mark.parametrize("state", ["activating", "failed", "inactive"])
def test_an_agent_that_dies_again_and_again_is_not_good(systemd: Systemd, state: str) -> None:
    systemd.tell(state=state, ready_s=100.0)
    (found,) = look()
    assert not found.is_good
    assert found.words == f"is {state}, and systemd has started it again 7 times"


def test_an_agent_that_was_ready_for_a_moment_is_not_good(systemd: Systemd) -> None:
    def dies_and_comes_back(_: float) -> None:
        time.sleep(0.01)
        systemd.tell(ready_s=0.1)

    systemd.tell(ready_s=0.1)
    (found,) = agent(seconds=5.0, start_s=0.3, is_needed=True, sleep=dies_and_comes_back)  # a busy machine is late, too
    assert not found.is_good


def test_an_agent_that_hangs_is_not_good_before_its_watchdog_ends_it(systemd: Systemd) -> None:
    systemd.tell(ready_s=60.0, fed_s=59.0)
    (found,) = look()
    assert not found.is_good
    assert re.fullmatch(r"hangs: its watchdog was fed [56]\d s ago", found.words)


def test_one_that_somebody_started_by_hand_would_not_be_there_after_the_next_start(systemd: Systemd) -> None:
    systemd.tell(wanted_by="", ready_s=100.0)
    (found,) = look()
    assert not found.is_good
    assert found.words == "does not start with this machine: nobody could update it"


def test_a_machine_without_one_is_no_worse_where_no_update_is_judged(systemd: Systemd) -> None:
    systemd.tell(wanted_by="", state="inactive")
    assert look(is_needed=False) == []


def test_a_systemd_that_does_not_answer_at_once_is_asked_again(systemd: Systemd) -> None:
    systemd.answer.write_text("Failed to connect to bus\n")

    def comes_up(_: float) -> None:
        systemd.tell(ready_s=100.0)

    (found,) = agent(seconds=0.2, start_s=30.0, is_needed=True, sleep=comes_up)
    assert found.is_good
    systemd.answer.unlink()
    (found,) = look()
    assert (found.is_good, found.words) == (False, "is nothing that systemd tells of")
