"""From the ring to recordings: what becomes of frames, gaps and markers as they come."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from ..errors import EvenhandError
from .disk import Guard, why
from .markers import CAUSE_TEXT, ENGINE_ANEW, LOST, Announced, SpoolReader
from .native import Native
from .recording import Recording, Setup
from .ring_file import Gap, RingReader
from .timeline import Timeline

MAX_TAKE_FRAMES = 8192
MAX_TAKES = 1024  # in a row, more than the largest ring holds with all its gaps; then markers and signals get a turn
REPLACED_CHECK_S = 0.2  # without a frame, until looking whether the engine was started anew
ENGINE_WAIT_S = 60.0  # without a frame, until a recording ends by itself
MIN_PART_S = 60.0  # length of a recording that goes on in the next one where the file system takes no larger file
MAX_WAITING = 1000  # markers whose frame has not come yet
MAX_AHEAD_S = 10.0  # by which it may be ahead


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where frames and markers come from and where recordings go."""

    ring: Path
    root: Path
    title: str = ""
    spool: Path | None = None
    reserve_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a recording."""

    folder: str
    n_frames: int
    duration_s: float
    n_gaps: int
    n_lost_frames: int
    reason: str


class Recorder:
    """Records whatever the ring gives; the engine may be late, end, and be started anew. A context manager.

    ``say`` gets a line when a recording begins or ends.

    Raises
    ------
    EvenhandError
        From any call, when there is nothing more to be done; the recording is then complete up to there.
    """

    def __init__(
        self, native: Native, settings: Settings, *, say: Callable[[str], None],
        now: Callable[[], datetime] = datetime.now, monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        if not settings.root.is_dir():
            raise EvenhandError(f"{settings.root}: is no folder; make it or name another one")
        self.ended: list[Ended] = []
        self._native, self._settings, self._say = native, settings, say
        self._now, self._monotonic_s = now, monotonic_s
        self._guard = Guard(folder=settings.root, reserve_bytes=settings.reserve_bytes)
        self._spool = SpoolReader(settings.spool) if settings.spool else None
        self._ring: RingReader | None = None
        self._recording: Recording | None = None
        self._timeline = Timeline(0)
        self._waiting: list[Announced] = []
        self._last_frame_s = monotonic_s()
        self._is_engine_new = False  # and its first frame has not come yet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        self._end("stopped" if error is None else f"the recorder failed: {error}")
        if self._ring:
            self._ring.close()
        if self._spool:
            self._spool.close()

    def step(self) -> None:
        """Do what there is to do, without waiting for anything but the disk."""
        try:
            if self._ring is None:
                self._attach()
            elif not self._take_all(self._ring):
                self._look_for_the_engine(self._ring)
            self._take_markers()
        except OSError as error:
            self._give_up(why(error))
        if self._recording and self._recording.trouble:
            self._give_up(self._recording.trouble)

    def status(self) -> dict[str, Any]:
        """Return how it stands, for those who show it."""
        recording = self._recording
        return {
            "is_attached": self._ring is not None,  # the next frame of the engine will be the first
            "is_recording": recording is not None,
            "folder": str(recording.folder) if recording else None,
            "duration_s": round(recording.duration_s, 3) if recording else 0.0,
            "n_gaps": recording.n_gaps if recording else 0,
            "n_lost_frames": recording.n_lost_frames if recording else 0,
            "room_bytes": recording.room_bytes if recording else self._guard.room_bytes(),
            "ended": self.ended_records(),
        }

    def ended_records(self) -> list[dict[str, Any]]:
        """Return what became of the recordings so far."""
        return [asdict(ended) for ended in self.ended]

    def _attach(self) -> None:
        try:
            self._ring = ring = RingReader(self._native, self._settings.ring, MAX_TAKE_FRAMES)
        except FileNotFoundError:
            return
        self._place(self._waiting)  # the next engine counts anew
        self._waiting = []
        self._is_engine_new = True
        setup = self._recording.setup if self._recording else None
        if setup and (setup.sample_rate_hz, setup.n_input_lanes) != (ring.sample_rate_hz, ring.n_input_lanes):
            self._end("the engine was started anew with another sample rate or other inputs")

    def _look_for_the_engine(self, ring: RingReader) -> None:
        idle_s = self._monotonic_s() - self._last_frame_s
        if idle_s > ENGINE_WAIT_S:
            self._end(f"no frame from the engine for {ENGINE_WAIT_S:.0f} s")
        if idle_s > REPLACED_CHECK_S and ring.is_replaced():
            self._take_all(ring)  # what the engine put in between our last look and its end
            ring.close()
            self._ring = None
            self._attach()

    def _take_all(self, ring: RingReader) -> bool:
        """Take gaps and frames until there are no more; return whether there were frames."""
        is_any = False
        for _ in range(MAX_TAKES):
            while gap := ring.take_gap():
                self._on_disk(ring, gap.frame, partial(self._fill, gap))
            n_frames, inputs, mix = ring.take()
            if n_frames == 0:
                break
            is_any = True
            frame = ring.frame - n_frames
            if self._is_engine_new and self._recording:
                idle_s = self._monotonic_s() - self._last_frame_s
                gap = Gap(frame=frame, n_lost_frames=max(round(idle_s * ring.sample_rate_hz) - n_frames, 0), cause=0)
                self._on_disk(ring, frame, partial(self._fill, gap))
            self._on_disk(ring, frame, lambda r, inputs=inputs, mix=mix: r.write(inputs, mix))  # type: ignore[misc]
            self._is_engine_new = False
            self._last_frame_s = self._monotonic_s()
        return is_any

    def _on_disk(self, ring: RingReader, frame: int, act: Callable[[Recording], None]) -> None:
        """Act on the recording, which begins here if there is none, or if the file system takes no larger file."""
        recording = self._recording or self._begin(ring, frame)
        try:
            act(recording)
        except OSError as error:
            if error.errno != errno.EFBIG or recording.duration_s < MIN_PART_S:
                raise
            self._end(f"{why(error)}; the next recording goes on where this one ends")
            act(self._begin(ring, frame))

    def _fill(self, gap: Gap, recording: Recording) -> None:
        if gap.cause == 0:
            recording.gap(gap.n_lost_frames, ENGINE_ANEW, frame=gap.frame, is_estimated=True)
        else:
            recording.gap(gap.n_lost_frames, CAUSE_TEXT.get(gap.cause, LOST), frame=gap.frame)
        self._timeline.jump(gap.frame, recording.n_frames)

    def _take_markers(self) -> None:
        if not self._spool:
            return
        n_refused = self._spool.n_refused
        self._waiting += self._spool.read()
        if not self._recording or not self._ring:
            self._waiting = []
            return
        refused, frame = self._recording.refused, self._ring.frame
        refused["no marker"] += self._spool.n_refused - n_refused
        refused["too many at once"] += len(self._waiting[MAX_WAITING:])
        max_frame = frame + MAX_AHEAD_S * self._ring.sample_rate_hz
        refused["too far ahead"] += sum(a.frame is not None and a.frame > max_frame for a in self._waiting)
        waiting = [a for a in self._waiting[:MAX_WAITING] if a.frame is None or a.frame <= max_frame]
        self._place([a for a in waiting if a.frame is None or a.frame <= frame])
        self._waiting = [a for a in waiting if a.frame is not None and a.frame > frame]

    def _place(self, markers: list[Announced]) -> None:
        if not self._recording:
            return
        for announced in markers:
            position_frames: int | None = self._recording.n_frames
            if announced.frame is not None:
                position_frames = self._timeline.position(announced.frame)
            if position_frames is None:
                self._recording.refused["before the start"] += 1
            else:
                self._recording.mark(position_frames, announced.kind, announced.text, frame=announced.frame)

    def _begin(self, ring: RingReader, frame: int) -> Recording:
        self._recording = recording = Recording(
            Setup(
                root=self._settings.root,
                title=self._settings.title,
                started=self._now(),
                sample_rate_hz=ring.sample_rate_hz,
                n_input_lanes=ring.n_input_lanes,
                contract_id=CONTRACT_ID,
                first_frame=frame,
                guard=self._guard,
            )
        )
        self._timeline = Timeline(frame)
        self._is_engine_new = False
        self._say(f"recording {ring.n_input_lanes} inputs and the mix into {recording.folder}")
        return recording

    def _end(self, reason: str) -> None:
        recording = self._recording
        if not recording:
            return
        with suppress(OSError):  # the disk may be the reason
            self._place(self._waiting)
        self._waiting, self._recording = [], None
        recording.close(reason)
        self.ended.append(
            Ended(
                folder=str(recording.folder),
                n_frames=recording.n_frames,
                duration_s=round(recording.duration_s, 3),
                n_gaps=recording.n_gaps,
                n_lost_frames=recording.n_lost_frames,
                reason=reason,
            )
        )
        self._say(f"{recording.folder}: complete, {recording.duration_s:.1f} s, {recording.n_gaps} gaps; {reason}")

    def _give_up(self, reason: str) -> None:
        if not self._recording:
            raise EvenhandError(f"{self._settings.root}: {reason}; record to another place or free some space")
        folder, duration_s = self._recording.folder, self._recording.duration_s
        self._end(reason)
        raise EvenhandError(
            f"{folder}: {reason}; the recording is complete up to {duration_s:.1f} s; "
            "free some space or record to another place"
        )
