"""The real engine under the check: it clicks on every output, listens on one input, and counts its periods."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from board_configs.board import Board
from dsp_kernels.contract.layout import default_params

from .check_verdicts import Clicks
from .errors import EvenhandError
from .interrupt import entered
from .live_start import attached, refuse_failed_start, runtime_folder, wait_for_sound
from .mixer_setup import MAX_STRIPS, MixerSetup, setup_of_board, setup_of_session, write_setup
from .segment import LiveStatus
from .system.alsa_config import write_alsa_config
from .system.board_fit import board_pcm, is_simulated, refuse_foreign_machine
from .system.cores import refuse_missing_cores
from .system.process import deaf
from .system.supervisor import Child, Supervisor, python
from .system.virtual_card import VirtualCard

PCM = "evenhand_check"
SIM_CABLE = (0, 0)  # channels of the virtual card, from 0
MAX_LOOKS = 100


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Totals since the start; the difference of two is what happened between."""

    passed: int  # periods that the card went through
    served: int
    xruns: int
    wake_us: NDArray[np.int64]
    service_us: NDArray[np.int64]

    def __sub__(self, other: Self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})


class CheckBench:
    """A board's engine with a cable from an output to an input. A context manager: inside, it clicks.

    Parameters
    ----------
    board
        A simulated one gets a virtual card that keeps to the wall clock, with a cable between its first channels.
    cable
        Output and input of the card, both from 1.

    Raises
    ------
    EvenhandError
        When the board is not this machine, its card is not there, or the engine refuses to start.
    """

    def __init__(self, board: Board, *, cable: tuple[int, int]) -> None:
        self.board, self.cable = board, cable
        self.setup = _full_setup(board) if is_simulated(board) else setup_of_board(board)
        self._lane = _lane_of(board, self.setup, cable)
        self._stack = ExitStack()
        self._card: VirtualCard | None = None
        self._ways_frames: set[int] = set()
        self._n_heard = 0

    def __enter__(self) -> Self:
        try:
            refuse_foreign_machine(self.board)
            refuse_missing_cores(self.board)
            folder = runtime_folder(self._stack)
            write_setup(self.setup, folder / "mixer.json")
            pcm, environment = self._plug_in(folder)
            command = python(
                "firmware.engine_process", "--board", self.board.path, "--pcm", pcm, "--mixer", folder / "mixer.json",
                "--segment", folder / "segment", "--parent", os.getpid(),
            )  # fmt: skip
            self._supervisor = entered(self._stack, Supervisor([Child("engine", command, environment)]))
            self._segment = self._stack.enter_context(attached(self._supervisor, folder / "segment", is_control=True))
            self._segment.probe(self._lane)  # before any sound: a cable from the mix to a microphone would howl
            self._segment.publish(default_params())
            wait_for_sound(self._supervisor, self._segment)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with deaf():
            self._stack.close()

    def step(self, timeout_s: float) -> None:
        """Let time pass, and note the clicks that came back.

        Raises
        ------
        EvenhandError
            When the engine has ended, or the card has gone.
        """
        self._supervisor.step(timeout_s)
        refuse_failed_start(self._supervisor)
        status = self._segment.status()
        if status.state == "no_card":
            raise EvenhandError(f"the card went away during the check ({status.trouble or 'no answer'}); plug it in")
        heard = [way for way in self._segment.probed_ways_frames() if way is not None]
        self._ways_frames.update(heard)
        self._n_heard = max(self._n_heard, len(heard))

    @property
    def clicks(self) -> Clicks:
        """What came back so far."""
        return Clicks(n_heard=self._n_heard, ways_frames=frozenset(self._ways_frames))

    def status(self) -> LiveStatus:
        """Return what the engine says of itself."""
        return self._segment.status()

    def counts(self) -> Counts:
        """Return what has happened so far. What a virtual card and the engine say is of one period, if we are let."""
        period = self.board.audio.period_frames
        card_frame = 0
        for _ in range(MAX_LOOKS):
            card_frame = self._card.frame if self._card else 0
            status = self._segment.status()
            if self._card is None or self._card.frame - card_frame <= period:
                break
        counters = status.counters
        return Counts(
            # Counters of the engine know of silence that was mixed while there was no card, and of what xruns cost.
            passed=card_frame // period if self._card else counters["frames"] // period + counters["periods_lost"],
            served=counters["periods"],
            xruns=counters["xruns"],
            wake_us=status.wake_us.astype(np.int64),
            service_us=status.service_us.astype(np.int64),
        )

    def _plug_in(self, folder: Path) -> tuple[str, Mapping[str, str]]:
        """Return the ALSA name of the card, and what the engine's environment must say for it."""
        if not is_simulated(self.board):
            return board_pcm(self.board), {}
        settings: dict[str, Any] = {"n_capture": self.setup.n_card_inputs, "n_playback": self.setup.n_card_outputs}
        settings |= {"sample_rate_hz": self.setup.sample_rate_hz, "formats": self.board.audio.formats}
        self._card = self._stack.enter_context(
            VirtualCard(folder / "card", cable=[SIM_CABLE], tape=False, recorder=False, **settings)
        )
        return PCM, {"ALSA_CONFIG_PATH": str(write_alsa_config(folder, {PCM: self._card.path}))}


def _full_setup(board: Board) -> MixerSetup:
    """Return as many strips as the mixer, or the card, has: a check measures the most that may be asked."""
    n_strips = min(MAX_STRIPS, board.main_card.n_capture or MAX_STRIPS)
    strips: list[tuple[str, str | None, bool]] = [(f"In {number + 1}", None, False) for number in range(n_strips)]
    n_outputs = board.main_card.n_playback or 2
    return setup_of_session(strips, sample_rate_hz=board.audio.sample_rate_hz, n_card_outputs=n_outputs)


def _lane_of(board: Board, setup: MixerSetup, cable: tuple[int, int]) -> int:
    """Return the mixer's input that the cable ends in."""
    played, captured = cable
    outputs = sorted({spec.channel for spec in board.outputs})
    if played not in outputs:
        raise EvenhandError(f"--cable: {board.name} plays nothing on output {played}; it plays on {_listed(outputs)}")
    lanes = [channel + 1 for strip in setup.strips for channel in strip.card_channels]
    if captured not in lanes:
        raise EvenhandError(f"--cable: {board.name} has no strip on input {captured}; it has on {_listed(lanes)}")
    return lanes.index(captured)


def _listed(channels: list[int]) -> str:
    return ", ".join(map(str, sorted(channels)))
