"""cyclictest: when a thread that does nothing but wake up is on time, and so what the machine allows."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from firmware.errors import EvenhandError

PRIORITY = 81  # just above the audio thread
MAX_TRACKED_US = 200_000
STOP_S = 2.0  # to end by itself; then it is killed


class CyclictestError(EvenhandError):
    """There is no cyclictest to compare with; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Wakes:
    """How late a thread woke up: cycles by whole microseconds."""

    interval_us: int
    n_by_us: Counter[int]

    def __add__(self, other: Wakes) -> Wakes:
        return Wakes(interval_us=self.interval_us, n_by_us=self.n_by_us + other.n_by_us)

    @property
    def max_us(self) -> int:
        """The latest of all."""
        return max(self.n_by_us, default=0)

    @property
    def n_passed(self) -> int:
        """Cycles that should have been: cyclictest leaves those out that passed while it slept through them."""
        return sum(n * (1 + late_us // self.interval_us) for late_us, n in self.n_by_us.items())

    def percentile_us(self, percent: float) -> int:
        """Return the lateness that ``percent`` of the wake-ups stayed within."""
        left = self.n_by_us.total() * percent / 100.0
        for late_us in sorted(self.n_by_us):
            left -= self.n_by_us[late_us]
            if left <= 0:
                return late_us
        return self.max_us

    def in_time_percent(self, deadline_us: float) -> float:
        """Return the share of all cycles that passed in which the thread woke up before ``deadline_us``."""
        n_in_time = sum(n for late_us, n in self.n_by_us.items() if late_us < deadline_us)
        return 100.0 * n_in_time / max(self.n_passed, 1)


def run_cyclictest(seconds: float, interval_us: int, core: int | None) -> Wakes:
    """Let one thread of SCHED_FIFO wake up each ``interval_us`` for about ``seconds``, on ``core`` or any.

    Raises
    ------
    CyclictestError
        When it is not installed, or has no right to its priority.
    """
    with Cyclictest(seconds, interval_us, core) as running:
        return running.wakes()


class Cyclictest:
    """cyclictest as it runs beside something else. A context manager: leaving it early ends it.

    Raises
    ------
    CyclictestError
        When it is not installed.
    """

    def __init__(self, seconds: float, interval_us: int, core: int | None) -> None:
        if not shutil.which("cyclictest"):
            raise CyclictestError("cyclictest is not installed; `apt-get install rt-tests` brings it")
        self._interval_us = interval_us
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "cyclictest.json"
        n_loops = max(1, round(seconds * 1e6 / interval_us))
        pinned = [] if core is None else [f"--affinity={core}"]
        self._process = subprocess.Popen(
            ["cyclictest", *pinned, "--quiet", "--mlockall", "--threads=1", f"--priority={PRIORITY}", "--policy=fifo",
             f"--interval={interval_us}", f"--loops={n_loops}", f"--histogram={MAX_TRACKED_US}",
             "--histfile=/dev/null", f"--json={self._path}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:  # leaving it closes the pipe
            self._process.terminate()  # killed, it would leave a file in memory
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._folder.cleanup()

    def wakes(self) -> Wakes:
        """Wait for its end and return what it saw.

        Raises
        ------
        CyclictestError
            When it has no right to its priority, or writes what we do not understand.
        """
        said = self._process.communicate()[0].strip().splitlines() or [f"status {self._process.returncode}"]
        if self._process.returncode != 0 or not self._path.is_file():
            raise CyclictestError(f"cyclictest does not run here: {said[0]}; it needs the right to SCHED_FIFO")
        return read_wakes(self._path, self._interval_us)


def read_wakes(path: Path, interval_us: int) -> Wakes:
    """Read what cyclictest wrote; what lies outside its histogram counts as late as the latest."""
    try:
        thread = json.loads(path.read_text())["thread"]["0"]
        n_by_us = Counter({int(late_us): int(n) for late_us, n in thread["histogram"].items()})
        n_beyond = int(thread["cycles"]) - n_by_us.total()
        if n_beyond > 0:
            n_by_us[int(thread["max"])] += n_beyond
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CyclictestError(f"{path.name}: not what cyclictest of rt-tests 2 writes ({error})") from None
    return Wakes(interval_us=interval_us, n_by_us=n_by_us)
