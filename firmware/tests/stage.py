"""An evening in miniature: engine, control, recorder and parameter track, all real, in the hands of a test."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware.control.control import Control
from firmware.engine import Engine
from firmware.live_report import DECISIONS, TRACK, keep_run
from firmware.mixer_setup import MixerSetup, setup_of_session
from firmware.observation import ChannelSetup
from firmware.parameter_track import ParameterTrack
from firmware.recorder.recorder import Recorder, Settings
from firmware.tests import record_rig as rig

RATE_HZ, TICK = 48000, 960
CHANNELS = [
    ChannelSetup(name="Host", role="speech"),
    ChannelSetup(name="Kick", role="kick"),
    ChannelSetup(name="Music", role="playback", is_stereo=True),
]
N_LANES = 4
STARTED = datetime(2026, 3, 4, 21, 30, 5)


def noise_bursts(n_frames: int, seed: int = 1) -> NDArray[np.float32]:
    """Return bursts on a 16-bit grid, another rhythm on each lane: something to decide about."""
    random = np.random.default_rng(seed)
    time_s = np.arange(n_frames)[:, None] / RATE_HZ
    is_on = np.sin(2 * np.pi * time_s * (0.7 + 0.3 * np.arange(N_LANES))) > 0
    sound = random.standard_normal((n_frames, N_LANES)) * 0.05 * is_on * np.linspace(0.4, 1.5, N_LANES)
    return (np.round(np.clip(sound, -1, 1) * 32767) / 32768).astype(np.float32)


class Stage:
    """A recording under way; ``close`` completes it. Inputs are played tick by tick, and control decides in step."""

    def __init__(self, folder: Path, *, n_ring_frames: int = 0, records_at_once: bool = True) -> None:
        self.folder, self.time_s, self._n_ring_frames = folder, 100.0, n_ring_frames
        self.setup: MixerSetup = setup_of_session(
            [(c.name, c.role, c.is_stereo) for c in CHANNELS], sample_rate_hz=RATE_HZ, n_card_outputs=12
        )
        self.control = Control(CHANNELS, sample_rate_hz=float(RATE_HZ))
        self.frame = 0  # of the mixer, as the track counts
        self.strips: dict[int, NDArray[np.float32]] = {}  # what the strips played, by the frame that a tick began with
        self._stack = ExitStack()
        self._track = self._stack.enter_context(ParameterTrack(folder / TRACK))
        (folder / "recordings").mkdir()
        settings = Settings(ring=folder / "ring", root=folder / "recordings", title="Friday", reserve_bytes=0)
        self._source, self._engine = self._new_engine()
        self._recorder = Recorder(
            rig.native(), settings, say=lambda _: None, now=lambda: STARTED, monotonic_s=lambda: self.time_s
        )
        if records_at_once:
            self._recorder.step()
        self._track.write(0, self.control.state.snapshot())

    def play(self, audio: NDArray[np.float32], *, is_recorded: bool = True) -> None:
        """Play whole ticks; with ``is_recorded`` False the recorder does not get to take them."""
        for start in range(0, len(audio), TICK):
            block = audio[start : start + TICK]
            out = self._engine.process(block)
            self._source.put_floats(block, out)
            assert self._engine.channel_output is not None
            self.strips[self.frame] = self._engine.channel_output
            self.frame += len(block)
            self.time_s += len(block) / RATE_HZ
            self._decide()
            if is_recorded:
                self._recorder.step()

    def lose(self, n_frames: int, cause: int = 2) -> None:
        """Let the card lose frames: the mixer never sees them."""
        self._source.gap(n_frames, cause)

    def kill_engine(self, after_frames: int) -> None:
        """Start another engine in place of this one; its count goes on as the clock says."""
        self._recorder.step()
        self._source.owner.close()
        self.time_s += after_frames / RATE_HZ
        self.frame += after_frames
        self._source, self._engine = self._new_engine()
        self._recorder.step()

    def close(self) -> Path:
        """End the recording as a run does, and return its folder."""
        self._recorder.__exit__(None, None, None)
        self._source.owner.close()
        self._stack.close()
        (recording,) = (self.folder / "recordings").iterdir()
        (recording / TRACK).write_bytes((self.folder / TRACK).read_bytes())
        lines = [json.dumps(d.as_record()) + "\n" for d in self.control.decisions]
        (recording / DECISIONS).write_text("".join(lines))
        keep_run(recording, record=self.record(), setup=self.setup, target_lufs=-16.0)
        return recording

    def record(self) -> dict[str, object]:
        """Return what ``run --json`` prints, as far as it matters here."""
        channels = [c.as_record() for c in self.control.channel_summaries()]
        return {"round_trip_frames": 176, "control_restarts": 0, "model": "none", "channels": channels}

    def _new_engine(self) -> tuple[rig.Source, Engine]:
        source = rig.Source(
            self.folder / "ring", n_lanes=N_LANES, n_ring_frames=self._n_ring_frames, first_frame=self.frame
        )
        engine = self._stack.enter_context(Engine(sample_rate_hz=RATE_HZ, channels=CHANNELS, keep_channels=True))
        engine.publish(self.control.state.snapshot())
        engine.set_mix_gain_bark(self.control.mix_gain_bark())
        return source, engine

    def _decide(self) -> None:
        params = self.control.tick(self._engine.observe(self.frame / RATE_HZ))
        if params is not None:
            self._engine.publish(params)
            self._track.write(self.frame, params)
