"""Runs a whole box: engine, control and recorder as processes of their own, supervised and shown, until it is over."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from board_configs.board import Board

from .control.scenes import read_scene
from .errors import EvenhandError
from .inference.choice import DEFAULT_MODEL, NONE, SHIPPED_WORD
from .interrupt import entered, held
from .live_report import keep_run
from .live_start import START_S, attached, last_words, refuse_failed_start, runtime_folder, wait_for_sound
from .mixer_setup import setup_of_board, write_setup
from .segment import PUBLIC_NOTEBOOK, Segment, percentile_us
from .system.board_fit import board_pcm, is_simulated, refuse_foreign_machine
from .system.cores import refuse_missing_cores
from .system.process import deaf
from .system.sim_world import SimWorld
from .system.supervisor import Child, Supervisor, python
from .terminal_view import Picture

ENGINE_STALL_S, CONTROL_STALL_S = 1.0, 5.0  # without a heartbeat; then the process is replaced
SIM_TIMEOUT_MS = 3_000  # a simulated card's clock waits for a session that is read slowly
STEP_S = 0.05
DECISIONS, TRACK = "decisions.jsonl", "parameters.track"


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """What to run, and how."""

    board: Board
    session: Path | None = None
    seconds: float | None = None
    record: Path | None = None
    scene: Path | None = None
    state: Path | None = None
    automix: str | None = None
    target_lufs: float = -16.0
    amount_percent: float = 100.0
    waits_for_card: bool = False
    model: str = DEFAULT_MODEL  # a bundle, "shipped" or "none"
    model_keys: tuple[Path, ...] = ()
    style: str = "natural"
    priority: int = 80


class LiveRun:
    """A box from start to end. A context manager: leaving it ends every process and removes what it left in memory.

    ``on_line`` is given what the processes say, a line each.

    Raises
    ------
    EvenhandError
        When a process refuses to start; with that process's own words.
    """

    def __init__(self, job: RunJob, on_line: Callable[[str], None] = lambda _: None) -> None:
        self._job, self._on_line = job, on_line
        self._stack = ExitStack()
        self._lines: deque[str] = deque(maxlen=50)
        self._ended: dict[str, int] = {}
        self._has_begun = False
        self.segment: Segment | None = None
        self.recordings: list[Path] = []  # folders, once it is over

    def __enter__(self) -> Self:
        job = self._job
        try:
            refuse_foreign_machine(job.board)
            refuse_missing_cores(job.board)
            if job.session and not is_simulated(job.board):
                raise EvenhandError(
                    f"--session {job.session}: {job.board.name} hears its card; --board sim plays files"
                )
            if job.scene:
                read_scene(job.scene)  # control does so too, but by then an engine waits for it
            self._runtime = runtime_folder(self._stack)
            is_sim = is_simulated(job.board)
            self.world = entered(self._stack, SimWorld(job.board, job.session, self._runtime)) if is_sim else None
            self.setup = self.world.setup if self.world else setup_of_board(job.board)
            write_setup(self.setup, self._runtime / "mixer.json")
            if job.record:
                _make_folder(job.record)
            self._supervisor = Supervisor(self._children(), self._hear)
            entered(self._stack, self._supervisor)
            self.segment = self._stack.enter_context(attached(self._supervisor, self._segment_path, is_control=False))
            wait_for_sound(self._supervisor, self.segment)
            if job.record:
                self._wait_for_recorder()
            if self.world:
                with held():
                    self.world.begin(self._is_control_behind)
        except BaseException:
            self._close()
            raise
        for line in list(self._lines):  # a start that is refused is told in one line, and only in one
            self._on_line(line)
        self._has_begun = True
        self._began_s = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        with deaf():
            self._stack.close()

    # ------------------------------------------------------------------------------------------------ running

    def run(self, on_look: Callable[[Picture], None], is_stopped: Callable[[], bool]) -> None:
        """Go on until the session, the seconds asked for or the person's patience end."""
        while not is_stopped():
            self._supervisor.step(STEP_S)
            self._look_after_segment()
            on_look(self.picture())
            if self._job.seconds is not None and self.time_s >= self._job.seconds:
                return
            if self.world and self._job.seconds is None and self.world.is_over:
                return

    def finish(self) -> dict[str, Any]:
        """End the processes in order and return the figures of the run, as ``--json`` prints them."""
        with deaf():
            return self._finish()

    def _finish(self) -> dict[str, Any]:
        assert self.segment is not None
        picture = self.picture()
        self._ended = {name: child.n_restarts for name, child in self._supervisor.children.items()}
        self._supervisor.end("engine")
        told = self._recorder_status()
        folders = [ended["folder"] for ended in told.get("ended", [])] + [told.get("folder")]
        self.recordings = [Path(folder) for folder in folders if folder]
        for name in ("recorder", "preamps", "control"):
            if name in self._supervisor.children:
                self._supervisor.end(name)
        record = self._record(picture)
        for folder in self.recordings:
            self._complete(folder, record)
        return record

    @property
    def time_s(self) -> float:
        """Seconds since sound began."""
        return time.monotonic() - self._began_s

    def picture(self) -> Picture:
        """Return what the box looks like now."""
        assert self.segment is not None
        try:
            control = json.loads(self.segment.read_notebook(PUBLIC_NOTEBOOK) or b"{}")
        except ValueError:
            control = {}
        return Picture(
            title=f"{self._job.board.title}: {self._title}",
            time_s=self.time_s,
            sample_rate_hz=self.setup.sample_rate_hz,
            names=[strip.name for strip in self.setup.strips],
            status=self.segment.status(),
            observation=self.segment.latest(),
            params=self.segment.params(),
            control=control,
            restarts={name: child.n_restarts for name, child in self._supervisor.children.items()},
            lines=list(self._lines),
        )

    # ----------------------------------------------------------------------------------------------- processes

    @property
    def _title(self) -> str:
        return self.world.title if self.world else self._job.board.name

    @property
    def _segment_path(self) -> Path:
        return self._runtime / "segment"

    def _pcm(self) -> str:
        """Return the name that the card has today; the board's own where the box waits for a card to come."""
        if self.world:
            return self.world.pcm
        try:
            return board_pcm(self._job.board)
        except EvenhandError:
            if not self._job.waits_for_card:
                raise
            return self._job.board.main_card.pcm

    def _children(self) -> list[Child]:
        job, mixer, parent = self._job, self._runtime / "mixer.json", os.getpid()
        common = ("--mixer", mixer, "--segment", self._segment_path, "--parent", parent)
        engine: list[object] = ["--board", job.board.path, *common, "--priority", job.priority]
        control: list[object] = [*common, "--target-lufs", job.target_lufs, "--amount", job.amount_percent]
        control += ["--result", self._runtime / "result.json", "--model", _absolute(job.model), "--style", job.style]
        for key in job.model_keys:
            control += ["--model-key", key.resolve()]
        environment = self.world.environment if self.world else {}
        engine += ["--pcm", self._pcm()]
        if self.world:
            engine += ["--card-timeout-ms", SIM_TIMEOUT_MS]
        if job.waits_for_card:
            engine.append("--wait-for-card")
        for option, value in (("--scene", job.scene), ("--state", job.state), ("--automix", job.automix)):
            control += [option, value] if value is not None else []
        children = [
            Child("engine", python("firmware.engine_process", *engine), environment, self._is_engine_alive),
            Child("control", python("firmware.control_process", *control), {}, self._is_control_alive),
        ]
        if job.board.preamps:
            sockets = (self._runtime / "control.socket", self._runtime / "preamps.socket")
            children[1].command = [*children[1].command, "--preamps", job.board.main_card.key, *map(str, sockets)]
            preamps: list[object] = ["--board", job.board.path, "--control", sockets[0], "--socket", sockets[1]]
            preamps += ["--parent", parent, *(("--ctl", self.world.ctl) if self.world else ())]
            children.append(Child("preamps", python("firmware.preamp_process", *preamps), environment, None))
        if job.record:
            ring, spool = self._runtime / "record.ring", self._runtime / "markers"
            children[0].command = [*children[0].command, "--record-ring", str(ring)]
            kept = ("--decisions", self._runtime / DECISIONS, "--track", self._runtime / TRACK, "--markers", spool)
            children[1].command = [*children[1].command, *map(str, kept)]
            recorder = ("--ring", ring, "--out", job.record, "--title", self._title, "--markers", spool)
            more = ("--status", self._runtime / "recorder.json", "--parent", parent)
            command = python("firmware.recorder.process", *recorder, *more)
            children.append(Child("recorder", command, {}, None))
        return children

    def _wait_for_recorder(self) -> None:
        """Let the first frame of the session be the first frame of the recording."""
        until_s = time.monotonic() + START_S
        while not self._recorder_status().get("is_attached"):
            self._supervisor.step(0.01)
            refuse_failed_start(self._supervisor)
            if time.monotonic() > until_s:
                raise EvenhandError(f"the recorder does not record; {last_words(self._supervisor, 'recorder')}")

    def _recorder_status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self._runtime / "recorder.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _look_after_segment(self) -> None:
        """Follow the engine to a new segment, should it have made one."""
        assert self.segment is not None
        if self.segment.is_current:
            return
        try:
            fresh = Segment(self._segment_path, is_control=False)
        except EvenhandError:
            return
        self.segment.close()
        self.segment = self._stack.enter_context(fresh)

    def _is_control_behind(self) -> bool:
        return self.segment is not None and self.segment.is_control_behind

    def _is_engine_alive(self) -> bool:
        status = self.segment.status() if self.segment else None
        child = self._supervisor.children["engine"]
        if status is None or status.state == "stopped" or time.monotonic() - child.started_s < START_S / 4:
            return True
        stall_s = SIM_TIMEOUT_MS / 1000 + 1.0 if self.world else ENGINE_STALL_S
        return (time.monotonic_ns() - status.engine_beat_ns) / 1e9 < stall_s

    def _is_control_alive(self) -> bool:
        status = self.segment.status() if self.segment else None
        child = self._supervisor.children["control"]
        if status is None or status.state != "running" or time.monotonic() - child.started_s < CONTROL_STALL_S:
            return True
        return (time.monotonic_ns() - status.control_beat_ns) / 1e9 < CONTROL_STALL_S

    def _hear(self, name: str, line: str) -> None:
        self._lines.append(line if line.startswith((f"{name}:", "error:")) else f"{name}: {line}")
        if self._has_begun and not line.startswith("error:"):  # which this run tells in its own words
            self._on_line(self._lines[-1])

    # ------------------------------------------------------------------------------------------------- figures

    def _complete(self, folder: Path, record: dict[str, Any]) -> None:
        """Lay beside a recording what its report is made of."""
        try:
            for name in (DECISIONS, TRACK):
                if (self._runtime / name).exists():
                    shutil.copyfile(self._runtime / name, folder / name)
        except OSError as error:
            raise EvenhandError(
                f"{folder}: has no room for the decisions ({error.strerror}); the recording is whole"
            ) from None
        keep_run(folder, record=record, setup=self.setup, target_lufs=self._job.target_lufs)

    def _record(self, picture: Picture) -> dict[str, Any]:
        status, counters, observation = picture.status, picture.status.counters, picture.observation
        try:
            result = json.loads((self._runtime / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            result = {"channels": picture.control.get("channels", []), "model": picture.control.get("model", "none")}
        return {
            "board": self._job.board.name,
            "periods": counters["periods"],
            "periods_lost": counters["periods_lost"],
            "xruns": counters["xruns"],
            "engine_restarts": self._ended.get("engine", 0),
            "control_restarts": self._ended.get("control", 0),
            "wake_p50_us": percentile_us(status.wake_us, 50.0),
            "wake_p999_us": percentile_us(status.wake_us, 99.9),
            "round_trip_frames": status.round_trip_frames,
            "integrated_lufs": round(observation.loudness.integrated_lufs, 2) if observation else None,
            "true_peak_dbtp": round(observation.loudness.true_peak_dbtp, 2) if observation else None,
            "model": result.get("model", "none"),
            "channels": result["channels"],
            **({"story": result["story"]} if result.get("story") else {}),
        }


def _absolute(model: str) -> str:
    return model if model in (NONE, SHIPPED_WORD) else str(Path(model).resolve())


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvenhandError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None
