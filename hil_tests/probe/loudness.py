"""Integrated loudness of a recording, ITU-R BS.1770-5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyloudnorm
from numpy.typing import NDArray

from .errors import ProbeError

_BLOCK_S = 0.4
_GATE_LUFS = -70.0


@dataclass(frozen=True, kw_only=True)
class Loudness:
    """How loud a mono or stereo recording is."""

    NAME: ClassVar[str] = "loudness"

    where: str
    integrated_lufs: float
    peak_dbfs: float

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        return {"integrated_lufs": self.integrated_lufs, "peak_dbfs": self.peak_dbfs}

    def line(self) -> str:
        """Return it in one line."""
        return f"{self.where}: {self.integrated_lufs:.1f} LUFS, peak {self.peak_dbfs:.1f} dBFS"


def measure_loudness(recorded: NDArray[np.floating], sample_rate_hz: int, *, where: str = "output") -> Loudness:
    """Measure a mix. ``recorded`` is ``(n_frames,)`` or ``(n_frames, 2)``.

    Raises
    ------
    ProbeError
        When it is shorter than one gating block, or all of it lies under the absolute gate.
    """
    frames = np.asarray(recorded, dtype=np.float64)
    if len(frames) < _BLOCK_S * sample_rate_hz:
        raise ProbeError(
            f"{where}: {len(frames) / sample_rate_hz:.2f} s are too short for loudness; record 0.4 s or more"
        )
    if not np.isfinite(frames).all():
        raise ProbeError(f"{where}: holds frames that are not numbers")
    peak = float(np.max(np.abs(frames)))
    loudness = pyloudnorm.Meter(sample_rate_hz).integrated_loudness(frames) if peak > 0 else -np.inf
    if not loudness > _GATE_LUFS:
        raise ProbeError(f"{where}: all of it lies under {_GATE_LUFS:.0f} LUFS; it has no loudness")
    return Loudness(where=where, integrated_lufs=float(loudness), peak_dbfs=float(20.0 * np.log10(peak)))
