"""What a clean stem says about itself, tick by tick: power, activity, loudness."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from .performance import SAMPLE_RATE_HZ

TICK_FRAMES = SAMPLE_RATE_HZ // 50
SILENCE_POWER = 1e-10
ACTIVE_UNDER_LOUDNESS_DB = 30.0  # what lies deeper under a source's own loudness is its decay, its breath, its room
GAP_TICKS = 10  # a pause of less than 0.2 s does not end what sounds
GATE_LU = 10.0  # ITU-R BS.1770-4: relative gate
# ITU-R BS.1770-4, table 1 and 2, for 48 kHz: the shelf of the head, then the high-pass.
_K_SOS = np.array([
    [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
    [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
])  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StemTruth:
    """Of one stem.

    Attributes
    ----------
    k_power
        ``(n_ticks,)`` float64: K-weighted mean square, summed over left and right.
    is_active
        ``(n_ticks,)`` bool.
    loudness_lufs
        Gated; -100 when it never sounds.
    spread_db
        Between its usual and its loud ticks: 95th percentile less median of what is active.
    """

    k_power: NDArray[np.float64]
    is_active: NDArray[np.bool_]
    loudness_lufs: float
    spread_db: float

    def louder(self, gain_db: float) -> StemTruth:
        """Return the truth about the same stem with a gain."""
        return replace(
            self,
            k_power=self.k_power * 10.0 ** (gain_db / 10.0),
            loudness_lufs=self.loudness_lufs + gain_db,
        )


def k_power(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the K-weighted power of every tick of ``(n_frames, n_lanes)``, summed over lanes."""
    n_ticks = len(audio) // TICK_FRAMES
    power = np.zeros(n_ticks)
    for lane in audio.T:
        weighted = scipy.signal.sosfilt(_K_SOS, lane)[: n_ticks * TICK_FRAMES]
        ticks = weighted.reshape(n_ticks, TICK_FRAMES)
        power += np.einsum("tf,tf->t", ticks, ticks, dtype=np.float64) / TICK_FRAMES
    return power


def gated_lufs(power: NDArray[np.float64]) -> float:
    """Return the loudness of 400 ms blocks over both gates of BS.1770-4; -100 when there are none."""
    if len(power) == 0:
        return -100.0
    kernel = np.full(min(20, len(power)), 1.0 / min(20, len(power)))
    blocks = np.convolve(power, kernel, "valid")[::5]
    blocks = blocks[blocks > 10.0 ** ((-70.0 + 0.691) / 10.0)]
    if len(blocks) == 0:
        return -100.0
    blocks = blocks[blocks > blocks.mean() * 10.0 ** (-GATE_LU / 10.0)]
    return float(-0.691 + 10.0 * np.log10(blocks.mean()))


def stem_truth(audio: NDArray[np.float32]) -> StemTruth:
    """Measure a clean stem, ``(n_frames, 1 or 2)``, of any level."""
    peak = float(np.abs(audio).max(initial=0.0))
    power = k_power(audio)
    scale_db = 20.0 * np.log10(peak) if peak > 1e-6 else 0.0  # the absolute gate must not depend on a stem's level
    loudness = gated_lufs(power * 10.0 ** (-scale_db / 10.0)) + scale_db if peak > 1e-6 else -100.0
    if loudness <= -99.0:
        return StemTruth(k_power=power, is_active=np.zeros(len(power), bool), loudness_lufs=-100.0, spread_db=0.0)
    smooth = np.convolve(power, np.full(3, 1.0 / 3.0), "same")
    is_active = smooth > 10.0 ** ((loudness + 0.691 - ACTIVE_UNDER_LOUDNESS_DB) / 10.0)
    is_active = _without_gaps(is_active)
    level_db = 10.0 * np.log10(power[is_active] + SILENCE_POWER)
    spread = float(np.percentile(level_db, 95) - np.median(level_db)) if level_db.size else 0.0
    return StemTruth(k_power=power, is_active=is_active, loudness_lufs=loudness, spread_db=spread)


def _without_gaps(is_active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_active, [False]]).astype(np.int8)))
    closed = is_active.copy()
    for end, begin in zip(edges[1::2], edges[2::2], strict=False):
        if begin - end < GAP_TICKS:
            closed[end:begin] = True
    return closed


def k_weight(n_bins: int) -> NDArray[np.float64]:
    """Return the power response of the K-weighting at the bins of a real FFT of ``2 (n_bins - 1)`` frames."""
    _, weight = scipy.signal.sosfreqz(_K_SOS, np.pi * np.arange(n_bins) / (n_bins - 1))
    return np.abs(weight) ** 2
