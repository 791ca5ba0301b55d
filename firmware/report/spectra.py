"""Spectra of the report: what came in, level-matched, beside what goes into the mix."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .collect import N_FFT, Collector
from .svg import COLOURS, to_svg

LOW_HZ, HIGH_HZ = 30.0, 18000.0
BANDS_PER_OCTAVE = 12  # points of a curve; each averages a third of an octave
RANGE_DB = 54.0
SILENT_POWER = 1e-9


def channel_spectra(collected: Collector) -> list[str]:
    """Draw one small figure a channel."""
    return [_small(collected, index, channel.name) for index, channel in enumerate(collected.channels)]


def mix_spectrum(collected: Collector) -> str:
    """Draw the plain sum of the session beside the mix."""
    figure = Figure(figsize=(10.8, 2.9))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.052, right=0.985, top=0.97, bottom=0.13)
    _draw(axes, collected, len(collected.channels))
    axes.set_xticks([50, 100, 200, 500, 1000, 2000, 5000, 10000], ["50", "100", "200", "500", "1k", "2k", "5k", "10k"])
    axes.set_ylabel("dB")
    return to_svg(figure, "mix-spectrum", "Spectrum of the plain sum and of the mix")


def third_octaves_db(
    power: NDArray[np.floating], sample_rate_hz: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre frequencies and the power in the third of an octave around each, in dB."""
    top_hz = min(HIGH_HZ, sample_rate_hz / 2 / 2 ** (1 / 6))
    centres_hz = LOW_HZ * 2.0 ** (np.arange(0, np.log2(top_hz / LOW_HZ) * BANDS_PER_OCTAVE) / BANDS_PER_OCTAVE)
    edges_bin = (np.arange(len(power) + 1) - 0.5) * sample_rate_hz / N_FFT
    below = np.concatenate([[0.0], np.cumsum(power)])
    width = 2.0 ** (1 / 6)
    in_band = np.interp(centres_hz * width, edges_bin, below) - np.interp(centres_hz / width, edges_bin, below)
    return centres_hz, 10.0 * np.log10(np.maximum(in_band, 1e-12))


def _small(collected: Collector, index: int, name: str) -> str:
    figure = Figure(figsize=(3.3, 1.75))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.02, right=0.98, top=0.98, bottom=0.17)
    _draw(axes, collected, index)
    axes.set_xticks([100, 1000, 10000], ["100", "1k", "10k"])
    axes.set_yticklabels([])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return to_svg(figure, f"spectrum{index}", f"Spectrum of {name}, before and after")


def _draw(axes: Axes, collected: Collector, row: int) -> None:
    before, after = collected.before[row], collected.after[row]
    freq_hz, after_db = third_octaves_db(after, collected.sample_rate_hz)
    _, before_db = third_octaves_db(before, collected.sample_rate_hz)
    has_before, has_after = before.sum() > SILENT_POWER, after.sum() > SILENT_POWER
    if has_before and has_after:
        before_db = before_db + 10.0 * np.log10(after.sum() / before.sum())
    top_db = max(after_db.max() if has_after else -200.0, before_db.max() if has_before else -200.0) + 4.0
    axes.set_xscale("log")
    axes.set(xlim=(LOW_HZ, HIGH_HZ), ylim=(-RANGE_DB, 0.0))
    axes.set_yticks(np.arange(-RANGE_DB + 6, 0.0, 12.0))
    axes.minorticks_off()
    if has_before:
        shown = np.maximum(before_db - top_db, -RANGE_DB)
        axes.fill_between(freq_hz, -RANGE_DB, shown, color=COLOURS["fill"], linewidth=0)
        axes.plot(freq_hz, shown, color=COLOURS["soft"], linewidth=0.8)
    if has_after:
        axes.plot(freq_hz, np.maximum(after_db - top_db, -RANGE_DB), color=COLOURS["accent"], linewidth=1.7)
    if not has_before and not has_after:
        axes.text(0.5, 0.5, "silent", transform=axes.transAxes, ha="center", va="center", color=COLOURS["soft"])
