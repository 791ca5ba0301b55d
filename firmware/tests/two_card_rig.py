"""A live box with two virtual cards, each with a clock of its own.

Both cards move by hand, and so does the clock by which the engine's threads take the time: hours of drift depend on no
wall clock, and a run repeats bit for bit.
"""

from __future__ import annotations

import dataclasses
import functools
import mmap
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.control.control import Control
from firmware.control.mixer_state import Mode
from firmware.errors import EvenhandError
from firmware.mixer_setup import write_setup
from firmware.observation import ChannelSetup
from firmware.segment import Segment
from firmware.system.alsa_config import write_alsa_config
from firmware.system.virtual_card import REST_TIMEOUT_S, Direction, VirtualCard
from firmware.tests.harnesses import HARNESS_DIR
from firmware.tests.live_rig import PATIENCE_S, PCM, LiveRig, started

SECOND, SECOND_PCM = "second", "evenhand_second"
RATE_HZ = 48000
EPOCH_NS = 10**12  # of the simulated clock: 0 would be "not known"
FEED_FRAMES = 8192


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="evenhand-clock-")


@functools.cache
def _clock_library() -> Path:
    out = Path(_scratch().name) / "simulated_clock.so"
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, str(HARNESS_DIR / "simulated_clock.c"), "-o", str(out)], check=True)
    return out


class TwoCardRig(LiveRig):
    """``LiveRig`` with a second card. A context manager.

    Parameters
    ----------
    main, second
        Names of the strips; each takes the next input of its card. The main card's come first.
    outputs
        ``{"main": ["aux_1", ...], "second": [...]}``: what each card's playback channels carry, in order.
    main_ppm, second_ppm
        How much faster than the simulated clock each card runs.
    late_s
        Drawn for each wake-up: how late the thread takes the time.
    second_card
        More arguments of the second card.
    is_simulated
        False leaves the engine the machine's own clock; then only the cards can be moved by hand.
    """

    def __init__(
        self,
        *,
        main: Sequence[str],
        second: Sequence[str],
        outputs: Mapping[str, Sequence[str]],
        main_ppm: float = 0.0,
        second_ppm: float = 0.0,
        late_s: Callable[[], float] = lambda: 0.0,
        second_card: dict[str, Any] | None = None,
        is_simulated: bool = True,
        **rig: Any,
    ) -> None:
        channels = [ChannelSetup(name=name, role="speech") for name in (*main, *second)]
        super().__init__(channels, n_outputs=len(outputs["main"]), card={"n_capture": len(main)}, **rig)
        strips = [
            strip if n < len(main) else dataclasses.replace(strip, card=SECOND, card_channels=(n - len(main),))
            for n, strip in enumerate(self.setup.strips)
        ]
        self.setup = dataclasses.replace(self.setup, n_card_inputs=len(main), strips=tuple(strips))
        write_setup(self.setup, self.folder / "mixer.json")
        with self.board.open("a") as board:
            board.write(_second_card(len(second), outputs))
        settings: dict[str, Any] = {"n_capture": len(second), "n_playback": len(outputs[SECOND]), "clock": "manual"}
        settings |= second_card or {}
        self.second = self._stack.enter_context(VirtualCard(self.folder / "second_card", **settings))
        write_alsa_config(self.folder, {PCM: self.folder / "card", SECOND_PCM: self.folder / "second_card"})
        self._options += ["--secondary-pcm", SECOND_PCM]
        self.second_played: list[NDArray[np.int32]] = []
        if is_simulated:
            self._open_clock()
        self._late_s = late_s
        self._period_s = [self.period_frames / RATE_HZ / (1 + ppm * 1e-6) for ppm in (main_ppm, second_ppm)]
        self._edge_s = [0.0, 0.0]
        self.stalled_periods = [0, 0]  # of main and second: how many of the next periods their threads sleep through
        self._behind = [0, 0]
        self.rest_timeout_s = REST_TIMEOUT_S
        # What the cards hear: from which frame on and how many, as (n_frames, n_channels).
        self.tapes: list[Callable[[int, int], NDArray[np.float32]]] = [_silence(len(main)), _silence(len(second))]
        self._n_fed = [0, 0]

    def _open_clock(self) -> None:
        path = self.folder / "clock"
        path.write_bytes(EPOCH_NS.to_bytes(8, "little"))
        file = self._stack.enter_context(path.open("r+b"))
        self._clock = memoryview(self._stack.enter_context(mmap.mmap(file.fileno(), 8))).cast("Q")
        self._stack.callback(self._clock.release)
        self.environment |= {"EVENHAND_SIMULATED_CLOCK": str(path), "LD_PRELOAD": str(_clock_library())}

    # ------------------------------------------------------------------------------------------------- two clocks

    def run_both(self, seconds: float, *, is_main_there: bool = True, is_second_there: bool = True) -> None:
        """Let both cards run; each thread takes its periods when they come, and the other's come in between."""
        is_there = (is_main_there, is_second_there)
        until_s = min(self._edge_s) + seconds
        while min(self._edge_s) < until_s:
            which = int(self._edge_s[1] < self._edge_s[0])
            self._edge_s[which] += self._period_s[which]
            self._behind[which] += 1
            if not is_there[which]:
                self._behind[which] = 0
            elif self.stalled_periods[which] > 0:
                self.stalled_periods[which] -= 1
            else:
                self._wake(which, self._edge_s[which] + self._late_s())

    def _wake(self, which: int, time_s: float) -> None:
        card, n_frames = (self.card, self.second)[which], self.period_frames * self._behind[which]
        self._behind[which] = 0
        if card.n_capture and card.frame + n_frames > self._n_fed[which]:
            self._n_fed[which] += card.feed(self.tapes[which](self._n_fed[which], FEED_FRAMES))
            self.take()
        self._clock[0] = EPOCH_NS + round(time_s * 1e9)
        directions = [Direction.CAPTURE] if card.n_capture else [Direction.PLAYBACK]
        assert (
            card.run(n_frames, step_frames=n_frames, directions=directions, timeout_s=self.rest_timeout_s) == n_frames
        )

    def stop_both(self, segment: Segment) -> int:
        """End the engine politely while both cards run on, and return its status."""
        assert self.engine is not None
        self.engine.terminate()
        self.rest_timeout_s, is_main_there = 0.2, True
        until_s = time.monotonic() + PATIENCE_S
        while self.engine.poll() is None and time.monotonic() < until_s:
            try:
                self.run_both(0.01, is_main_there=is_main_there)
            except EvenhandError:  # the audio thread, which has ended, rests no more
                is_main_there = segment.status().state != "stopped"
        return self.engine.wait(1.0)

    def take(self) -> None:
        """Keep what was played on both cards."""
        super().take()
        self.second_played += [block.copy() for _, block in self.second.take(everything=True)]

    def all_played_on_second(self) -> NDArray[np.int32]:
        """Return what the second card played so far, ``(n_frames, n_playback)``, from its frame 0 on."""
        self.take()
        return np.concatenate(self.second_played) if self.second_played else np.zeros((0, 1), np.int32)


