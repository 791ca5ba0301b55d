"""The two loops that are compared, each in a process of its own on a virtual card of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from board_configs.board import load_board
from firmware.engine_process import AUDIO_PRIORITY
from firmware.errors import EvenhandError
from firmware.mixer_setup import setup_of_session, write_setup
from firmware.segment import Segment, SegmentAbsentError
from firmware.system.alsa_config import write_alsa_config
from firmware.system.virtual_card import VirtualCard

from .counts import Counts
from .python_loop import IS_REALTIME, N_BUCKETS, N_SHARED, PERIODS, SERVICE, WAKE, XRUNS
from .strips import N_OUTPUTS, RATE_HZ, full_strips

PCM = "evenhand_bench"
BOARD = "sim"
START_S, SETTLE_S, STOP_S = 30.0, 0.3, 5.0
FEED_S = 0.05
MAX_LOOKS = 100
LIMITER_FRAMES = 48
CALM_MATHS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What both loops are given."""

    n_channels: int
    n_frames: int
    n_periods: int
    has_load: bool
    has_tape: bool = False  # then the card's clock waits for whoever feeds it

    @property
    def period_us(self) -> float:
        """From one interrupt of the card to the next."""
        return 1e6 * self.n_frames / RATE_HZ

    @property
    def slack_us(self) -> float:
        """From the edge of a period until playback runs dry: what the card still has to play then."""
        return (self.n_periods - 1) * self.period_us


