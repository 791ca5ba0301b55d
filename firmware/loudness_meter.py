"""A BS.1770 meter over stereo sound from anywhere: the kernel that the engine measures its record bus with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, Library

from .engine import engine_extension
from .observation import Loudness


class LoudnessMeter:
    """Measures one programme, however long."""

    def __init__(self, sample_rate_hz: float) -> None:
        library = Library(*engine_extension())
        self._kernel = Kernel(library, "loudness", sample_rate_hz, size_arguments=(sample_rate_hz,))

    def hear(self, stereo: NDArray[np.float32]) -> None:
        """Take the next frames, shape ``(n_frames, 2)``."""
        stereo = np.ascontiguousarray(stereo, np.float32)
        self._kernel.call("process", self._kernel.pointer(stereo), 2, 0, len(stereo))

    def read(self) -> Loudness:
        """Return the reading after what was heard."""
        reading = self._kernel.call("read")
        return Loudness(**{name: getattr(reading, name) for name in Loudness.__dataclass_fields__})
