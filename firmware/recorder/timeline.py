"""Where a frame of the engine lies in the recording: the two counts part wherever a sound card lost frames."""

from __future__ import annotations

from bisect import bisect_right

MAX_PIECES = 4096  # gaps back to which a late marker still finds its place


class Timeline:
    """Pieces in which both counts run in step, each from where it begins."""

    def __init__(self, frame: int, max_pieces: int = MAX_PIECES) -> None:
        self._pieces = [(frame, 0)]
        self._max_pieces = max_pieces

    def jump(self, frame: int, position_frames: int) -> None:
        """From here on, the engine's ``frame`` lies at ``position_frames``."""
        if frame < self._pieces[-1][0]:  # another run of the engine: its counts mean nothing any more
            self._pieces.clear()
        self._pieces.append((frame, position_frames))
        del self._pieces[: -self._max_pieces]

    def position(self, frame: int) -> int | None:
        """Return where ``frame`` lies, or None when that was before all that is known."""
        index = bisect_right(self._pieces, frame, key=lambda piece: piece[0]) - 1
        if index < 0:
            return None
        first_frame, position_frames = self._pieces[index]
        return position_frames + frame - first_frame
