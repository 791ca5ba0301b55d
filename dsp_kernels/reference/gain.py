"""Twin of ``gain.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ramp(start_lin: float, target_lin: float, n_ramp: int, n_frames: int) -> NDArray[np.float64]:
    """Return the gain of each frame: a straight line that reaches the target with frame ``n_ramp``."""
    n = np.arange(1, n_frames + 1)
    return start_lin + (target_lin - start_lin) * np.minimum(n / n_ramp, 1.0)
