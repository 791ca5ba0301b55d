"""Loudness after BS.1770-4 and EBU 3342, true peak and peak-to-loudness ratio, by the meter that the box has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, installed

from .framing import as_stereo

SILENCE_LUFS = -100.0


@dataclass(frozen=True, kw_only=True)
class Loudness:
    """Of one programme."""

    integrated_lufs: float
    loudness_range_lu: float
    true_peak_dbtp: float

    @property
    def peak_to_loudness_lu(self) -> float:
        """PLR: true peak over integrated loudness."""
        return self.true_peak_dbtp - self.integrated_lufs


def measure(x: NDArray[np.floating], rate_hz: float) -> Loudness:
    """Return the figures of ``(n_frames,)`` or ``(n_frames, 1 or 2)``; mono counts as panned to the centre."""
    kernel = Kernel(installed(), "loudness", float(rate_hz), size_arguments=(float(rate_hz),))
    frames = np.ascontiguousarray(as_stereo(x), np.float32)
    kernel.call("process", kernel.pointer(frames), 2, 0, len(frames))
    reading = kernel.call("read")
    return Loudness(
        integrated_lufs=reading.integrated_lufs,
        loudness_range_lu=reading.loudness_range_lu,
        true_peak_dbtp=reading.true_peak_dbtp,
    )


def at_loudness(x: NDArray[np.floating], rate_hz: float, target_lufs: float) -> NDArray[np.float64]:
    """Return the stereo of ``x`` scaled to a loudness; silence stays."""
    level = measure(x, rate_hz).integrated_lufs
    gain_db = target_lufs - level if level > SILENCE_LUFS else 0.0
    return as_stereo(x) * 10 ** (gain_db / 20)
