"""Strips of the C kernels over whole stems, several settings of a channel at once, block by block.

A lane of a bank is one setting of one side; so the derivative of a strip by a setting is the difference of two lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import TONE_REGIONS_HZ
from dsp_kernels.native import Kernel, Library

LANES_PER_VECTOR = 4
BELL = 1
TONE_Q = 0.9
KNEE_DB = 6.0
Lanes = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one strip does: four bells at TONE_REGIONS_HZ, then the compressor without make-up."""

    tone_db: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    threshold_dbfs: float = -18.0
    ratio: float = 1.0
    attack_ms: float = 10.0
    release_ms: float = 120.0


class StripBank:
    """One channel at several settings.

    Parameters
    ----------
    settings
        One a variant.
    n_sides
        1, or 2 for a stereo channel, whose sides share the detector.
    has_compressor
        False leaves the compressor out.
    """

    def __init__(
        self,
        library: Library,
        sample_rate_hz: float,
        settings: Sequence[Settings],
        *,
        n_sides: int,
        has_compressor: bool,
    ) -> None:
        self.n_sides, self.n_variants = n_sides, len(settings)
        n_used = n_sides * len(settings)
        self.n_lanes = -(-n_used // LANES_PER_VECTOR) * LANES_PER_VECTOR
        n_bands = len(TONE_REGIONS_HZ)
        sizes = (self.n_lanes, n_bands)
        self._eq = Kernel(library, "eq", sample_rate_hz, *sizes, size_arguments=sizes)
        self._compressor = (
            Kernel(library, "compressor", sample_rate_hz, self.n_lanes, size_arguments=(self.n_lanes,))
            if has_compressor
            else None
        )
        for lane in range(n_used):
            self._set(lane, settings[lane // n_sides])
        if self._compressor is not None:
            for even in range(0, n_used if n_sides == 2 else 0, 2):
                self._compressor.call("link", even, 1)
            self._compressor.call("reset")
        self._eq.call("reset")

    def _set(self, lane: int, one: Settings) -> None:
        for band, (freq_hz, gain_db) in enumerate(zip(TONE_REGIONS_HZ, one.tone_db, strict=True)):
            design = self._eq.ffi.new("eh_section_design *", [BELL, freq_hz, gain_db, TONE_Q])
            self._eq.call("set", lane, band, design, 0.0)
        if self._compressor is not None:
            _, threshold_dbfs, ratio, attack_ms, release_ms = astuple(one)
            params = self._compressor.params(
                "compressor", is_on=1, threshold_dbfs=threshold_dbfs, ratio=ratio, knee_db=KNEE_DB,
                attack_ms=attack_ms, release_ms=release_ms,
            )  # fmt: skip
            self._compressor.call("set", lane, params)

    def process(self, x: NDArray[np.float32]) -> Lanes:
        """Return the next block ``(n_frames, n_sides)`` at each setting: ``(n_frames, n_variants, n_sides)``."""
        lanes = np.zeros((len(x), self.n_lanes), np.float32)
        n_used = self.n_variants * self.n_sides
        lanes[:, :n_used] = np.tile(x, (1, self.n_variants))
        out = self._eq.process(lanes)
        if self._compressor is not None:
            out = self._compressor.process(out)
        return out[:, :n_used].reshape(len(x), self.n_variants, self.n_sides)
