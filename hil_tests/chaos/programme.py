"""What is played to a box in chaos, and what must come back of it: a code on each input, mixed by faders that stand.

Main left is the sum of all channels, each at its own level. So every frame of it shows whether one was lost, repeated
or changed, and whether a single fader moved by a hundredth of a decibel. The first aux bus carries channel 1 alone:
there the probe can say what became of a frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hil_tests.errors import HilError
from hil_tests.probe.dropouts import find_dropouts
from hil_tests.probe.errors import ProbeError
from hil_tests.probe.frame_code import PEAK_LIN, PERIOD_FRAMES, code
from hil_tests.scene import Value, scene_toml

SHIFT_FRAMES = 100003  # between the codes of two channels: no two are alike for long
MAX_BLOCK_FRAMES = 48000
TOLERANCE_LIN = 1e-5  # sums of float32; a fader that moves 0.01 dB changes ten times as much
MOVED_DB = 0.001
FIRST_FADER_DB, STEP_DB, N_STEPS = -6.0, -1.0, 12
LISTEN_FRAMES = 24000  # to find the way through the box


class Programme:
    """Sound in and sound expected, for a box of ``n_inputs``."""

    def __init__(self, n_inputs: int) -> None:
        self.n_inputs = n_inputs
        self.fader_db = [FIRST_FADER_DB + STEP_DB * (ch % N_STEPS) for ch in range(n_inputs)]
        self._gain_lin = (10.0 ** (np.array(self.fader_db) / 20.0)).astype(np.float32)
        self._code = np.concatenate([code(), code()[:MAX_BLOCK_FRAMES]]) * np.float32(PEAK_LIN)

    def scene(self) -> str:
        """Return the mixer that it is meant for."""
        strips: list[dict[str, Value]] = [{"fader.level_db": db, "pan.position": -1.0} for db in self.fader_db]
        strips[0]["send.1.level_db"] = 0.0
        return scene_toml(strips)

    def played(self, place: int, n_frames: int) -> NDArray[np.float32]:
        """Return what goes in from a place of the code on, (n_frames, n_inputs)."""
        starts = [(place + ch * SHIFT_FRAMES) % PERIOD_FRAMES for ch in range(self.n_inputs)]
        return np.stack([self._code[start : start + n_frames] for start in starts], axis=1)

    def expected(self, place: int, n_frames: int) -> NDArray[np.float32]:
        """Return what main left must play for it, (n_frames,), without the way through the box."""
        return self.played(place, n_frames) @ self._gain_lin

    def wrong_frames(self, heard: NDArray[np.float32], place: int) -> NDArray[np.intp]:
        """Return which frames of main left are not the expected ones from ``place`` on."""
        return np.flatnonzero(~(np.abs(heard - self.expected(place, len(heard))) <= TOLERANCE_LIN))

    def moved(self, heard: NDArray[np.float32], place: int) -> list[str]:
        """Return which faders stand elsewhere, when it is all that differs: nothing where frames are wrong too."""
        played = self.played(place, len(heard))
        gain_lin = np.linalg.lstsq(played, heard, rcond=None)[0]
        if np.abs(heard - played @ gain_lin).max() > TOLERANCE_LIN:
            return []
        got_db = 20.0 * np.log10(np.maximum(np.abs(gain_lin), 1e-6))
        pairs = enumerate(zip(got_db, self.fader_db, strict=True), start=1)
        return [f"channel {ch} at {got:.2f} dB, not {db:.2f} dB" for ch, (got, db) in pairs if abs(got - db) > MOVED_DB]

    def way_frames(self, play: Callable[[NDArray[np.float32]], NDArray[np.float32]], most: int) -> int:
        """Return how long sound takes through the box.

        Raises
        ------
        HilError
            When what comes back is not the programme, at up to ``most`` frames.
        """
        heard = play(self.played(0, LISTEN_FRAMES))
        late = LISTEN_FRAMES // 2
        for way in range(most + 1):
            if not len(self.wrong_frames(heard[late:], late - way)):
                return way
        raise HilError(f"what comes back is not what was set, at any delay up to {most} frames")


def what_became(channel_1: NDArray[np.float32], first_frame: int) -> str:
    """Say what the probe sees in the end of what was heard on the first aux bus, from ``first_frame`` on."""
    try:
        found = find_dropouts(channel_1)
    except ProbeError as error:
        return str(error)
    where = f"heard from frame {first_frame} of the run on"
    return f"{found.line()} ({where})" if found.n_slips else "every frame of channel 1 is there: a level changed"
