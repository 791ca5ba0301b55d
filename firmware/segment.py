"""The shared memory between engine and control for Python: parameters down, observations and events up.

The layout, and every rule about who may do what, stand in ``rt/live/segment.h``; no byte of it is touched from here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.layout import (
    BUS_METERS_DTYPE,
    CHANNEL_METERS_DTYPE,
    FEATURES_DTYPE,
    MIX_FEATURES_DTYPE,
    PARAMS_DTYPE,
)

from .errors import EvenhandError
from .live_extension import live_extension
from .observation import Loudness, Observation

LOUDNESS_DTYPE = np.dtype([(name, np.float32) for name in Loudness.__dataclass_fields__])
OBSERVATION_DTYPE = np.dtype(
    [
        ("frame", np.uint64),
        ("time_ns", np.uint64),
        ("loudness", LOUDNESS_DTYPE),
        ("buses", BUS_METERS_DTYPE, (12,)),
        ("channels", CHANNEL_METERS_DTYPE, (32,)),
        ("features", FEATURES_DTYPE, (32,)),
        ("mix", MIX_FEATURES_DTYPE),
    ]
)
STATE_NOTEBOOK, EVIDENCE_NOTEBOOK, PUBLIC_NOTEBOOK = 0, 1, 2  # the first two for a successor, the last for a view


class SegmentAbsentError(EvenhandError):
    """There is no segment of this build yet: the engine has not started, or will replace what lies there."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to the engine, at ``frame`` of the mixer."""

    frame: int
    time_ns: int
    kind: str
    index: int
    value: int


