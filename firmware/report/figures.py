"""The figures of the report over time and over channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from .collect import Collector
from .families import FAMILIES, family
from .svg import COLOURS, to_svg
from .wording import clock

WIDTH_IN = 10.8
POINTS_PER_INCH = 72.0
NAME_WIDTH_IN = 1.55  # left of figures with a row for each channel
ROW_IN = 0.42
GAIN_FLOOR_DB, GAIN_TOP_DB = -30.0, 12.0
MAX_DOTS = 1500
BREAK_COLUMNS = 600  # a break is drawn at least that part of the time wide; those closer become one


def overview(collected: Collector, target_lufs: float, integrated_lufs: float) -> str:
    """Draw the waveform of the mix above its loudness over time."""
    figure = Figure(figsize=(WIDTH_IN, 4.3))
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 1.75], "hspace": 0.1})
    figure.subplots_adjust(left=0.052, right=0.985, top=0.985, bottom=0.1)
    wave_s = (np.arange(len(collected.wave)) + 0.5) * collected.duration_s / len(collected.wave)
    top.fill_between(wave_s, collected.wave[:, 0], collected.wave[:, 1], color=COLOURS["accent"], linewidth=0.3)
    limit = max(0.05, float(np.abs(collected.wave).max()) * 1.08)
    top.set(ylim=(-limit, limit), yticks=[])
    top.grid(visible=False)
    top.spines[:].set_visible(False)
    top.tick_params(length=0)
    _breaks(top, collected)
    times_s = collected.times_s()
    momentary, short_term = collected.momentary_lufs[: len(times_s)], collected.short_term_lufs[: len(times_s)]
    floor = target_lufs - 24.0
    bottom.fill_between(times_s, floor, np.maximum(_shown(momentary, floor), floor), color=COLOURS["fill"], linewidth=0)
    bottom.plot(times_s, _shown(momentary, floor), color=COLOURS["soft"], linewidth=0.7)
    bottom.plot(times_s, _shown(short_term, floor), color=COLOURS["accent"], linewidth=1.9)
    bottom.axhline(target_lufs, color=COLOURS["warm"], linewidth=1.2, dashes=(5, 3))
    top_lufs = max(target_lufs + 8.0, float(np.nanmax(momentary, initial=-200.0)) + 2.0)
    bottom.set(ylim=(floor, top_lufs), ylabel="LUFS")
    bottom.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    _breaks(bottom, collected)
    _over_time(bottom, collected.duration_s)
    label = f"Waveform and loudness over time; integrated {integrated_lufs:.1f} LUFS, target {target_lufs:.1f} LUFS"
    return to_svg(figure, "overview", label)


def gains(collected: Collector) -> str:
    """Draw, a row for each channel, the gain it gets over time above its level."""
    n_rows, times_s = len(collected.channels), collected.times_s()
    figure, axes = _rows_figure(n_rows, [c.name for c in collected.channels], collected.duration_s)
    for row in range(n_rows):
        gain_db = (collected.fader_db + collected.sharing_db)[: len(times_s), row]
        offset = np.clip(gain_db, GAIN_FLOOR_DB, GAIN_TOP_DB) / (GAIN_TOP_DB - GAIN_FLOOR_DB) * 0.84
        unity = row - 0.18  # axes point down: less gain lies lower
        level = np.clip((collected.level_dbfs[: len(times_s), row] + 60.0) / 60.0, 0.0, 1.0) * 0.8
        axes.fill_between(times_s, row + 0.44, row + 0.44 - level, color=COLOURS["fill"], linewidth=0)
        axes.axhline(unity, color=COLOURS["line"], linewidth=0.7)
        axes.fill_between(times_s, unity, unity - offset, where=offset < 0, color=COLOURS["warm"], alpha=0.22, lw=0)
        axes.fill_between(times_s, unity, unity - offset, where=offset > 0, color=COLOURS["accent"], alpha=0.22, lw=0)
        axes.plot(times_s, unity - offset, color=COLOURS["ink"], linewidth=0.9)
    _breaks(axes, collected)
    return to_svg(figure, "gains", "Gain of each channel over time")


def masking(collected: Collector) -> str:
    """Draw, a pair of bars for each channel, how much of it is masked without control and with it."""
    before, after = collected.masking() * 100.0
    n_rows = len(collected.channels)
    figure, axes = _rows_figure(n_rows, [c.name for c in collected.channels], 100.0)
    rows = np.arange(n_rows)
    axes.barh(rows - 0.17, np.nan_to_num(before), height=0.26, color=COLOURS["soft"], alpha=0.45, linewidth=0)
    axes.barh(rows + 0.17, np.nan_to_num(after), height=0.3, color=COLOURS["accent"], linewidth=0)
    for row in rows:
        if np.isnan(before[row]):
            axes.text(0.8, row, "not heard", va="center", fontsize=8.5, color=COLOURS["soft"])
            continue
        at = max(before[row], after[row]) + 0.8
        axes.text(at, row, f"{before[row]:.0f} → {after[row]:.0f} %", va="center", fontsize=8.5, color=COLOURS["ink"])
    axes.set_xlim(0, 108)
    axes.set_xticks([0, 25, 50, 75, 100], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    return to_svg(figure, "masking", "Masked share of each channel, without control and with it")


def timeline(decisions: Sequence[dict[str, Any]], collected: Collector) -> str:
    """Draw a dot for each decision in the row of its channel; pointing at it tells the reason."""
    names = [c.name for c in collected.channels]
    is_elsewhere = any(d["scope"] != "channel" for d in decisions)
    rows = [*names, "buses, effects"] if is_elsewhere else names
    figure, axes = _rows_figure(len(rows), rows, collected.duration_s, row_in=0.34)
    _breaks(axes, collected)
    shown = _spread(decisions, MAX_DOTS)
    for kind in FAMILIES:
        dots = [d for d in shown if family(d["parameter"]) == kind]
        at = [(d["time_s"], d["index"] if d["scope"] == "channel" else len(names)) for d in dots]
        if at:
            axes.plot(
                *zip(*at, strict=True), "o", markersize=5.2, markeredgewidth=0, alpha=0.8,
                color=COLOURS[kind], gid=f"dots-{kind}", clip_on=False,
            )  # fmt: skip
    svg = to_svg(figure, "timeline", "Decisions over time")
    for kind in FAMILIES:
        svg = _named_dots(svg, kind, [d for d in shown if family(d["parameter"]) == kind])
    return svg


def _named_dots(svg: str, kind: str, dots: Sequence[dict[str, Any]]) -> str:
    """Give each marker of a family, drawn in the order of ``dots``, its reason and the number of its row."""
    group = re.compile(rf'(<g id="timeline-dots-{kind}">)(.*?)(</g>\s*</g>)', re.S)

    def named(found: re.Match[str]) -> str:
        reasons = iter(dots)
        return (
            found.group(1)
            + re.sub(r"<use [^>]*/>", lambda use: _dot(kind, next(reasons), use.group(0)), found[2])
            + found[3]
        )

    return group.sub(named, svg, count=1)


def _dot(kind: str, decision: dict[str, Any], marker: str) -> str:
    reason = f"{clock(decision['time_s'])} {decision['channel']}, {decision['parameter']}: {decision['cause']}"
    opening = f'<g class="dot" data-family="{kind}" data-id="{int(decision["id"])}">'
    return f"{opening}<title>{escape(reason)}</title>{marker}</g>"


def _rows_figure(n_rows: int, names: Sequence[str], x_end: float, row_in: float = ROW_IN) -> tuple[Figure, Axes]:
    height_in = n_rows * row_in + 0.42
    figure = Figure(figsize=(WIDTH_IN, height_in))
    axes = figure.add_axes((NAME_WIDTH_IN / WIDTH_IN, 0.34 / height_in, 0.985 - NAME_WIDTH_IN / WIDTH_IN,
                            1.0 - 0.42 / height_in))  # fmt: skip
    axes.set_ylim(n_rows - 0.5, -0.5)
    axes.set_yticks(range(n_rows), [_short(name) for name in names])
    axes.tick_params(axis="y", length=0, pad=NAME_WIDTH_IN * POINTS_PER_INCH, labelcolor=COLOURS["ink"], labelsize=9)
    for label in axes.get_yticklabels():
        label.set_horizontalalignment("left")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    for edge in range(1, n_rows):
        axes.axhline(edge - 0.5, color=COLOURS["line"], linewidth=0.5)
    _over_time(axes, x_end)
    return figure, axes


def _over_time(axes: Axes, duration_s: float) -> None:
    axes.set_xlim(0.0, max(duration_s, 0.1))
    step_s = next((s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600) if duration_s / s <= 12), 7200)
    axes.set_xticks(np.arange(0.0, duration_s + 1e-6, step_s))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))


def _breaks(axes: Axes, collected: Collector) -> None:
    least_s = collected.duration_s / BREAK_COLUMNS
    spans: list[tuple[float, float]] = []
    for start_s, end_s in collected.breaks_s:
        if spans and start_s < spans[-1][1] + least_s:
            spans[-1] = (spans[-1][0], max(end_s, spans[-1][1]))
        else:
            spans.append((start_s, max(end_s, start_s + least_s)))
    for start_s, end_s in spans:
        axes.axvspan(start_s, end_s, color=COLOURS["warm"], alpha=0.3, linewidth=0, zorder=0.5)


def _shown(lufs: NDArray[np.float32], floor: float) -> NDArray[np.float32]:
    return np.where(lufs > floor - 40.0, np.maximum(lufs, floor), np.nan)


def _short(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"


def _spread(decisions: Sequence[dict[str, Any]], n_most: int) -> list[dict[str, Any]]:
    step = -(-len(decisions) // n_most) or 1
    return list(decisions[::step])
