"""Plays a recording through the engine again, with every change of a parameter in its frame: the strips come back.

What the card lost never reached the live mixer, so the replay leaves it out too, and the strips are those of the
evening to the bit. What only the recorder lost is left out as well, and the strips find back within seconds. Where a
new engine went on behind a break, a new one goes on here. The mix that counts is the recorded one; the replayed one
tells how true the rest is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .control.mixer_state import MixerState
from .control.responses import MixGain
from .engine import RECORD, Engine
from .interrupt import heed
from .loudness_meter import LoudnessMeter
from .observation import TICK_MS, ChannelSetup, Loudness
from .parameter_track import read_track
from .recorder.read_back import Break, Piece, RecordingReader
from .report import Collector

PIECE_TICKS = 25  # half a second is read and mixed at a time
LAST_BIT_LIN = 2.0**-23  # the recorder drops what lies under it

Progress = Callable[[float], None]


class ParameterFollower:
    """The snapshots of a track, as time comes to them."""

    def __init__(self, track: Path) -> None:
        self._records = read_track(track)
        self._next: tuple[int, NDArray[np.void]] | None = next(self._records, None)

    def due(self, frame: int) -> NDArray[np.void] | None:
        """Return the newest snapshot up to ``frame`` that was not returned before."""
        newest = None
        while self._next is not None and self._next[0] <= frame:
            newest = self._next[1]
            self._next = next(self._records, None)
        return newest


class Replay:
    """One recording, played again for ``collector``."""

    def __init__(
        self, recording: RecordingReader, channels: list[ChannelSetup], track: Path, collector: Collector
    ) -> None:
        self._recording, self._channels, self._collector = recording, channels, collector
        self._rate_hz = recording.sample_rate_hz
        self._tick_frames = self._rate_hz * TICK_MS // 1000
        self._parameters = ParameterFollower(track)
        self._state = MixerState()
        self._mix_gain = MixGain(self._state, len(channels))
        self._meter = LoudnessMeter(self._rate_hz)
        self._frame = recording.first_frame  # the engine's number of the next one
        self._next_tick = self._tick_frames  # where in the recording the collector looks next
        self._recorded_power = self._error_power = self._worst_error_lin = 0.0
        self._stack = ExitStack()

    def run(self, on_progress: Progress) -> None:
        """Play everything."""
        with self._stack:
            self._engine = self._new_engine()
            for piece in self._recording.pieces(PIECE_TICKS * self._tick_frames):
                if piece.after:
                    self._pass(piece.after)
                if not len(piece.mix):
                    continue
                strips = self._mix(piece) if piece.is_sound else self._let_pass(piece)
                self._collector.hear(piece.inputs, strips, piece.mix)
                heed()
                on_progress((piece.position_frames + len(piece.mix)) / self._recording.n_frames)

    @property
    def loudness(self) -> Loudness:
        """Reading of the recorded mix so far."""
        return self._meter.read()

    @property
    def params(self) -> NDArray[np.void]:
        """Where the parameters stand."""
        return self._state.params

    @property
    def error_db(self) -> float:
        """Power of what tells the replayed mix from the recorded one, beside that one's; -inf if it is nothing."""
        if self._worst_error_lin < LAST_BIT_LIN:
            return -math.inf
        return 10.0 * math.log10(self._error_power / max(self._recorded_power, 1e-20))

    def _new_engine(self) -> Engine:
        engine = self._stack.enter_context(
            Engine(sample_rate_hz=self._rate_hz, channels=self._channels, keep_channels=True)
        )
        self._take_parameters()
        engine.publish(self._state.params)
        return engine

    def _take_parameters(self) -> bool:
        params = self._parameters.due(self._frame)
        if params is None:
            return False
        self._state.values[:] = params.reshape(1).view(np.float32)
        return True

    def _pass(self, at: Break) -> None:
        """Go on behind a break as the live engine did."""
        self._frame = at.frame
        if at.has_new_engine:
            self._stack.close()
            self._engine = self._new_engine()

    def _mix(self, piece: Piece) -> NDArray[np.float32]:
        strips = np.empty((len(piece.inputs), 2 * len(self._channels)), np.float32)
        for start, end in self._steps(piece):
            mixed = self._process(piece.inputs[start:end])
            assert self._engine.channel_output is not None
            strips[start:end] = self._engine.channel_output
            recorded = piece.mix[start:end]
            self._meter.hear(recorded)
            self._compare(recorded, mixed)
            self._look(piece.position_frames + end)
        return strips

    def _let_pass(self, piece: Piece) -> NDArray[np.float32]:
        self._meter.hear(piece.mix)
        while self._next_tick <= piece.position_frames + len(piece.mix):
            self._collector.miss()
            self._next_tick += self._tick_frames
        return np.zeros((len(piece.mix), 2 * len(self._channels)), np.float32)

    def _steps(self, piece: Piece) -> Iterator[tuple[int, int]]:
        """Yield parts of a piece that end with the engine's ticks, between which it got its snapshots."""
        start = 0
        while start < len(piece.inputs):
            end = min(start + self._tick_frames - self._frame % self._tick_frames, len(piece.inputs))
            yield start, end
            start = end

    def _process(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._take_parameters():
            self._engine.publish(self._state.params)
        mixed = self._engine.process(inputs)[:, RECORD]
        self._frame += len(inputs)
        return mixed

    def _look(self, position_frames: int) -> None:
        if self._next_tick > position_frames:
            return
        observation = replace(self._engine.observe(position_frames / self._rate_hz), loudness=self._meter.read())
        while self._next_tick <= position_frames:
            self._collector.see(observation, self._state.params, self._mix_gain.read())
            self._next_tick += self._tick_frames

    def _compare(self, recorded: NDArray[np.float32], mixed: NDArray[np.float32]) -> None:
        error = recorded.astype(np.float64) - np.clip(mixed, -1.0, 1.0)
        self._error_power += float(np.sum(error**2))
        self._recorded_power += float(np.sum(recorded.astype(np.float64) ** 2))
        self._worst_error_lin = max(self._worst_error_lin, float(np.abs(error).max(initial=0.0)))