class Segment:
    """One side's hold on a segment. A context manager.

    Parameters
    ----------
    path
        The file.
    is_control
        True for the one process that sets parameters, False for those that only look.

    Raises
    ------
    SegmentAbsentError
        When the engine has not made it yet, or it is foreign: the engine replaces such a file.
    EvenhandError
        When another control process holds it, or the system refuses.
    """

    def __init__(self, path: Path, *, is_control: bool) -> None:
        self._ffi, self._lib = live_extension()
        self.path = path
        self._hold = self._ffi.new("eh_segment_hold *")
        self._is_control = is_control
        side = self._lib.EH_SIDE_CONTROL if is_control else self._lib.EH_SIDE_VIEWER
        status = self._lib.eh_segment_open(self._hold, os.fsencode(path), side, self._ffi.NULL)
        if status != self._lib.EH_HOLD_OK:
            why = self._ffi.string(self._hold.why).decode(errors="replace")
            is_early = status in (self._lib.EH_HOLD_ABSENT, self._lib.EH_HOLD_FOREIGN)
            raise (SegmentAbsentError if is_early else EvenhandError)(why)
        config = self._lib.eh_segment_config(self._hold)
        self.sample_rate_hz = float(config.sample_rate_hz)
        self.n_channels = int(config.n_channels)
        self.is_stereo = tuple(bool(config.is_stereo[ch]) for ch in range(self.n_channels))
        self._record = np.zeros((), OBSERVATION_DTYPE)
        self._record_pointer = self._ffi.cast("eh_observation *", self._record.ctypes.data)
        self._open = threading.Lock()  # held while somebody looks at the status, and by who closes
        self._event = self._ffi.new("eh_event *")
        self._notebook: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; what was published stands."""
        with self._open:
            self._lib.eh_segment_close(self._hold)

    @property
    def is_current(self) -> bool:
        """Whether the engine still uses this file, or has put another in its place."""
        return bool(self._lib.eh_segment_is_current(self._hold, os.fsencode(self.path)))

    # --------------------------------------------------------------------------------------------------- down

    def publish(self, params: NDArray[np.void]) -> None:
        """Hand down a snapshot, shape ``()`` of ``PARAMS_DTYPE``."""
        self._must_be_control()
        if params.dtype != PARAMS_DTYPE or params.shape != ():
            raise TypeError("a snapshot has shape () and PARAMS_DTYPE")
        snapshot = np.ascontiguousarray(params)
        self._lib.eh_segment_publish(self._hold, self._ffi.cast("eh_params *", snapshot.ctypes.data))

    def set_mix_gain_bark(self, gain_lin: NDArray[np.floating]) -> None:
        """Tell analysis with which gain each critical band of each channel reaches the mix, ``(n_channels, 24)``."""
        self._must_be_control()
        table = np.ones((32, gain_lin.shape[1]), np.float32)
        table[: len(gain_lin)] = gain_lin
        self._lib.eh_segment_set_mix_gain_bark(self._hold, self._ffi.cast("float *", table.ctypes.data))

    def beat(self, frame: int) -> None:
        """Show that everything up to ``frame`` has been looked at."""
        self._must_be_control()
        self._lib.eh_segment_beat(self._hold, frame)

    def probe(self, lane: int | None) -> None:
        """Click on every output and listen on input ``lane`` of the mixer; None ends it and sound comes back."""
        self._must_be_control()
        self._lib.eh_segment_probe(self._hold, -1 if lane is None else lane)

    def probed_ways_frames(self) -> list[int | None]:
        """Return how long each click took over the cable, None where it did not come back."""
        ways = self._ffi.new("int[]", self._lib.EH_N_PROBES)
        return [w if w >= 0 else None for w in ways[0 : self._lib.eh_segment_probe_ways(self._hold, ways)]]

    def write_notebook(self, notebook: int, memory: bytes) -> None:
        """Leave something to a successor; what is too long for the page is not written."""
        self._must_be_control()
        self._lib.eh_segment_write_notebook(self._hold, notebook, self._ffi.from_buffer(memory), len(memory))

    def read_notebook(self, notebook: int) -> bytes:
        """Return what a predecessor left, or nothing."""
        if self._notebook is None:
            self._notebook = self._ffi.new("char[]", self._lib.EH_NOTEBOOK_BYTES)
        n = self._lib.eh_segment_read_notebook(self._hold, notebook, self._notebook, len(self._notebook))
        return bytes(self._ffi.buffer(self._notebook, n))

    # ----------------------------------------------------------------------------------------------------- up

    def wait(self, timeout_s: float) -> bool:
        """Sleep until an observation comes; False when none did."""
        return bool(self._lib.eh_segment_wait(self._hold, int(timeout_s * 1000)))

    def skip_observations(self) -> None:
        """Forget what came while nobody listened."""
        self._must_be_control()
        self._lib.eh_segment_skip_observations(self._hold)

    def observations(self) -> Iterator[tuple[int, Observation]]:
        """Yield what is there, oldest first, each with the frame at its end; TypeError for those that only look."""
        self._must_be_control()
        while self._lib.eh_segment_take_observation(self._hold, self._record_pointer):
            yield int(self._record["frame"]), self._as_observation()

    def events(self) -> Iterator[Event]:
        """Yield what happened since the last call; they are taken, so TypeError for those that only look."""
        self._must_be_control()
        while self._lib.eh_segment_take_event(self._hold, self._event):
            e = self._event
            yield Event(frame=e.frame, time_ns=e.time_ns, kind=_EVENT_KINDS.get(e.kind, "other"), index=e.index,
                        value=e.value)  # fmt: skip

    def _must_be_control(self) -> None:
        """Stop one who only looks before it writes to pages that it may only read."""
        if not self._is_control:
            raise TypeError(f"{self.path}: opened to look at it; only the control process sets and takes")

    def latest(self) -> Observation | None:
        """Return the newest observation, whoever takes them from the ring."""
        if not self._lib.eh_segment_latest(self._hold, self._record_pointer):
            return None
        return self._as_observation()

    @property
    def is_analysis_behind(self) -> bool:
        """Whether the features of the last tick are not there yet."""
        if not self._lib.eh_segment_latest(self._hold, self._record_pointer):
            return True
        return bool(self._record["frame"] < self._read_status().last_frame)

    def params(self) -> NDArray[np.void] | None:
        """Return the snapshot that was published last."""
        params = np.zeros((), PARAMS_DTYPE)
        has_some = self._lib.eh_segment_params(self._hold, self._ffi.cast("eh_params *", params.ctypes.data))
        return params if has_some else None

    def status(self) -> LiveStatus:
        """Return counters, heartbeats and histograms. Any thread may ask."""
        s, lib = self._read_status(), self._lib
        if s is None:
            raise EvenhandError(f"{self.path}: is closed")
        names = {name.removeprefix("EH_COUNT_").lower(): getattr(lib, name) for name in dir(lib)
                 if name.startswith("EH_COUNT_")}  # fmt: skip
        return LiveStatus(
            counters={name: int(s.counter[index]) for name, index in names.items()},
            state=_state(s.state),
            trouble=self._ffi.string(s.trouble).decode(errors="replace"),
            secondary_state=_state(s.secondary_state),
            secondary_trouble=self._ffi.string(s.secondary_trouble).decode(errors="replace"),
            secondary_ppm=s.secondary_ppm_x1000 / 1000.0,
            engine_beat_ns=s.engine_beat_ns,
            control_beat_ns=s.control_beat_ns,
            control_frame=s.control_frame,
            last_frame=s.last_frame,
            engine_pid=s.engine_pid,
            control_pid=s.control_pid,
            is_realtime=bool(s.is_realtime),
            is_locked=bool(s.is_locked),
            round_trip_frames=s.round_trip_frames,
            wake_us=np.frombuffer(self._ffi.buffer(s.wake_us), np.uint32).copy(),
            service_us=np.frombuffer(self._ffi.buffer(s.service_us), np.uint32).copy(),
        )

    @property
    def is_control_behind(self) -> bool:
        """Whether control has not yet finished the last tick; not once this is closed. Any thread may ask."""
        status = self._read_status()
        return status is not None and bool(status.control_frame < status.last_frame)

    def _read_status(self) -> Any:
        """Return a status of the caller's own, or None when closed."""
        status = self._ffi.new("eh_live_status *")
        with self._open:
            if self._hold.segment == self._ffi.NULL:
                return None
            self._lib.eh_segment_status(self._hold, status)
        return status

    def _as_observation(self) -> Observation:
        record, n = self._record, self.n_channels
        return Observation(
            time_s=int(record["frame"]) / self.sample_rate_hz,
            features=record["features"][:n].copy(),
            mix_features=record["mix"].copy(),
            channel_meters=record["channels"][:n].copy(),
            bus_meters=record["buses"].copy(),
            loudness=Loudness(**{name: float(record["loudness"][name]) for name in Loudness.__dataclass_fields__}),
        )


