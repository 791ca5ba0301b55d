"""Whether sound is passing: a show is on, and nothing that interrupts it is done unasked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..errors import EvenhandError
from ..segment import LiveStatus, Segment, SegmentAbsentError

SOUNDING_DBFS = -50.0  # peak of any output: a room that waits with open microphones stays under it, speech does not
QUIET_S = 60.0  # as long after the last sound it may have been a pause
BEAT_S = 1.0  # an engine that was heard of no later than that


class Ear:
    """Looks at the meters of the engine, a few times a second.

    Parameters
    ----------
    segment
        The engine's shared memory.
    clock
        Seconds that only grow, as the engine's heartbeat counts them.
    """

    def __init__(self, segment: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = segment, clock
        self._segment: Segment | None = None
        self._sounded_s: float | None = None
        self.trouble: str | None = None  # why nothing can be heard, where there is an engine
        self.peak_dbfs: float | None = None
        self.engine_state = "absent"

    def listen(self) -> None:
        """Look once."""
        self.peak_dbfs, self.trouble = None, None
        try:
            segment = self._attached()
        except SegmentAbsentError:
            self.engine_state = "absent"
            return
        except EvenhandError as error:
            self.engine_state, self.trouble = "unknown", str(error)
            return
        status = segment.status()
        self.engine_state = status.state
        seen = segment.latest()
        if seen is None or self._clock() - status.engine_beat_ns / 1e9 > BEAT_S:
            return
        self.peak_dbfs = float(seen.bus_meters["peak_dbfs"].max())
        if self.peak_dbfs > SOUNDING_DBFS:
            self._sounded_s = self._clock()

    @property
    def why_not_now(self) -> str | None:
        """Why an interruption would be heard, or None when it would not."""
        if self.trouble:
            return f"cannot tell whether sound is passing ({self.trouble})"
        if self._sounded_s is None or (ago_s := self._clock() - self._sounded_s) > QUIET_S:
            return None
        return f"sound is passing (the last {ago_s:.0f} s ago)"

    def status(self) -> LiveStatus | None:
        """Return what the engine says of itself, or None where there is none."""
        return self._segment.status() if self._segment else None

    def close(self) -> None:
        """Let go of the engine's memory."""
        if self._segment:
            self._segment.close()
        self._segment = None

    def _attached(self) -> Segment:
        if self._segment and not self._segment.is_current:
            self.close()
        if self._segment is None:
            self._segment = Segment(self._path, is_control=False)
        return self._segment
