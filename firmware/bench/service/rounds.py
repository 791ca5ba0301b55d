"""Rounds: first one loop, then the other, each beside cyclictest and under the same load, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from firmware.segment import percentile_us
from firmware.system.cyclictest import CyclictestError, Wakes, run_cyclictest

from .counts import Counts
from .load import N_BUSY_PROCESSES
from .loops import SETTLE_S, EngineLoop, Loop, PythonLoop, Setting, end, start_process


@dataclass
class Tally:
    """All rounds of one loop. ``wakes`` is None without cyclictest; ``why_no_wakes`` says why."""

    setting: Setting
    is_realtime: bool
    counts: Counts
    wakes: Wakes | None
    why_no_wakes: str = ""

    def add(self, other: Tally) -> None:
        """Pool another round."""
        self.counts = self.counts + other.counts
        self.wakes = self.wakes + other.wakes if self.wakes and other.wakes else None
        self.is_realtime &= other.is_realtime

    @property
    def n_passed(self) -> int:
        """Periods that the card's clock went through."""
        return self.counts.card_frames // self.setting.n_frames

    @property
    def served_percent(self) -> float:
        """Share of them that the loop served."""
        return 100.0 * self.counts.periods / max(self.n_passed, 1)

    @property
    def cpu_us(self) -> float | None:
        """Processor time of the thread of the loop for a period of the card."""
        return self.counts.audio_cpu_ns / 1000 / max(self.n_passed, 1) if self.counts.audio_cpu_ns else None

    def as_record(self, deadline_us: float) -> dict[str, Any]:
        """Return the figures; ``deadline_us`` is by when a thread must be awake to serve a period in time."""
        counts, wakes = self.counts, self.wakes
        record: dict[str, Any] = {
            "is_realtime": self.is_realtime, "periods_passed": self.n_passed, "periods_served": counts.periods,
            "served_percent": self.served_percent, "xruns": counts.xruns, "card_losses": counts.card_losses,
            "audio_cpu_us": self.cpu_us, "deadline_us": deadline_us, "cyclictest": None,
            "possible_percent": None, "served_of_possible_percent": None,
        }  # fmt: skip
        for name, histogram in (("wake", counts.wake_us), ("service", counts.service_us)):
            for label, percent in (("p50", 50.0), ("p99", 99.0), ("p999", 99.9), ("p9999", 99.99)):
                record[f"{name}_{label}_us"] = percentile_us(histogram.astype(np.uint32), percent)
        if wakes:
            possible_percent = wakes.in_time_percent(deadline_us)
            record |= {
                "possible_percent": possible_percent,
                "served_of_possible_percent": 100.0 * self.served_percent / max(possible_percent, 1e-9),
                "cyclictest": {
                    "cycles_passed": wakes.n_passed, "p50_us": wakes.percentile_us(50.0),
                    "p99_us": wakes.percentile_us(99.0), "p999_us": wakes.percentile_us(99.9),
                    "p9999_us": wakes.percentile_us(99.99), "max_us": wakes.max_us,
                },
            }  # fmt: skip
        return record


@contextmanager
def load_beside(loop: type[Loop], setting: Setting) -> Iterator[None]:
    """Run the processes of the load: the busy ones, and the models where they are not in the loop's interpreter."""
    with ExitStack() as stack:
        if setting.has_load:
            kinds = ["busy"] * N_BUSY_PROCESSES + ["models"] * (loop is EngineLoop)
            for kind in kinds:
                stack.callback(end, start_process(["firmware.bench.service.load", kind]))
        yield


def watch(loop: Loop, seconds: float) -> Tally:
    """Return what happens to a running loop during one run of cyclictest."""
    before = loop.counts()
    wakes, why = None, ""
    until_s = time.monotonic() + seconds
    try:
        wakes = run_cyclictest(seconds, round(loop.setting.period_us), loop.core)
    except CyclictestError as error:
        why = str(error)
        time.sleep(max(until_s - time.monotonic(), 0.0))
    return Tally(loop.setting, loop.is_realtime, loop.counts() - before, wakes, why)


def play_rounds(
    setting: Setting, loops: list[type[EngineLoop] | type[PythonLoop]], *, n_rounds: int, seconds: float,
    tell: Callable[[str], None],
) -> dict[str, Tally]:  # fmt: skip
    """Let the loops take turns, ``n_rounds`` of ``seconds`` each; return the tally of each by its name."""
    tallies: dict[str, Tally] = {}
    for number in range(n_rounds):
        for loop in loops:
            tell(f"round {number + 1} of {n_rounds}: {loop.name} loop, periods of {setting.n_frames} frames")
            with loop(setting) as running, load_beside(loop, setting):
                time.sleep(SETTLE_S)
                tally = watch(running, seconds)
            if loop.name in tallies:
                tallies[loop.name].add(tally)
            else:
                tallies[loop.name] = tally
    return tallies
