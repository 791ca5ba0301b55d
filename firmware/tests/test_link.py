"""The model beside a live control: never waited for; late, dead, hung or foreign, it is left out and comes back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import CONTRACT_ID
from firmware.inference.answer import Answer
from firmware.inference.link import BACK_OFF_S, Link
from firmware.inference.trial import candidates_of
from firmware.tests.test_brain import brain_for, features, question
from firmware.tests.tiny_bundle import PUBLIC, tiny_bundle, tiny_data, write_tiny

N = 4
TICK_S = 0.02
PATIENCE_S = 60.0


class Desk:
    """Asks once a tick of a clock of its own, and notes how long each call took."""

    def __init__(self, link: Link) -> None:
        self.link, self.tick, self.worst_s = link, 0, 0.0
        self.answers: list[Answer] = []

    def turn(self, *, sleep_s: float = TICK_S) -> Answer | None:
        asked = question(self.tick, features(N, self.tick))
        began_s = time.thread_time()
        answer = self.link.step(time.monotonic())
        self.link.ask(asked)
        self.worst_s = max(self.worst_s, time.thread_time() - began_s)
        if answer is not None:
            self.answers.append(answer)
        self.tick += 1
        time.sleep(sleep_s)
        return answer

    def until(self, condition: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until_s, what
            self.turn()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_tiny(tmp_path, "f16")


def test_a_worker_answers_a_tick_later_dies_is_left_out_and_comes_back(path: Path, said: list[str]) -> None:
    with Link(path, [PUBLIC], [False] * N, said.append) as link:
        desk = Desk(link)
        desk.until(lambda: len(desk.answers) > 20, "no answers")
        assert link.model == "tiny 1"
        assert said == [f"model tiny 1 decides with the rules ({link.as_record()['candidate']})"]
        first = link.pid
        os.kill(first, signal.SIGKILL)
        desk.until(lambda: link.pid != first, "the death was not seen")
        assert link.model == "none"
        assert "died; the rules decide alone" in said[1]
        n_answers = len(desk.answers)
        desk.until(lambda: len(desk.answers) > n_answers + 10, "it did not come back")
        assert len(said) == 3
        assert desk.worst_s < TICK_S
    assert not Path(f"/proc/{first}").exists()


def test_a_worker_that_stands_still_is_not_waited_for_and_goes_on_afterwards(path: Path, said: list[str]) -> None:
    with Link(path, [PUBLIC], [False] * N, said.append) as link:
        desk = Desk(link)
        desk.until(lambda: len(desk.answers) > 20, "no answers")
        desk.worst_s, pid = 0.0, link.pid
        os.kill(pid, signal.SIGSTOP)
        for _ in range(250):
            desk.turn()
        n_answers = len(desk.answers)
        assert link.n_dropped > 200
        assert desk.worst_s < TICK_S / 2
        os.kill(pid, signal.SIGCONT)
        desk.until(lambda: len(desk.answers) > n_answers + 10, "it does not go on")
        assert link.pid == pid
        assert link.n_starts == 1
        assert all(a.tick >= desk.tick - 300 for a in desk.answers[-5:])


def test_answers_that_come_late_are_none(path: Path) -> None:
    """Asked ten times as fast as it can think, a worker falls behind; what it says then is of the past."""
    with Link(path, [PUBLIC], [False] * N) as link:
        desk = Desk(link)
        desk.until(lambda: len(desk.answers) > 5, "no answers")
        for _ in range(400):
            answer = desk.turn(sleep_s=0.0)
            assert answer is None or answer.tick >= desk.tick - 1 - 5 - 1
        assert link.n_late + link.n_dropped > 0


def test_live_answers_are_those_of_a_render_to_the_bit(path: Path) -> None:
    with Link(path, [PUBLIC], [False] * N) as link:
        desk = Desk(link)
        desk.until(lambda: link.model != "none", "not ready")
        first_tick = desk.tick - 1  # asked in the turn that heard of it
        desk.until(lambda: len(desk.answers) >= 30, "no answers")
        assert link.n_dropped == 0
        title = link.as_record()["candidate"]
    brain = brain_for(N, next(c for c in candidates_of(tiny_bundle()) if c.title == title))
    expected = {t: brain.think(question(t, features(N, t))) for t in range(first_tick, desk.tick)}
    assert all(answer.to_bytes() == expected[answer.tick].to_bytes() for answer in desk.answers)


def test_a_foreign_bundle_is_refused_in_one_line_and_never_tried_again(tmp_path: Path, said: list[str]) -> None:
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(tiny_data(**{r'contract_id = "\w+"': 'contract_id = "ffff"'}))
    with Link(bad, [PUBLIC], [False] * N, said.append) as link:
        desk = Desk(link)
        desk.until(lambda: bool(said), "not refused")
        assert said[0].startswith(f"no model: {bad}: was made for contract ffff, this firmware has {CONTRACT_ID}")
        assert said[0].endswith("the rules decide alone")
        for _ in range(round(2 * BACK_OFF_S / TICK_S)):
            desk.turn()
        assert link.n_starts == 1
        assert len(said) == 1
        assert desk.answers == []
        assert link.as_record()["state"] == "refused"


def test_another_bundle_takes_over_between_two_ticks_and_a_wrong_one_does_not(
    path: Path, tmp_path: Path, said: list[str]
) -> None:
    other, bad = tmp_path / "other.bundle", tmp_path / "bad.bundle"
    other.write_bytes(tiny_data(**{r'version = "1"': 'version = "2"'}))
    bad.write_bytes(b"PK\3\4")
    with Link(path, [PUBLIC], [False] * N, said.append) as link:
        desk = Desk(link)
        desk.until(lambda: len(desk.answers) > 5, "no answers")
        link.want(bad)
        desk.until(lambda: "model not taken" in said[-1], "the wrong one was not refused")
        assert link.model == "tiny 1"
        link.want(other)
        silent = longest = 0
        until_s = time.monotonic() + PATIENCE_S
        while link.model != "tiny 2":
            silent = 0 if desk.turn() else silent + 1
            longest = max(longest, silent)
            assert time.monotonic() < until_s
        n_answers = len(desk.answers)
        desk.until(lambda: len(desk.answers) > n_answers + 5, "the other does not answer")
        assert np.isfinite(desk.answers[-1].channels["offset_lu"]).all()


def test_no_process_outlives_its_link(path: Path) -> None:
    with Link(path, [PUBLIC], [False] * N) as link:
        desk = Desk(link)
        desk.turn()
        pid = link.pid
    assert not Path(f"/proc/{pid}").exists()
