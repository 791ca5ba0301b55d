"""The words of a virtual card, and what it counts: one snapshot, frames in card frames."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

STATES = ("closed", "open", "prepared", "running")


class Direction(enum.IntEnum):
    """The two halves of a card; values as in C."""

    CAPTURE = 0
    PLAYBACK = 1


class Fault(enum.IntEnum):
    """What can befall a stream; values as in C."""

    XRUN = 1
    SUSPEND = 2
    SHORT_TRANSFER = 3
    LATE_WAKE = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class DirectionReport:
    """One direction: where it stands and what it has seen. Frames are card frames."""

    state: str
    owner_pid: int
    start_frame: int
    appl_frame: int
    wait_frame: int
    n_opens: int
    n_starts: int
    n_wakes: int
    n_late_wakes: int
    max_late_frames: int
    n_xruns: int
    n_injected_xruns: int
    n_short_transfers: int
    n_suspends: int
    n_scheduled_left: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CardReport:
    """The whole card at one moment; ``n_waits`` counts how often its clock waited for tape or recorder."""

    frame: int
    fed_frame: int
    taken_frame: int
    n_waits: int
    waited_frames: int
    has_begun: bool
    is_plugged: bool
    sample_rate_hz: int
    capture: DirectionReport
    playback: DirectionReport


def report_of(raw: Any) -> CardReport:
    """Return the report that C has written into an ``eh_world_report``."""
    values: dict[str, Any] = {f.name: getattr(raw, f.name) for f in dataclasses.fields(CardReport)}
    values["has_begun"], values["is_plugged"] = bool(raw.has_begun), bool(raw.is_plugged)
    values["capture"], values["playback"] = _direction_of(raw.capture), _direction_of(raw.playback)
    return CardReport(**values)


def _direction_of(raw: Any) -> DirectionReport:
    values: dict[str, Any] = {f.name: getattr(raw, f.name) for f in dataclasses.fields(DirectionReport)}
    values["state"] = STATES[raw.state]
    return DirectionReport(**values)
