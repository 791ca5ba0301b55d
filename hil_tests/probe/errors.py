"""What the probe says instead of a wrong figure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hil_tests.errors import HilError


class ProbeError(HilError):
    """The figure cannot be told from this recording; says which input, why and what to try."""


def checked(recorded: NDArray[np.floating], where: str, *, min_frames: int = 1) -> NDArray[np.float64]:
    """Return one channel as float64.

    Parameters
    ----------
    recorded
        ``(n_frames,)``.
    where
        How a person calls the channel: ``input 3``.

    Raises
    ------
    ProbeError
        When it is too short, holds what is no number, or nothing but zeros.
    """
    frames = np.asarray(recorded, dtype=np.float64)
    if frames.ndim != 1:
        raise ProbeError(f"{where}: one channel was expected, not an array of shape {frames.shape}")
    if len(frames) < min_frames:
        raise ProbeError(f"{where}: {len(frames)} frames are too few, {min_frames} are needed; record longer")
    n_bad = int(np.count_nonzero(~np.isfinite(frames)))
    if n_bad:
        raise ProbeError(f"{where}: {n_bad} frames are not numbers, the first is {int(np.argmin(np.isfinite(frames)))}")
    if not frames.any():
        raise ProbeError(f"nothing came back on {where}: digital silence; check patch, mutes and cable")
    return frames