_STATES = ("starting", "running", "no_card", "stopped")
_EVENT_KINDS = {1: "started", 2: "xrun", 3: "card_lost", 4: "card_back", 5: "healed", 6: "stopped",
                7: "secondary_lost", 8: "secondary_back"}  # fmt: skip


def _state(number: int) -> str:
    return _STATES[number] if 0 <= number < len(_STATES) else "unknown"


@dataclass(frozen=True, kw_only=True)
class LiveStatus:
    """What a status page shows. ``counters`` are named after ``eh_counter``; histograms count periods by bucket.

    ``secondary_state`` is "starting" where there is no second card; ``secondary_ppm``: how much faster its clock is.
    """

    counters: dict[str, int]
    state: str
    trouble: str
    secondary_state: str
    secondary_trouble: str
    secondary_ppm: float
    engine_beat_ns: int
    control_beat_ns: int
    control_frame: int
    last_frame: int
    engine_pid: int
    control_pid: int
    is_realtime: bool
    is_locked: bool
    round_trip_frames: int
    wake_us: NDArray[np.uint32]
    service_us: NDArray[np.uint32]


def percentile_us(histogram: NDArray[np.uint32], percent: float) -> float:
    """Return the time that ``percent`` of the counted periods stayed under, to a quarter of an octave."""
    total = int(histogram.sum())
    if total == 0:
        return 0.0
    bucket = int(np.searchsorted(np.cumsum(histogram), total * percent / 100.0))
    return bucket_upper_us(bucket)


def bucket_upper_us(bucket: int) -> float:
    """Return where a bucket of ``eh_segment_count_us`` ends."""
    octave, quarter = divmod(bucket + 1, 4)
    return float(2**octave * (1 + quarter / 4))
