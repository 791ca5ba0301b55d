"""What an input holds while nothing is played."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import ProbeError, checked
from .levels import SILENCE_DBFS, band_power, level_dbfs, power_dbfs

MIN_S = 0.5
MAX_NOISE_DBFS = -30.0  # louder than this is a signal


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """Noise from 20 Hz to 20 kHz. -200 stands for digital silence."""

    NAME: ClassVar[str] = "noise"

    where: str
    noise_dbfs: float
    noise_a_dbfs: float
    mean_lin: float

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on."""
        return {"noise_dbfs": self.noise_dbfs, "noise_a_dbfs": self.noise_a_dbfs, "mean_lin": self.mean_lin}

    def line(self) -> str:
        """Return it in one line."""
        if self.noise_dbfs <= SILENCE_DBFS:
            return f"{self.where}: digital silence"
        return f"{self.where}: noise {self.noise_dbfs:.1f} dBFS, {self.noise_a_dbfs:.1f} dBFS A-weighted"


def measure_noise(recorded: NDArray[np.floating], sample_rate_hz: float, *, where: str = "input") -> NoiseFloor:
    """Measure what is left when silence is played.

    Parameters
    ----------
    recorded
        ``(n_frames,)``, half a second or more.

    Raises
    ------
    ProbeError
        When it is too short, or so loud that something is playing.
    """
    raw = np.asarray(recorded, dtype=np.float64)
    min_frames = round(MIN_S * sample_rate_hz)
    if len(raw) >= min_frames and not raw.any():
        return NoiseFloor(where=where, noise_dbfs=SILENCE_DBFS, noise_a_dbfs=SILENCE_DBFS, mean_lin=0.0)
    frames = checked(raw, where, min_frames=min_frames)
    if (loud_dbfs := level_dbfs(frames - np.mean(frames))) > MAX_NOISE_DBFS:
        raise ProbeError(f"{where}: {loud_dbfs:.1f} dBFS is no noise floor; something is playing or oscillating")
    return NoiseFloor(
        where=where,
        noise_dbfs=power_dbfs(band_power(frames, sample_rate_hz)),
        noise_a_dbfs=power_dbfs(band_power(frames, sample_rate_hz, is_a_weighted=True)),
        mean_lin=float(np.mean(frames)),
    )
