"""A model beside a live box: stopped, slowed or killed, no period is lost, no fader jumps, and it comes back."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.control.learned import TRUST_GLIDE_S
from firmware.control_process import PUBLIC_TICKS
from firmware.segment import PUBLIC_NOTEBOOK, Segment
from firmware.tests.live_rig import PATIENCE_S, LiveRig, wait_for
from firmware.tests.test_live import FOUR
from firmware.tests.test_live_kills import PERIOD, Tape, settled
from firmware.tests.tiny_bundle import PUBLIC, tiny_data, write_tiny

TICK_S = 0.02
MAX_JUMP_DB = 0.5
PAGE_S = PUBLIC_TICKS * TICK_S  # so old may a page be
TAKEN_OVER_S = 0.2  # from then on the rules have it: trust falls


class LiveMix:
    """A box that plays in real time, and what its page and its faders say."""

    def __init__(self, rig: LiveRig, view: Segment) -> None:
        self._rig, self._view, self._tape = rig, view, Tape(4)
        self._next_s = time.monotonic()
        self.faders: list[NDArray[np.float32]] = []
        self.trust: list[float] = []

    def turn(self) -> dict[str, Any]:
        """Play one tick and return control's page."""
        self._tape.play(self._rig, self._view, 1)
        settled(self._view, self._rig.card.frame // 960 * 960)
        page = json.loads(self._view.read_notebook(PUBLIC_NOTEBOOK) or b"{}")
        self.faders.append(self._view.params()["channel"]["fader.level_db"][:4].copy())
        self.trust.append(page.get("learned", {}).get("trust", 0.0))
        self._next_s = max(self._next_s + TICK_S, time.monotonic() - 1.0)
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        return page

    def until(self, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Play until the page says so."""
        until_s = time.monotonic() + 2 * PATIENCE_S
        while not condition(page := self.turn()):
            assert time.monotonic() < until_s, what
        return page

    def until_acquired(self) -> None:
        """Play until no fader has been on its first way to its place, which is a fast one, for a second."""
        ticks = round(1.0 / TICK_S)
        self.faders.clear()
        self.until(lambda _page: len(self.faders) > ticks and self._jump_db(ticks) <= MAX_JUMP_DB, "never at rest")

    def play(self, seconds: float) -> None:
        """Play on for so long."""
        for _ in range(round(seconds / TICK_S)):
            self.turn()

    def assert_no_jump(self) -> None:
        """Hold each tick's faders against those of the tick before."""
        jump_db = self._jump_db(len(self.faders))
        assert jump_db <= MAX_JUMP_DB, f"a fader jumped by {jump_db:.2f} dB"

    def _jump_db(self, n_ticks: int) -> float:
        return float(np.abs(np.diff(np.array(self.faders[-n_ticks:]), axis=0)).max())


@contextmanager
def live(bundle: Path) -> Iterator[LiveMix]:
    """Start engine, control and model; nothing may be lost by the end."""
    with LiveRig(FOUR) as rig:
        rig.start_engine()
        control = rig.start_control("--model", str(bundle), "--model-key", str(PUBLIC))
        view = rig.attach(is_control=False)
        rig.card.wait_for_start()
        wait_for(lambda: view.status().control_beat_ns, "no control")
        yield LiveMix(rig, view)
        counters = view.status().counters
        assert (counters["periods_lost"], counters["xruns"]) == (0, 0)
        assert counters["periods"] == rig.card.frame // PERIOD
        control.terminate()
        assert control.wait(PATIENCE_S) == 0


def check_stall_and_kill(bundle: Path, stall_s: float) -> None:
    with live(bundle) as mix:
        page = mix.until(lambda p: p.get("learned", {}).get("trust", 0.0) > 0.5, "the model is not trusted")
        pid = page["inference"]["pid"]
        assert page["model"] == "tiny 1"
        mix.until_acquired()
        mix.faders.clear()
        trusted = mix.trust[-1]
        os.kill(pid, signal.SIGSTOP)
        mix.play(stall_s)
        assert mix.trust[-1] <= max(0.0, trusted - (stall_s - TAKEN_OVER_S - 2 * PAGE_S) / TRUST_GLIDE_S)
        os.kill(pid, signal.SIGCONT)
        low = mix.trust[-1]
        page = mix.until(lambda p: p["learned"]["trust"] > low + 0.1, "it is not trusted again")
        assert page["inference"]["pid"] == pid
        os.kill(pid, signal.SIGKILL)
        page = mix.until(lambda p: p["model"] == "none", "its death was not seen")
        mix.play(0.4)
        low = mix.trust[-1]
        page = mix.until(lambda p: p["learned"]["trust"] > low + 0.1, "no other took its place")
        assert page["inference"]["pid"] != pid
        mix.assert_no_jump()


def test_a_stalled_and_a_killed_model_cost_no_period_and_no_jump(tmp_path: Path) -> None:
    check_stall_and_kill(write_tiny(tmp_path, "f16"), 1.5)


@pytest.mark.soak
def test_a_model_that_stalls_for_five_seconds_costs_no_period_and_no_jump(tmp_path: Path) -> None:
    check_stall_and_kill(write_tiny(tmp_path), 5.0)


def test_a_foreign_bundle_leaves_a_live_box_to_its_rules(tmp_path: Path) -> None:
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(tiny_data()[:20_000])
    with live(bad) as mix:
        page = mix.until(lambda p: p.get("inference", {}).get("state") == "refused", "not refused")
        assert page["model"] == "none"
        mix.play(0.5)
        assert mix.trust[-1] == 0.0
