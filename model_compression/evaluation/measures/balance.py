"""Who is how loud in a mix, whether the lead stands out, and who is covered by the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from dsp_kernels.reference.masking import masked

from .framing import Array, as_stereo, frames_of
from .loudness import SILENCE_LUFS, measure

HEARD_LUFS = -70.0
# Critical bands after Zwicker.
BARK_EDGES_HZ = np.array([
    0, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300,
    6400, 7700, 9500, 12000, 15500.0,
])  # fmt: skip
MASKING_FRAME_S = 0.4
ACTIVE_RANGE_DB = 40.0


@dataclass(frozen=True, kw_only=True)
class Masking:
    """Share of each channel's power that the others cover, 0 to 1; ``nan`` for a silent channel."""

    by_channel: Array
    worst_lead: float

    @property
    def mean(self) -> float:
        """Mean over the channels that sound."""
        return float(np.nanmean(self.by_channel))


def levels_lu(strips: list[NDArray[np.floating]], mix: NDArray[np.floating], rate_hz: float) -> Array:
    """Return the loudness of each strip ``(n_frames, 1 or 2)`` relative to the mix; ``nan`` where it is silent."""
    of_mix = measure(mix, rate_hz).integrated_lufs
    levels = np.array([measure(strip, rate_hz).integrated_lufs for strip in strips])
    return np.where(levels > HEARD_LUFS, levels - of_mix, np.nan)


def balance_error_lu(mine_lu: Array, truth_lu: Array) -> float:
    """Return the mean absolute difference of levels over channels that both know."""
    known = np.isfinite(mine_lu) & np.isfinite(truth_lu)
    return float(np.mean(np.abs(mine_lu[known] - truth_lu[known]))) if known.any() else float("nan")


def order_tau(mine_lu: Array, truth_lu: Array) -> float:
    """Return Kendall's tau of the order of the channels: 1 the same, -1 upside down."""
    known = np.isfinite(mine_lu) & np.isfinite(truth_lu)
    return float(kendalltau(mine_lu[known], truth_lu[known]).statistic) if known.sum() >= 2 else float("nan")


def lead_to_band_lu(strips: list[NDArray[np.floating]], is_lead: list[bool], rate_hz: float) -> float:
    """Return the loudness of the leads over that of all others, ``nan`` where either is missing."""
    parts = [[s for s, lead in zip(strips, is_lead, strict=True) if lead is wanted] for wanted in (True, False)]
    if not all(parts):
        return float("nan")
    lead, band = (measure(np.sum([as_stereo(s) for s in part], axis=0), rate_hz).integrated_lufs for part in parts)
    return lead - band if min(lead, band) > SILENCE_LUFS else float("nan")


def bark_powers(x: NDArray[np.floating], rate_hz: float) -> Array:
    """Return the power in each critical band over time, ``(n, 24)``, frames of 0.4 s."""
    n = int(MASKING_FRAME_S * rate_hz)
    framed = frames_of(as_stereo(x), n, n)
    freq_hz = np.fft.rfftfreq(n, 1 / rate_hz)
    edges = np.searchsorted(freq_hz, BARK_EDGES_HZ)
    window = np.hanning(n)[:, None]
    return np.stack(
        [
            np.add.reduceat(np.sum(np.abs(np.fft.rfft(frame * window, axis=0)) ** 2, axis=1)[: edges[-1]], edges[:-1])
            for frame in framed
        ]
    )


def masking(strips: list[NDArray[np.floating]], is_lead: list[bool], rate_hz: float) -> Masking:
    """Return what is covered while it sounds: within 40 dB of its own loudest frame."""
    power = np.stack([bark_powers(strip, rate_hz) for strip in strips], axis=1)  # (n, channels, 24)
    level = power.sum(axis=2)
    is_active = (level > level.max(axis=0) * 10 ** (-ACTIVE_RANGE_DB / 10)) & (level > 0)
    with np.errstate(invalid="ignore"):  # shares of a sum that is silent: not asked for here
        fraction = np.array([masked(frame)[0] for frame in power])
    counted = is_active.sum(axis=0)
    mean = np.where(counted > 0, np.sum(fraction * is_active, axis=0) / np.maximum(counted, 1), np.nan)
    leads = mean[np.array(is_lead, bool)]
    worst = float(np.nanmax(leads)) if np.isfinite(leads).any() else float("nan")
    return Masking(by_channel=mean, worst_lead=worst)
