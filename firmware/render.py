"""Renders a session: the engine and the control of the live box in step over files, offline and repeatable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .atomic import Outputs
from .control.control import Control
from .control.scenes import read_scene
from .engine import RECORD, Engine
from .inference.inline import inline_of
from .interrupt import heed
from .model_story import ModelStory
from .observation import TICK_MS, Observation
from .render_job import RenderJob, channel_file_name, refuse_outputs
from .report import Collector, Fact, write_page
from .session_reader import SessionReader
from .sessions import Session, open_session
from .wav_writer import WavWriter, cannot_write

TICKS_PER_BLOCK = 25  # half a second is read, mixed and written at a time
MASKING_TICKS = 10  # masking is judged over a second: five times in it are enough

Progress = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class RenderResult:
    """What a render reports, in the words of ``--json``; ``notes`` is for people."""

    duration_s: float
    sample_rate_hz: int
    realtime_factor: float
    integrated_lufs: float
    loudness_range_lu: float
    true_peak_dbtp: float
    model: str
    channels: list[dict[str, Any]]
    story: dict[str, Any] | None  # what a model took the music for; None without one
    notes: list[str]

    def as_record(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        record = asdict(self)
        del record["notes"]
        if self.story is None:
            del record["story"]
        return record


def render(job: RenderJob, on_progress: Progress = lambda _: None) -> RenderResult:
    """Mix ``job.session`` into ``job.out``; outputs appear only when all of them are complete.

    Raises
    ------
    EvenhandError
        When the job cannot be done as it stands; then no output has changed.
    """
    began_s = time.perf_counter()
    session = open_session(job.session)
    refuse_outputs(job, session)
    with Outputs() as outputs:
        mix = _Mix(job, session, outputs)
        mix.run(on_progress)
        result = mix.result(time.perf_counter() - began_s)
        mix.write_report(result)
        outputs.commit()
    return result


class _Mix:
    """One render under way."""

    def __init__(self, job: RenderJob, session: Session, outputs: Outputs) -> None:
        self._job = job
        self._session = session
        self._outputs = outputs
        self._rate_hz = session.sample_rate_hz
        self._mix_part = outputs.stage(job.out)
        self._report_part = outputs.stage(job.report) if job.report else None
        self._collector: Collector | None = None
        if job.report:
            self._collector = Collector(session.channels, session.n_frames, self._rate_hz, TICK_MS / 1000)
        self._control = Control(
            session.channels,
            sample_rate_hz=self._rate_hz,
            target_lufs=job.target_lufs,
            automix=job.automix,
            scene=read_scene(job.scene) if job.scene else None,
            amount_percent=job.amount_percent,
            style=job.style,
        )
        is_stereo = [channel.is_stereo for channel in session.channels]
        self._model, note = inline_of(job.model, job.model_keys, is_stereo)
        self._story = ModelStory() if self._model else None
        self._params: NDArray[np.void] | None = None
        self._mix_gain: NDArray[np.floating] | None = None
        self._observation: Observation | None = None
        self._decision_file: _TextOut | None = None
        self._n_told = 0
        self._n_handed_down = 0
        self._n_mixed = 0
        self._notes: list[str] = [note] if note else []
        if job.style != "natural" and self._model is None:
            self._notes.append(f"--style {job.style} asks a model, and none decided: the rules have one style")

    def run(self, on_progress: Progress) -> None:
        """Decode, mix, decide and write, a block at a time."""
        keeps_channels = self._job.channels_out is not None or self._collector is not None
        with ExitStack() as stack:
            engine = stack.enter_context(
                Engine(sample_rate_hz=self._rate_hz, channels=self._session.channels, keep_channels=keeps_channels)
            )
            reader = stack.enter_context(SessionReader(self._session))
            mix_file = stack.enter_context(self._wav(self._mix_part, self._job.out))
            channel_files = self._channel_files(stack)
            self._open_decisions(stack)
            self._hand_down(engine, self._control.snapshot())
            n_to_skip = engine.latency_frames  # so that the mix lines up with the session
            for block in reader.blocks(TICKS_PER_BLOCK * self._tick_frames):
                mixed, strips = self._mix_block(engine, block)
                mix_file.write(mixed[n_to_skip:])
                n_to_skip = max(0, n_to_skip - len(mixed))
                for index, file in enumerate(channel_files):
                    file.write(strips[:, 2 * index : 2 * index + 2])
                if self._collector:
                    self._collector.hear(block, strips, mixed)
                self._tell_decisions()
                heed()
                on_progress(self._n_mixed / self._session.n_frames)
            mix_file.write(self._last_frames(engine)[n_to_skip:])
            self._control.finish()
            self._tell_decisions()
            self._note_losses(reader, channel_files)

    def result(self, elapsed_s: float) -> RenderResult:
        """Return the figures of a finished run."""
        assert self._observation is not None
        loudness = self._observation.loudness
        return RenderResult(
            duration_s=round(self._session.duration_s, 6),
            sample_rate_hz=self._rate_hz,
            realtime_factor=round(self._session.duration_s / elapsed_s, 2),
            integrated_lufs=round(loudness.integrated_lufs, 2),
            loudness_range_lu=round(loudness.loudness_range_lu, 2),
            true_peak_dbtp=round(loudness.true_peak_dbtp, 2),
            model=self._model.model if self._model else "none",
            channels=self._channel_records(),
            story=self._story.as_record(self._control.learned) if self._story else None,
            notes=self._notes,
        )

    def write_report(self, result: RenderResult) -> None:
        """Draw the report, when one is wanted."""
        if self._report_part is None or self._collector is None or self._job.report is None:
            return
        try:
            write_page(
                self._report_part,
                collected=self._collector,
                record=result.as_record(),
                decisions=[d.as_record() for d in self._control.decisions],
                target_lufs=self._job.target_lufs,
                title=self._session.name,
                notes=result.notes,
                story=result.story,
                facts=[Fact(name="Speed", figure=f"{result.realtime_factor:.0f}", unit="× real time")],
            )
        except OSError as error:
            raise cannot_write(self._job.report, error) from None

    @property
    def _tick_frames(self) -> int:
        return self._rate_hz * TICK_MS // 1000

    def _wav(self, part: Path, target: Path) -> WavWriter:
        return WavWriter(part, target, sample_rate_hz=self._rate_hz, n_channels=2, n_frames=self._session.n_frames)

    def _channel_files(self, stack: ExitStack) -> list[WavWriter]:
        folder = self._job.channels_out
        if folder is None:
            return []
        self._outputs.make_folder(folder)
        targets = [folder / channel_file_name(i, s.name) for i, s in enumerate(self._session.strips)]
        return [stack.enter_context(self._wav(self._outputs.stage(target), target)) for target in targets]

    def _open_decisions(self, stack: ExitStack) -> None:
        target = self._job.decisions
        if target is not None:
            self._decision_file = stack.enter_context(_TextOut(self._outputs.stage(target), target))

    def _tell_decisions(self) -> None:
        """Append what was decided since the last call: the log forgets the oldest of a long job."""
        if self._decision_file is None:
            return
        for decision in self._control.decisions:
            if decision.id >= self._n_told:
                self._decision_file.write(json.dumps(decision.as_record(), allow_nan=False) + "\n")
                self._n_told = decision.id + 1

    def _mix_block(self, engine: Engine, block: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the record bus ``(n, 2)`` and the strips behind their faders ``(n, 2 * n_channels)``."""
        mixed = np.empty((len(block), 2), np.float32)
        strips = np.empty((len(block), 2 * len(self._session.strips)), np.float32)
        for start in range(0, len(block), self._tick_frames):
            here = slice(start, start + self._tick_frames)
            mixed[here] = engine.process(block[here])[:, RECORD]
            if engine.channel_output is not None:
                strips[here] = engine.channel_output
            self._n_mixed += len(block[here])
            if len(block[here]) == self._tick_frames:
                self._tick(engine)
        return mixed, strips

    def _tick(self, engine: Engine) -> None:
        observation = engine.observe(self._n_mixed / self._rate_hz)
        answer = self._model.take() if self._model else None
        self._hand_down(engine, self._control.tick(observation, answer))
        if self._model and self._story:
            self._model.ask(self._control.question(observation))
            self._story.see(observation.time_s, self._control.learned)
        if self._collector and self._params is not None and self._mix_gain is not None:
            self._collector.see(observation, self._params, self._mix_gain)

    def _hand_down(self, engine: Engine, params: NDArray[np.void] | None) -> None:
        """Give the engine what changed; the gain table is another object only when something in it moved."""
        if params is not None:
            engine.publish(params)
            self._params = params
        if self._n_handed_down % MASKING_TICKS == 0:
            mix_gain = self._control.mix_gain_bark()
            if mix_gain is not self._mix_gain:
                engine.set_mix_gain_bark(mix_gain)
                self._mix_gain = mix_gain
        self._n_handed_down += 1

    def _last_frames(self, engine: Engine) -> NDArray[np.float32]:
        """Return what the limiter still holds, and take the last reading of its meter."""
        silence = np.zeros((engine.latency_frames, engine.n_input_lanes), np.float32)
        last = engine.process(silence)[:, RECORD]
        self._observation = engine.observe(self._n_mixed / self._rate_hz)
        return last

    def _channel_records(self) -> list[dict[str, Any]]:
        assert self._observation is not None
        records = [summary.as_record() for summary in self._control.channel_summaries()]
        for record, meters in zip(records, self._observation.channel_meters, strict=True):
            if meters["n_scrubbed"] > 0:
                record["reasons"].append(
                    f"silenced {int(meters['n_scrubbed'])} samples that were no numbers (NaN or Inf)"
                )
        return records

    def _note_losses(self, reader: SessionReader, channel_files: list[WavWriter]) -> None:
        assert self._observation is not None
        n_scrubbed = reader.n_scrubbed + int(self._observation.channel_meters["n_scrubbed"].sum())
        if n_scrubbed:
            self._notes.append(f"{n_scrubbed} samples of the session were no numbers (NaN or Inf) and were silenced")
        for strip, file in zip(self._session.strips, channel_files, strict=False):
            if file.n_clipped:
                self._notes.append(f"{strip.name}: {file.n_clipped} samples of its channel file passed full scale")


class _TextOut:
    """A text file whose refusals name ``target``. A context manager."""

    def __init__(self, part: Path, target: Path) -> None:
        self._target = target
        self._file: IO[str] = part.open("w", encoding="utf-8", errors="backslashreplace")

    def __enter__(self) -> _TextOut:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            if kind is None:
                raise cannot_write(self._target, error) from None

    def write(self, text: str) -> int:
        """Append ``text``."""
        try:
            return self._file.write(text)
        except OSError as error:
            raise cannot_write(self._target, error) from None