class Loop(ABC):
    """A card and the process that serves it. A context manager: inside, the loop runs."""

    name: str

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._stack = ExitStack()
        self.core: int | None = None  # that the audio thread is tied to, as on a board
        self._audio_thread: Path | None = None

    def __enter__(self) -> Self:
        try:
            memory = Path("/dev/shm")
            self.folder = Path(tempfile.mkdtemp(prefix="evenhand-bench-", dir=memory if memory.is_dir() else None))
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.card = self._stack.enter_context(
                VirtualCard(self.folder / "card", n_capture=self.setting.n_channels, n_playback=N_OUTPUTS,
                            sample_rate_hz=RATE_HZ, tape=self.setting.has_tape, recorder=False)
            )  # fmt: skip
            if self.setting.has_tape:
                self._stack.enter_context(fed(self.card))
            config = write_alsa_config(self.folder, {PCM: self.folder / "card"})
            self.environment = {**os.environ, **CALM_MATHS, "ALSA_CONFIG_PATH": str(config)}
            self._start()
            self._wait_until(self._has_begun, "begin")
            self._pin_audio_thread()
            time.sleep(SETTLE_S)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @abstractmethod
    def _start(self) -> None:
        """Start the process."""

    @property
    @abstractmethod
    def is_realtime(self) -> bool:
        """Whether the loop's thread has the priority that it asked for."""

    @abstractmethod
    def _counts_at(self, card_frames: int) -> Counts:
        """Return what the process says of itself."""

    def counts(self) -> Counts:
        """Return what has happened so far: what card and process say within one period, if we are let."""
        for _ in range(MAX_LOOKS):
            card_frames = self.card.frame
            counts = self._counts_at(card_frames)
            if self.card.frame - card_frames <= self.setting.n_frames:
                break
        return counts

    def _has_begun(self) -> bool:
        counts = self.counts()
        return counts.periods + counts.xruns > 0

    def _pin_audio_thread(self) -> None:
        """Tie the thread of the loop to one core, that cyclictest wakes up on too: both meet the same stalls."""
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            rt_priority = (thread / "stat").read_text().rpartition(")")[2].split()[37]
            if int(rt_priority) == AUDIO_PRIORITY:
                self._audio_thread = thread
                self.core = max(os.sched_getaffinity(0))
                os.sched_setaffinity(int(thread.name), {self.core})

    def _audio_cpu_ns(self) -> int:
        """Return the processor time of the thread of the loop; 0 where the kernel or its priority does not tell it."""
        schedstat = self._audio_thread / "schedstat" if self._audio_thread else None
        return int(schedstat.read_text().split()[0]) if schedstat and schedstat.is_file() else 0

    def _run(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", module, *arguments, "--parent", str(os.getpid())]
        self.process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._stack.callback(end, self.process)
        return self.process

    def _wait_until(self, condition: Callable[[], bool], doing: str) -> None:
        until_s = time.monotonic() + START_S
        while not condition():
            if self.process.poll() is not None:
                said = last_words(self.process)
                raise EvenhandError(f"the {self.name} loop ended before it could {doing}; it said: {said}")
            if time.monotonic() > until_s:
                raise EvenhandError(f"the {self.name} loop did not {doing} within {START_S:.0f} s")
            time.sleep(0.01)


class EngineLoop(Loop):
    """The engine process, with garbage in its own interpreter when there is load."""

    name = "C"

    def _start(self) -> None:
        setup = setup_of_session(
            [(f"In {ch + 1}", None, False) for ch in range(self.setting.n_channels)],
            sample_rate_hz=RATE_HZ, n_card_outputs=N_OUTPUTS,
        )  # fmt: skip
        self.mixer, self.segment_path = self.folder / "mixer.json", self.folder / "segment"
        write_setup(setup, self.mixer)
        n_frames, n_periods = self.setting.n_frames, self.setting.n_periods
        board = board_with(
            self.folder / "bench.toml", period_frames=n_frames, n_periods=n_periods,
            max_round_trip_frames=n_frames * n_periods + LIMITER_FRAMES,
        )  # fmt: skip
        module = "firmware.bench.service.loaded_engine" if self.setting.has_load else "firmware.engine_process"
        self._run(module, "--board", str(board), "--pcm", PCM, "--mixer", str(self.mixer),
                  "--segment", str(self.segment_path))  # fmt: skip
        self._wait_until(self._has_published, "make its segment")
        self._segment = self._stack.enter_context(Segment(self.segment_path, is_control=False))

    def _has_published(self) -> bool:
        try:
            with Segment(self.segment_path, is_control=True) as segment:
                segment.publish(full_strips())
        except SegmentAbsentError:
            return False
        return True

    @property
    def is_realtime(self) -> bool:
        """Whether the audio thread has its priority."""
        return self._segment.status().is_realtime

    def _counts_at(self, card_frames: int) -> Counts:
        status = self._segment.status()
        return Counts(
            card_frames=card_frames,
            periods=status.counters["periods"],
            xruns=status.counters["xruns"],
            card_losses=status.counters["card_losses"],
            audio_cpu_ns=self._audio_cpu_ns(),
            wake_us=status.wake_us.astype(np.int64),
            service_us=status.service_us.astype(np.int64),
        )


class PythonLoop(Loop):
    """The same loop driven from Python, with garbage and models in its interpreter when there is load."""

    name = "Python"

    def _start(self) -> None:
        path = self.folder / "counts"
        path.write_bytes(bytes(8 * N_SHARED))
        self._shared = np.memmap(path, np.int64, "r", shape=(N_SHARED,))
        self._run(
            "firmware.bench.service.python_loop", "--pcm", PCM, "--channels", str(self.setting.n_channels),
            "--frames", str(self.setting.n_frames), "--periods", str(self.setting.n_periods),
            "--priority", str(AUDIO_PRIORITY), "--counts", str(path), *["--is-loaded"] * self.setting.has_load,
        )  # fmt: skip

    @property
    def is_realtime(self) -> bool:
        """Whether the audio thread has its priority."""
        return bool(self._shared[IS_REALTIME])

    def _counts_at(self, card_frames: int) -> Counts:
        now = np.array(self._shared)
        return Counts(
            card_frames=card_frames, periods=int(now[PERIODS]), xruns=int(now[XRUNS]), card_losses=0,
            audio_cpu_ns=self._audio_cpu_ns(), wake_us=now[WAKE : WAKE + N_BUCKETS],
            service_us=now[SERVICE : SERVICE + N_BUCKETS],
        )  # fmt: skip


@contextmanager
def fed(card: VirtualCard) -> Iterator[None]:
    """Keep a card's tape full of noise."""
    noise = (0.1 * np.random.default_rng(1).uniform(-1, 1, (RATE_HZ, card.n_capture))).astype(np.float32)
    is_over = threading.Event()

    def feed() -> None:
        at = 0
        while not is_over.wait(FEED_S):
            at = (at + card.feed(noise[at:])) % len(noise)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def end(process: subprocess.Popen[str]) -> None:
    """End a process, kindly first."""
    process.terminate()
    try:
        process.communicate(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def last_words(process: subprocess.Popen[str]) -> str:
    """Return the last line that a process said before it ended."""
    lines = process.communicate()[1].strip().splitlines()
    return lines[-1] if lines else "nothing"


def board_with(path: Path, **changes: int) -> Path:
    """Write the board of a box without a sound card with some of its numbers changed, and return the file."""
    lines = load_board(BOARD).path.read_text().splitlines()
    for key, value in changes.items():
        lines = [f"{key} = {value}" if line.split("=")[0].strip() == key else line for line in lines]
    path.write_text("\n".join(lines) + "\n")
    return path


def start_process(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start a process of this bench that ends with it."""
    command = [sys.executable, "-m", *arguments, "--parent", str(os.getpid())]
    return subprocess.Popen(
        command, env={**os.environ, **CALM_MATHS}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
