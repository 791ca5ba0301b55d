"""Reads a recording back: sound and breaks in the order in which they happened, with the engine's frame numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from ..errors import EvenhandError
from .markers import ENGINE_ANEW
from .recording import N_MIX_LANES
from .timeline import Timeline

MAX_SUMMARY_BYTES = 100_000
MAX_FRAME = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True)
class Break:
    """A place where frames are missing, ``n_silent_frames`` of silence in their stead; ``frame`` is the one behind it.

    ``n_lost_frames`` is None where nobody knows.
    """

    position_frames: int
    n_silent_frames: int
    n_lost_frames: int | None
    cause: str
    frame: int

    @property
    def has_new_engine(self) -> bool:
        """Whether another engine goes on behind it, which knows nothing of what was before."""
        return self.cause == ENGINE_ANEW


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Frames of a recording, ``inputs (n, n_input_lanes)`` and ``mix (n, 2)``, from one place on.

    They lie behind ``after`` where that is not None. ``is_sound`` is False for the silence of a break.
    """

    position_frames: int
    inputs: NDArray[np.float32]
    mix: NDArray[np.float32]
    is_sound: bool
    after: Break | None = None


class RecordingReader:
    """A recording in ``folder``, however it ended. A context manager.

    Raises
    ------
    EvenhandError
        When it is no recording, one of another contract, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        summary = _summary(folder)
        self.title = str(summary.get("title") or folder.name)
        self.started = str(summary.get("started", ""))
        first_frame = _whole(summary.get("first_frame"))
        if first_frame is None:
            raise EvenhandError(f"{folder}: was recorded by an older build, which kept no frame numbers")
        self.first_frame = first_frame
        self._inputs = _opened(folder / "inputs.wav")
        self._mix = _opened(folder / "mix.wav")
        self.sample_rate_hz, self.n_input_lanes = int(self._inputs.samplerate), int(self._inputs.channels)
        if (self._mix.samplerate, self._mix.channels) != (self.sample_rate_hz, N_MIX_LANES):
            raise EvenhandError(f"{folder}: inputs.wav and mix.wav do not belong together")
        self.n_frames = min(self._inputs.frames, self._mix.frames)
        if self.n_frames == 0:
            raise EvenhandError(f"{folder}: holds no sound; the recording ended before its first second")
        self.breaks = _breaks(folder / "markers.jsonl", self.n_frames)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inputs.close()
        self._mix.close()

    def timeline(self) -> Timeline:
        """Return where each frame of the engine lies."""
        timeline = Timeline(self.first_frame, max_pieces=len(self.breaks) + 1)
        for at in self.breaks:
            timeline.jump(at.frame, at.position_frames + at.n_silent_frames)
        return timeline

    def pieces(self, max_frames: int) -> Iterator[Piece]:
        """Yield everything once, at most ``max_frames`` at a time; a piece without frames only tells of a break."""
        position, after = 0, None
        for at in self.breaks:
            for piece in self._read(position, at.position_frames, max_frames, is_sound=True, after=after):
                yield piece
                after = None
            if after:  # two breaks in one place
                yield self._piece(at.position_frames, 0, is_sound=True, after=after)
            position, after = at.position_frames + at.n_silent_frames, at
            yield from self._read(at.position_frames, position, max_frames, is_sound=False)
        yield from self._read(position, self.n_frames, max_frames, is_sound=True, after=after)

    def _read(
        self, start: int, end: int, max_frames: int, *, is_sound: bool, after: Break | None = None
    ) -> Iterator[Piece]:
        for position in range(start, min(end, self.n_frames), max_frames):
            n_frames = min(max_frames, end - position, self.n_frames - position)
            yield self._piece(position, n_frames, is_sound=is_sound, after=after)
            after = None

    def _piece(self, position: int, n_frames: int, *, is_sound: bool, after: Break | None) -> Piece:
        try:
            inputs, mix = (file.read(n_frames, dtype="float32", always_2d=True) for file in (self._inputs, self._mix))
        except (OSError, soundfile.LibsndfileError) as error:
            raise EvenhandError(f"{self.folder}: cannot be read ({error})") from None
        if len(inputs) != n_frames or len(mix) != n_frames:
            raise EvenhandError(f"{self.folder}: ends before its own end; its disk or its copy is damaged")
        return Piece(position_frames=position, inputs=inputs, mix=mix, is_sound=is_sound, after=after)


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "recording.json"
    try:
        with path.open("rb") as file:
            summary = json.loads(file.read(MAX_SUMMARY_BYTES))
    except OSError as error:
        raise EvenhandError(
            f"{folder}: is no recording, its recording.json cannot be read ({error.strerror}); "
            "name a folder that `evenhand-box run --record` made"
        ) from None
    except (ValueError, RecursionError):
        summary = None
    if not isinstance(summary, dict):
        raise EvenhandError(f"{path}: is damaged")
    contract_id = summary.get("contract_id")
    if contract_id != CONTRACT_ID:
        raise EvenhandError(f"{folder}: was recorded under contract {contract_id}, this build has {CONTRACT_ID}")
    return summary


def _opened(path: Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(os.fsencode(path))
    except (OSError, soundfile.LibsndfileError) as error:
        raise EvenhandError(f"{path}: cannot be opened ({error}); is the recording complete?") from None


def _breaks(path: Path, n_frames: int) -> list[Break]:
    """Return the breaks in their order; a line that a power cut left half written is none."""
    breaks: list[Break] = []
    end = 0
    try:
        with path.open("rb") as lines:
            for line in lines:
                found = _break(line)
                if found and end <= found.position_frames <= n_frames:
                    breaks.append(found)
                    end = found.position_frames + found.n_silent_frames
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be read ({error.strerror})") from None
    return breaks


def _break(line: bytes) -> Break | None:
    if b'"gap"' not in line:
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("kind") != "gap":
        return None
    position, frame, n_lost = (_whole(record.get(key)) for key in ("position_frames", "frame", "n_lost_frames"))
    if position is None or frame is None:
        return None
    n_silent = n_lost if n_lost is not None and record.get("is_filled") is True else 0
    return Break(
        position_frames=position,
        n_silent_frames=n_silent,
        n_lost_frames=n_lost,
        cause=str(record.get("cause", ""))[:100],
        frame=frame,
    )


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_FRAME else None
