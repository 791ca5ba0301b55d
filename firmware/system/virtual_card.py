"""A virtual sound card: the world that feeds it, hears it, moves its clock and breaks it. Programs open it by ALSA.

The card itself is ``firmware/rt/virtual_card`` (see its README); this is the face of ``world.h``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from firmware.errors import EvenhandError

from .virtual_card_report import CardReport, Direction, Fault, report_of

MAX_CHANNELS = 64
RING_FRAMES = 32768
FORMATS = {"S16_LE": 1, "S24_3LE": 2, "S32_LE": 4}
ALL_FORMATS = tuple(FORMATS)
REST_TIMEOUT_S = 10.0
TAKE_FRAMES = 4096
DISGUISES = ("enodev", "epipe", "eagain")

Disguise = Literal["enodev", "epipe", "eagain"]


class VirtualCard:
    """A sound card in the file ``path``, best under ``/dev/shm``. A context manager: leaving it unplugs for good.

    Parameters
    ----------
    path
        The file. Left-overs of a dead process are replaced, anything else is not.
    clock
        ``"wall"``: runs by itself, ``ppm`` too fast. ``"manual"``: moves by :meth:`advance` and :meth:`run` only.
    cable
        Pairs (playback channel, capture channel), from 0: capture hears playback, in the same frame, and no tape.
    tape, recorder
        Whether the clock waits until it was fed, and until what was played was taken. Without a tape capture is
        silent.
    begins_at_once
        The clock runs from the start, not from the first start of a stream.

    Raises
    ------
    EvenhandError
        When the card cannot be made.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        n_capture: int,
        n_playback: int,
        sample_rate_hz: int = 48000,
        clock: Literal["wall", "manual"] = "wall",
        formats: Iterable[str] = ALL_FORMATS,
        ppm: float = 0.0,
        cable: Iterable[tuple[int, int]] | None = None,
        tape: bool = True,
        recorder: bool = True,
        begins_at_once: bool = False,
        ring_frames: int = RING_FRAMES,
    ) -> None:
        self.path = Path(path).absolute()
        self.n_capture, self.n_playback, self.ring_frames = n_capture, n_playback, ring_frames
        self._ppm = ppm
        self._ffi, self._lib = _extension()
        _check(self.path, n_capture, n_playback, sample_rate_hz, clock, ring_frames)
        settings = self._ffi.new("eh_world_settings *")
        settings.sample_rate_hz = sample_rate_hz
        settings.n_capture, settings.n_playback = n_capture, n_playback
        settings.ring_frames = ring_frames
        self._formats = settings.formats = _format_mask(formats)
        settings.is_manual = clock == "manual"
        settings.begins_at_once = begins_at_once
        settings.has_tape, settings.has_recorder = tape, recorder
        settings.has_cable = cable is not None
        settings.ppm = ppm
        for played, captured in cable or ():
            if not (0 <= played < n_playback and 0 <= captured < n_capture):
                raise EvenhandError(f"{self.path}: cable {played} > {captured} ends outside the card's channels")
            settings.cable[captured] |= 1 << played
        reason = self._ffi.new("char[128]")
        self._world = self._lib.eh_world_create(str(self.path).encode(), settings, reason, len(reason))
        if self._world == self._ffi.NULL:
            raise EvenhandError(
                f"{self.path}: no virtual card can be made here: {self._ffi.string(reason).decode()}; "
                "choose another file"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Pull the plug for good and remove the files."""
        if self._world is not None:
            self._lib.eh_world_close(self._world)
            self._world = None

    # ------------------------------------------------------------------------------------------- tape and recorder

    def feed(self, block: NDArray[np.int32] | NDArray[np.float32]) -> int:
        """Append ``block`` (n_frames, n_capture) to the tape; return how many of its frames found room."""
        if block.ndim != 2 or block.shape[1] != self.n_capture or block.dtype not in (np.int32, np.float32):
            raise EvenhandError(
                f"{self.path}: the tape takes (n_frames, {self.n_capture}) int32 or float32, "
                f"not {block.shape} {block.dtype}"
            )
        is_float = block.dtype == np.float32
        feed = self._lib.eh_world_feed_float if is_float else self._lib.eh_world_feed_s32
        frames = self._ffi.from_buffer(
            "float[]" if is_float else "int32_t[]", block if block.flags.c_contiguous else block.copy()
        )
        return int(feed(self._world, frames, len(block)))

    def end_tape(self) -> None:
        """Say that nothing follows: the clock runs on over silence."""
        self._lib.eh_world_end_tape(self._world)

    def take(self, *, everything: bool = False) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Yield what was played since the last call as (first card frame, (n_frames, n_playback) int32), in order.

        Frames in which nothing was played are silence. A wall clock holds the newest few back unless ``everything``.
        """
        first = self._ffi.new("int64_t *")
        while True:
            block = np.empty((TAKE_FRAMES, self.n_playback), np.int32)
            frames = self._ffi.from_buffer("int32_t[]", block, require_writable=True)
            n_frames = self._lib.eh_world_take(self._world, frames, TAKE_FRAMES, everything, first)
            if n_frames == 0:
                return
            yield int(first[0]), block[:n_frames]

    # -------------------------------------------------------------------------------------------------------- clock

    @property
    def frame(self) -> int:
        """What the card's clock shows."""
        return int(self._lib.eh_world_frame(self._world))

    def advance(self, n_frames: int) -> int:
        """Move a manual clock; return by how much: less where tape or recorder are behind, 0 before it began."""
        return int(self._lib.eh_world_advance(self._world, n_frames))

    def run(
        self,
        n_frames: int,
        *,
        step_frames: int,
        directions: Iterable[Direction] = (Direction.CAPTURE,),
        timeout_s: float = REST_TIMEOUT_S,
    ) -> int:
        """Move a manual clock in steps; around each, the programs on ``directions`` come to rest.

        Raises
        ------
        EvenhandError
            When a program does not go back to sleep in time.
        """
        at_rest = self._ffi.new("int *")
        mask = _mask(directions)
        moved = self._lib.eh_world_run(self._world, n_frames, step_frames, mask, int(timeout_s * 1e9), at_rest)
        if not at_rest[0]:
            raise EvenhandError(f"{self.path}: the program did not come to rest in {timeout_s} s at frame {self.frame}")
        return int(moved)

    def wait_for_rest(
        self, *, directions: Iterable[Direction] = (Direction.CAPTURE,), timeout_s: float = REST_TIMEOUT_S
    ) -> bool:
        """Wait until the programs on ``directions`` sleep for a frame to come; a closed direction is at rest."""
        return bool(self._lib.eh_world_wait_for_rest(self._world, _mask(directions), int(timeout_s * 1e9)))

    def wait_for_start(
        self, *, directions: Iterable[Direction] = (Direction.CAPTURE,), timeout_s: float = REST_TIMEOUT_S
    ) -> bool:
        """Wait until the streams of ``directions`` have started."""
        return bool(self._lib.eh_world_wait_for_start(self._world, _mask(directions), int(timeout_s * 1e9)))

    @property
    def ppm(self) -> float:
        """How much too fast a wall clock runs; may be set at any time."""
        return self._ppm

    @ppm.setter
    def ppm(self, ppm: float) -> None:
        self._ppm = ppm
        self._lib.eh_world_set_ppm(self._world, ppm)

    def report(self) -> CardReport:
        """Return where the card stands and what it has counted."""
        raw = self._ffi.new("eh_world_report *")
        self._lib.eh_world_read(self._world, raw)
        return report_of(raw)

    # ------------------------------------------------------------------------------------------------------- faults

    def xrun(self, direction: Direction, count: int = 1) -> None:
        """Break the stream at its next ``count`` looks at the card."""
        self._fault(direction, Fault.XRUN, count)

    def suspend(self, direction: Direction) -> None:
        """Suspend the stream; the program gets ESTRPIPE and has to prepare it anew."""
        self._fault(direction, Fault.SUSPEND, 1)

    def shorten(self, direction: Direction, n_frames: int, count: int = 1) -> None:
        """Let the next ``count`` longer reads or writes end after ``n_frames``."""
        self._fault(direction, Fault.SHORT_TRANSFER, count, n_frames)

    def wake_late(self, direction: Direction, n_frames: int, count: int | None = None) -> None:
        """Let ``count`` wake-ups, or all from now on, come ``n_frames`` late; 0 frames end it."""
        self._fault(direction, Fault.LATE_WAKE, 0 if n_frames == 0 else -1 if count is None else count, n_frames)

    def unplug(self, *, at_frame: int | None = None, unplug_as: Disguise = "enodev") -> None:
        """Pull the plug now or in a frame to come. Open handles are dead for good; opening fails until :meth:`replug`.

        ``unplug_as``: drivers may hide it behind EPIPE or EAGAIN.
        """
        self._plug(at_frame, False, unplug_as, 0)

    def replug(self, *, at_frame: int | None = None, sample_rate_hz: int | None = None) -> None:
        """Plug in again, now or in a frame to come; the card may then run at another rate."""
        self._plug(at_frame, True, "enodev", sample_rate_hz or 0)

    def offer(
        self,
        *,
        formats: Iterable[str] | None = None,
        n_capture: int | None = None,
        n_playback: int | None = None,
    ) -> None:
        """Change what the next program that opens the card may choose from."""
        if formats is not None:
            self._formats = _format_mask(formats)
        n_capture = self.n_capture if n_capture is None else n_capture
        n_playback = self.n_playback if n_playback is None else n_playback
        if not (0 <= n_capture <= self.n_capture and 0 <= n_playback <= self.n_playback):
            raise EvenhandError(f"{self.path}: a card can offer fewer channels than it was made with, not more")
        self._lib.eh_world_set_offer(self._world, self._formats, n_capture, n_playback)

    def set_preamp_gain_db(self, channel: int, gain_db: float) -> None:
        """Turn the preamp of a capture channel, from 0: so much louder is the tape from the next read on."""
        if not 0 <= channel < self.n_capture:
            raise EvenhandError(f"{self.path}: no capture channel {channel} has a preamp; there are {self.n_capture}")
        self._lib.eh_world_set_preamp_gain(self._world, channel, 10.0 ** (gain_db / 20.0))

    def schedule(self, direction: Direction, faults: Iterable[tuple[int, Fault, int]]) -> None:
        """Let faults (card frame, kind, amount in frames) befall a running stream, at its first look from then on.

        They are sorted here; a later call must not go back behind them.
        """
        for frame, fault, amount in sorted(faults):
            status = self._lib.eh_world_schedule(self._world, direction, frame, fault, amount)
            if status != 0:
                why = "lies before one already scheduled" if status == -1 else "finds no room: 16384 are waiting"
                raise EvenhandError(f"{self.path}: the fault at frame {frame} {why}")

    def _fault(self, direction: Direction, fault: Fault, count: int, amount: int = 0) -> None:
        self._lib.eh_world_fault(self._world, direction, fault, count, amount)

    def _plug(self, at_frame: int | None, is_plugged: bool, disguise: str, sample_rate_hz: int) -> None:
        frame = -1 if at_frame is None else at_frame
        if at_frame is not None and at_frame < 0:
            raise EvenhandError(f"{self.path}: frame {at_frame} cannot be planned for")
        status = self._lib.eh_world_plug(self._world, frame, is_plugged, DISGUISES.index(disguise), sample_rate_hz)
        if status != 0:
            raise EvenhandError(f"{self.path}: {'re' if is_plugged else 'un'}plugging {PLUG_REFUSALS[status]}")


PLUG_REFUSALS = {
    -1: "must follow what is past or already planned",
    -2: "changes nothing: it is so already",
    -3: "finds no room: 1022 changes are planned",
    -4: "in a planned frame cannot change the rate of a wall clock; plan it on a manual clock or do it now",
}


def _extension() -> tuple[Any, Any]:
    try:
        from firmware import _card  # type: ignore[attr-defined]  # compiled
    except ImportError as error:
        raise EvenhandError("the virtual sound card is not built; run `make build`") from error
    return _card.ffi, _card.lib


def _check(path: Path, n_capture: int, n_playback: int, sample_rate_hz: int, clock: str, ring_frames: int) -> None:
    if not (0 <= n_capture <= MAX_CHANNELS and 0 <= n_playback <= MAX_CHANNELS and n_capture + n_playback > 0):
        raise EvenhandError(f"{path}: {n_capture} capture and {n_playback} playback channels; 0 to {MAX_CHANNELS} each")
    if not 8000 <= sample_rate_hz <= 384000:
        raise EvenhandError(f"{path}: sample_rate_hz = {sample_rate_hz} lies outside 8000 to 384000")
    if clock not in ("wall", "manual"):
        raise EvenhandError(f"{path}: clock = {clock!r}; there are 'wall' and 'manual'")
    if ring_frames & (ring_frames - 1) or not 1024 <= ring_frames <= 1 << 20:
        raise EvenhandError(f"{path}: ring_frames = {ring_frames} is no power of two from 1024 to {1 << 20}")


def _format_mask(formats: Iterable[str]) -> int:
    mask = 0
    for name in formats:
        if name not in FORMATS:
            raise EvenhandError(f"format {name!r}; a virtual card knows {', '.join(FORMATS)}")
        mask |= FORMATS[name]
    return mask


def _mask(directions: Iterable[Direction]) -> int:
    return sum(1 << d for d in set(directions))
