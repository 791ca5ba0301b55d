"""A live box in lockstep: the real engine process on a virtual card whose clock this rig moves. No wall clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from board_configs.board import load_board
from firmware.control.control import Control
from firmware.mixer_setup import MixerSetup, setup_of_session, write_setup
from firmware.observation import ChannelSetup, Observation
from firmware.segment import Segment, SegmentAbsentError
from firmware.system.alsa_config import write_alsa_config
from firmware.system.virtual_card import VirtualCard

PCM = "evenhand_test"
PATIENCE_S = 30.0  # far more than a loaded machine needs; what fails, fails sooner by itself
LONG_TIMEOUT_MS = 600_000  # a card that stands still because the rig does other things is not gone
BOARD = "sim"


def wait_for(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Return what ``condition`` returns once it is true; fail with ``what`` when it never is."""
    until_s = time.monotonic() + patience_s
    while time.monotonic() < until_s:
        if result := condition():
            return result
        time.sleep(0.0005)
    raise AssertionError(f"waited {patience_s:.0f} s in vain: {what}")


class LiveRig:
    """Card, engine process and segment. A context manager.

    Parameters
    ----------
    channels
        The strips; each takes the next inputs of the card.
    period_frames
        Of the board file that is written for the run; None keeps that of ``sim``.
    card
        More arguments of the virtual card.
    """

    def __init__(
        self,
        channels: Sequence[ChannelSetup],
        *,
        sample_rate_hz: int = 48000,
        clock: str = "manual",
        n_outputs: int = 12,
        board_changes: dict[str, str] | None = None,
        engine_options: Sequence[str] = (),
        card_timeout_ms: int = LONG_TIMEOUT_MS,
        records: bool = False,
        card: dict[str, Any] | None = None,
    ) -> None:
        self.channels = list(channels)
        self.setup: MixerSetup = setup_of_session(
            [(c.name, c.role, c.is_stereo) for c in channels], sample_rate_hz=sample_rate_hz, n_card_outputs=n_outputs
        )
        self.folder = Path(tempfile.mkdtemp(prefix="evenhand-test-", dir="/dev/shm"))
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.segment_path, self.ring_path = self.folder / "segment", self.folder / "record.ring"
        self.board = _board_file(self.folder, board_changes or {})
        self.period_frames = load_board(self.board).audio.period_frames
        self._options = [*engine_options, "--card-timeout-ms", str(card_timeout_ms)]
        self._options += ["--record-ring", str(self.ring_path)] if records else []
        settings: dict[str, Any] = {"n_capture": self.setup.n_card_inputs, "n_playback": n_outputs, "clock": clock}
        settings |= {"sample_rate_hz": sample_rate_hz, **(card or {})}
        self.card = self._stack.enter_context(VirtualCard(self.folder / "card", **settings))
        config = write_alsa_config(self.folder, {PCM: self.folder / "card"})
        self.environment = {**os.environ, "ALSA_CONFIG_PATH": str(config)}
        self.engine: subprocess.Popen[str] | None = None
        self._children: list[subprocess.Popen[str]] = []
        self.played: list[NDArray[np.int32]] = []
        write_setup(self.setup, self.folder / "mixer.json")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
                child.communicate()
        self._stack.close()

    # ---------------------------------------------------------------------------------------------- processes

    def start_engine(self) -> subprocess.Popen[str]:
        """Start the engine process; its reasons go to ``engine.stderr``."""
        common = ("--mixer", str(self.folder / "mixer.json"), "--segment", str(self.segment_path))
        self.engine = self.start("firmware.engine_process", "--board", str(self.board), "--pcm", PCM, *common,
                                 *self._options)  # fmt: skip
        return self.engine

    def start_control(self, *options: str) -> subprocess.Popen[str]:
        """Start a control process of its own, without a model unless ``options`` name one."""
        return self.start("firmware.control_process", "--mixer", str(self.folder / "mixer.json"), "--segment",
                          str(self.segment_path), "--model", "none", *options)  # fmt: skip

    def start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a process of ours that ends with this rig, and with the test run, however that ends."""
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--parent", str(os.getpid())],
            env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._children.append(child)
        return child

    def stop_engine(self) -> int:
        """End the engine politely and return its status; the tape ends, a manual clock goes on meanwhile."""
        assert self.engine is not None
        self.card.end_tape()
        self.engine.terminate()
        until_s = time.monotonic() + PATIENCE_S
        while self.engine.poll() is None and time.monotonic() < until_s:
            self.card.advance(64)
            self.take()
            time.sleep(0.001)
        return self.engine.wait(1.0)

    def attach(self, *, is_control: bool = True) -> Segment:
        """Return a hold on the segment, once the engine has made it."""

        def tried() -> Segment | None:
            assert self.engine is None or self.engine.poll() is None, self.engine.communicate()[1]
            try:
                return Segment(self.segment_path, is_control=is_control)
            except SegmentAbsentError:
                return None

        segment = wait_for(tried, "no segment")
        self._stack.callback(segment.close)
        return segment

    # -------------------------------------------------------------------------------------------------- sound

    def take(self) -> None:
        """Keep what was played."""
        self.played += [block.copy() for _, block in self.card.take(everything=True)]

    def advance(self, n_frames: int) -> None:
        """Move the card's clock; the audio thread comes to rest after each period."""
        assert self.card.run(n_frames, step_frames=self.period_frames) == n_frames
        self.take()

    def all_played(self) -> NDArray[np.int32]:
        """Return everything played so far, ``(n_frames, n_outputs)``, from card frame 0 on."""
        self.take()
        return np.concatenate(self.played) if self.played else np.zeros((0, self.card.n_playback), np.int32)