def _silence(n_channels: int) -> Callable[[int, int], NDArray[np.float32]]:
    return lambda start, n_frames: np.zeros((n_frames, n_channels), np.float32)


@contextmanager
def both_started(rig: TwoCardRig, control: Control) -> Iterator[Segment]:
    """Start the engine and wait until both cards run."""
    with started(rig, control) as lockstep:
        direction = Direction.CAPTURE if rig.second.n_capture else Direction.PLAYBACK
        assert rig.second.wait_for_start(directions=[direction])
        yield lockstep.segment


def _second_card(n_capture: int, outputs: Mapping[str, Sequence[str]]) -> str:
    lines = ["[[card]]", f'key = "{SECOND}"', 'pcm = "hw:CARD=NotHere"', 'role = "secondary"']
    lines += [f"n_capture = {n_capture}", f"n_playback = {len(outputs[SECOND])}"]
    for card, names in (("virtual", outputs["main"]), (SECOND, outputs[SECOND])):
        for channel, name in enumerate(names, start=1):
            lines += ["[[output]]", f'card = "{card}"', f'name = "{name}"', f"channel = {channel}"]
    return "\n".join(["", *lines, ""])


def sends_only(names: Sequence[str], sends: Mapping[int, int]) -> Control:
    """Return a control that moves nothing; strip ``s`` is heard on aux ``sends[s]`` alone, both from 0."""
    channels = [ChannelSetup(name=name, role="speech") for name in names]
    control = Control(channels, sample_rate_hz=float(RATE_HZ), amount_percent=0.0)
    control.state.mode[:] = Mode.MANUAL
    control.state.values[:] = control.state.base
    control.state.n_changes += 1
    for strip, aux in sends.items():
        control.set_parameter("channel", strip, f"send.{aux + 1}.level_db", 0.0)
    return control


def tone(freq_hz: float, level_lin: float = 0.25) -> Callable[[int, int], NDArray[np.float32]]:
    """Return a tape with a tone on its one channel."""

    def block(start: int, n_frames: int) -> NDArray[np.float32]:
        phase = 2 * np.pi * freq_hz / RATE_HZ * np.arange(start, start + n_frames)
        return (level_lin * np.sin(phase)).astype(np.float32)[:, None]

    return block
