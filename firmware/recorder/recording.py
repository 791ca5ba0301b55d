"""One recording: a folder with every input, the mix, the markers, and what there is to know about them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..atomic import Outputs
from ..errors import EvenhandError
from .disk import Guard, why
from .markers import Marker, cleaned
from .rf64 import SAMPLE_SIZE_BYTES, DiskFile, Format, Rf64Writer

N_MIX_LANES = 2
SYNC_INTERVAL_S = 0.4  # the header lags by up to two of them: under a second
MAX_MARKERS = 20_000  # as many as decisions are kept
MAX_SILENCE_S = 3600  # a longer gap is a wrong number, or not worth filling
MIN_START_S = 60  # a shorter recording is none
MAX_SAME_SECOND = 100
MAX_TITLE_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is recorded and where; ``started`` is local time."""

    root: Path
    title: str
    started: datetime
    sample_rate_hz: int
    n_input_lanes: int
    contract_id: str
    first_frame: int  # the engine's number of the first frame
    guard: Guard


class Recording:
    """A recording under way, in a new folder under ``setup.root``.

    A thread of its own makes the disk keep up: ``trouble`` says why the recording should end. Everything else belongs
    to one caller, who may find that a disk hangs for as long as it likes.

    Raises
    ------
    EvenhandError
        When the folder or its files cannot be made.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.trouble = ""
        self.n_gaps = self.n_lost_frames = 0
        self.refused: Counter[str] = Counter()
        self._markers: list[Marker] = []
        try:
            self.room_bytes = _room_bytes(setup)
            self.folder = _new_folder(setup)
            self._inputs = self._writer("inputs.wav", setup.n_input_lanes)
            self._mix = self._writer("mix.wav", N_MIX_LANES)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._markers_fd = os.open(self.folder / "markers.jsonl", flags, 0o666)
            self._write_summary("recording", "")
            for folder in (self.folder, setup.root):
                _sync_folder(folder)
        except OSError as error:
            raise EvenhandError(f"{setup.root}: {why(error)}; record to another place or free some space") from None
        self._is_marked, self._is_closing = threading.Event(), False
        self._keeper = threading.Thread(target=self._keep, name="disk", daemon=True)
        self._keeper.start()

    @property
    def n_frames(self) -> int:
        """Length so far."""
        return self._mix.n_frames

    @property
    def duration_s(self) -> float:
        """Length so far."""
        return self.n_frames / self.setup.sample_rate_hz

    def write(self, inputs: memoryview, mix: memoryview) -> None:
        """Append frames of packed 24-bit samples; a disk that takes no more is an OSError."""
        self._inputs.write(inputs)
        self._mix.write(mix)

    def gap(self, n_lost_frames: int, cause: str, *, frame: int, is_estimated: bool = False) -> None:
        """Fill ``n_lost_frames`` with silence, so that time stays true, and mark them; 0 is an unknown number.

        ``frame`` is the engine's number of the frame behind the gap.
        """
        is_filled = 0 < n_lost_frames <= MAX_SILENCE_S * self.setup.sample_rate_hz
        details = {
            "cause": cause,
            "n_lost_frames": n_lost_frames or None,
            "is_filled": is_filled,
            "is_estimated": is_estimated,
            "frame": frame,
        }
        length = f"{n_lost_frames / self.setup.sample_rate_hz:.3f} s" if n_lost_frames else "unknown length"
        self.n_gaps += 1
        self.n_lost_frames += n_lost_frames if is_filled else 0
        self._mark(Marker(position_frames=self.n_frames, kind="gap", text=f"{cause}, {length}", details=details))
        if is_filled:
            self._inputs.write_silence(n_lost_frames)
            self._mix.write_silence(n_lost_frames)

    def mark(self, position_frames: int, kind: str, text: str, **details: Any) -> None:
        """Mark a place; too many are counted instead."""
        if len(self._markers) >= MAX_MARKERS:
            self.refused["too many"] += 1
            return
        position_frames = min(max(position_frames, 0), self.n_frames)
        self._mark(Marker(position_frames=position_frames, kind=kind, text=cleaned(text), details=details))

    def close(self, reason: str) -> None:
        """End: mark it, complete the headers, say what became of it. The disk may refuse any of that."""
        self._is_closing = True
        self._is_marked.set()
        self._keeper.join()
        n_frames = min(self._inputs.n_frames, self._mix.n_frames)
        for writer in (self._inputs, self._mix):
            writer.cut(n_frames)
        with suppress(OSError):
            self._mark(Marker(position_frames=n_frames, kind="end", text=reason))
        for writer in (self._inputs, self._mix):
            with suppress(OSError):
                writer.close(self._markers)
        with suppress(OSError):
            os.fdatasync(self._markers_fd)
        os.close(self._markers_fd)
        with suppress(OSError, EvenhandError):
            self._write_summary("complete", reason)

    def _writer(self, name: str, n_channels: int) -> Rf64Writer:
        setup = self.setup
        description = (
            f"{cleaned(setup.title) or 'Recording'}, {name.removesuffix('.wav')}, contract {setup.contract_id}"
        )
        form = Format(
            sample_rate_hz=setup.sample_rate_hz, n_channels=n_channels, started=setup.started, description=description
        )
        return Rf64Writer(DiskFile(self.folder / name), form)

    def _mark(self, marker: Marker) -> None:
        self._markers.append(marker)
        line = json.dumps(marker.as_record(self.setup.sample_rate_hz), ensure_ascii=False).encode() + b"\n"
        os.write(self._markers_fd, line)
        self._is_marked.set()

    def _keep(self) -> None:
        """Keeper's thread: sync the audio at its interval, markers at once, and look how much room is left."""
        due_s = time.monotonic()
        while not self._is_closing:
            due_s = max(due_s + SYNC_INTERVAL_S, time.monotonic())
            try:
                while self._is_marked.wait(max(due_s - time.monotonic(), 0.0)) and not self._is_closing:
                    self._is_marked.clear()
                    os.fdatasync(self._markers_fd)
                for writer in (self._inputs, self._mix):
                    writer.sync()
                self.room_bytes = self.setup.guard.room_bytes()
                if self.room_bytes <= 0:
                    self.trouble = "the disk is almost full"
            except OSError as error:
                self.trouble = why(error)
                return

    def _write_summary(self, state: str, reason: str) -> None:
        setup = self.setup
        summary = {
            "title": setup.title,
            "state": state,  # "recording" for good where the power was cut
            "ended_because": reason,
            "started": setup.started.isoformat(timespec="seconds"),
            "contract_id": setup.contract_id,
            "first_frame": setup.first_frame,
            "sample_rate_hz": setup.sample_rate_hz,
            "n_input_lanes": setup.n_input_lanes,
            "files": {"inputs": "inputs.wav", "mix": "mix.wav", "markers": "markers.jsonl"},
            "n_frames": self.n_frames,
            "duration_s": round(self.duration_s, 3),
            "n_gaps": self.n_gaps,
            "n_lost_frames": self.n_lost_frames,
            "n_markers": len(self._markers),
            "n_markers_refused": dict(+self.refused),  # without the zeros
        }
        with Outputs() as outputs:
            text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            outputs.stage(self.folder / "recording.json").write_text(text, encoding="utf-8")
            outputs.commit()


def _room_bytes(setup: Setup) -> int:
    """Return the room there is, if it is worth beginning."""
    rate_bytes_per_s = setup.sample_rate_hz * (setup.n_input_lanes + N_MIX_LANES) * SAMPLE_SIZE_BYTES
    room_bytes = setup.guard.room_bytes()
    if room_bytes < MIN_START_S * rate_bytes_per_s:
        raise EvenhandError(
            f"{setup.root}: beside the reserve there is room for {max(room_bytes, 0) / rate_bytes_per_s:.0f} s of "
            "recording; free some space or record to another place"
        )
    return room_bytes


def _new_folder(setup: Setup) -> Path:
    """Make a folder that was not there: two recordings of one second get a number each."""
    title = "".join(c if c.isalnum() or c in "-." else "_" for c in cleaned(setup.title))[:MAX_TITLE_CHARACTERS]
    name = f"{setup.started:%Y-%m-%d_%H-%M-%S}" + (f"_{title}" if title else "")
    for number in range(1, MAX_SAME_SECOND):
        folder = setup.root / (name if number == 1 else f"{name}_{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise EvenhandError(f"{setup.root / name}: there are {MAX_SAME_SECOND} of that name; look why, and name another")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