class LockstepControl:
    """A control beside the rig: one tick for one observation, before the card moves on."""

    def __init__(self, segment: Segment, control: Control) -> None:
        self.segment, self.control = segment, control
        self.n_ticks, self.frame = 0, 0
        self.observations: list[Observation] = []
        self._mix_gain: object = None
        self._hand_down(control.snapshot())

    def tick(self, until_frame: int) -> None:
        """Wait for the observations up to ``until_frame``, decide, and hand down."""
        until_s = time.monotonic() + PATIENCE_S
        while self.frame < until_frame:
            assert time.monotonic() < until_s, f"no observation of frame {until_frame}; the last was {self.frame}"
            self.segment.wait(0.05)
            for frame, observation in self.segment.observations():
                self.n_ticks += 1
                self.frame = frame
                self.observations.append(observation)
                self._hand_down(self.control.tick(observation))
                self.segment.beat(frame)

    def _hand_down(self, params: NDArray[np.void] | None) -> None:
        if params is not None:
            self.segment.publish(params)
        if self.n_ticks % 10 == 0:
            mix_gain = self.control.mix_gain_bark()
            if mix_gain is not self._mix_gain:
                self.segment.set_mix_gain_bark(mix_gain)
                self._mix_gain = mix_gain


def play(rig: LiveRig, control: LockstepControl, audio: NDArray[np.float32], tick_frames: int) -> None:
    """Play ``audio`` (n_frames, n_lanes), whole ticks of it, into the card, tick by tick."""
    n_done = 0
    for start in range(0, len(audio) // tick_frames * tick_frames, tick_frames):
        block = audio[start : start + tick_frames]
        assert rig.card.feed(block) == len(block)
        rig.advance(len(block))
        n_done += len(block)
        n_served = n_done // rig.period_frames * rig.period_frames
        control.tick(n_served // tick_frames * tick_frames)


@contextmanager
def started(rig: LiveRig, control: Control) -> Iterator[LockstepControl]:
    """Start the engine with a control that has handed down its first snapshot, and wait for the audio thread."""
    rig.start_engine()
    segment = rig.attach()
    lockstep = LockstepControl(segment, control)
    wait_for(lambda: segment.status().state == "running", "the audio thread does not run")
    rig.card.wait_for_start()
    yield lockstep


def _board_file(folder: Path, changes: dict[str, str]) -> Path:
    """Return a copy of the sim board with lines changed: ``{"period_frames": "32"}``."""
    lines = load_board(BOARD).path.read_text().splitlines()
    for key, value in changes.items():
        lines = [f"{key} = {value}" if line.split("=")[0].strip() == key else line for line in lines]
    path = folder / "test_board.toml"
    path.write_text("\n".join(lines) + "\n")
    return path
