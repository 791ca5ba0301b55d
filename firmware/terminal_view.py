"""The box in a terminal: meters, gains and roles of every channel, loudness, dropouts, and what was decided last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .observation import Observation
from .segment import LiveStatus, percentile_us

METER_WIDTH, LEAST_METER_WIDTH, METER_FLOOR_DBFS = 16, 6, -60.0
HOT_DBFS, WARM_DBFS = -3.0, -12.0
N_DECISIONS = 6
STRIP_WIDTH = 39  # of a strip where several stand side by side


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What one look at the box shows. ``control`` is the public page of the control process, empty without one."""

    title: str
    time_s: float
    sample_rate_hz: float
    names: list[str]
    status: LiveStatus
    observation: Observation | None
    params: NDArray[np.void] | None
    control: dict[str, Any] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)  # what the processes said last


def draw(picture: Picture) -> RenderableType:
    """Return the view: the whole of it where it has room, else one that shows every strip and what was decided."""
    return _Fitted(picture)


@dataclass(frozen=True)
class _Fitted:
    picture: Picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = console.size.height - 1  # the cursor has a line of its own
        whole = _whole(self.picture)
        if len(console.render_lines(whole, options.update(height=None), pad=False)) <= height:
            yield whole
        else:
            yield from _small(self.picture, options.max_width, height)


def _whole(picture: Picture) -> RenderableType:
    parts: list[RenderableType] = [_head(picture)]
    if picture.observation is not None and picture.params is not None:
        parts.append(_channels(picture, picture.observation, picture.params))
    decisions = picture.control.get("decisions", [])[-N_DECISIONS:]
    if decisions:
        parts.append(Panel(Group(*(_decision(d) for d in decisions)), title="decided last", title_align="left"))
    if picture.lines:
        parts.append(Panel(Group(*map(_plain, picture.lines[-3:])), title="said last", title_align="left"))
    return Group(*parts)


def summary_line(picture: Picture) -> str:
    """Return the same in one line, for logs."""
    counters, observation = picture.status.counters, picture.observation
    loudness = f"{observation.loudness.integrated_lufs:.1f} LUFS" if observation else "no sound yet"
    return (
        f"{picture.time_s:.0f} s: {picture.status.state}, {loudness}, {counters['periods']} periods, "
        f"{counters['periods_lost']} lost, {counters['xruns']} xruns"
    )


def _head(picture: Picture) -> RenderableType:
    status, counters = picture.status, picture.status.counters
    colour = {"running": "green", "no_card": "red"}.get(status.state, "yellow")
    grid = Table.grid(padding=(0, 3))
    grid.add_row(
        Text.assemble((_printable(picture.title), "bold"), "  ", (status.state.replace("_", " "), f"bold {colour}")),
        f"{picture.time_s:7.1f} s",
        _loudness(picture.observation),
    )
    grid.add_row(
        f"{counters['periods']} periods, {counters['periods_lost']} lost, {counters['xruns']} xruns",
        f"{status.round_trip_frames} frames through ({1e3 * status.round_trip_frames / picture.sample_rate_hz:.2f} ms)",
        f"wake-up {percentile_us(status.wake_us, 50):.0f} us, 99.9 % {percentile_us(status.wake_us, 99.9):.0f} us",
    )
    restarts = ", ".join(f"{name} {n}" for name, n in picture.restarts.items() if n)
    rights = f"{'real time' if status.is_realtime else 'no real-time right'}, " + (
        "memory locked" if status.is_locked else "memory not locked"
    )
    trouble = _plain(status.trouble or status.secondary_trouble)
    grid.add_row(rights, f"restarted: {restarts}" if restarts else "nothing restarted", trouble)
    return Panel(grid)


def _loudness(observation: Observation | None) -> str:
    if observation is None:
        return "no sound yet"
    loudness = observation.loudness
    return (
        f"M {loudness.momentary_lufs:6.1f}  S {loudness.short_term_lufs:6.1f}  I {loudness.integrated_lufs:6.1f} LUFS  "
        f"TP {loudness.true_peak_dbtp:5.1f} dBTP"
    )


def _channels(picture: Picture, observation: Observation, params: NDArray[np.void]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("#", "channel", "role", "input", "trim", "gate", "comp", "share", "fader", "out"):
        is_number = heading not in ("channel", "role", "input", "out")
        least = 2 if heading == "#" else len("-99.0") if is_number else LEAST_METER_WIDTH
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number, min_width=least)
    told = picture.control.get("channels", [])
    for ch, (name, meters) in enumerate(zip(picture.names, observation.channel_meters, strict=False)):
        strip = params["channel"][ch]
        role = f"{told[ch]['role']} {told[ch]['confidence']:.0%}" if ch < len(told) else ""
        table.add_row(
            str(ch + 1),
            _one_line(name[:18]),
            _one_line(role),
            Meter(float(meters["input_peak_dbfs"])),
            f"{strip['input.trim_db']:+.1f}",
            _gain(float(meters["gate_gain_db"])),
            _gain(float(meters["compressor_gain_db"])),
            _gain(float(meters["automix_gain_db"] + meters["duck_gain_db"])),
            "mute" if strip["fader.is_muted"] > 0.5 else f"{strip['fader.level_db']:+.1f}",
            Meter(float(meters["output_peak_dbfs"])),
        )
    return table


def _small(picture: Picture, width: int, height: int) -> RenderResult:
    """Yield lines for a small terminal: strips side by side, and at least the newest decisions."""
    decisions = [_decision(d) for d in picture.control.get("decisions", [])[-N_DECISIONS:]]
    said = [_plain(line) for line in picture.lines[-1:]]
    head = _small_head(picture)
    n_strips = len(picture.names) if picture.observation is not None and picture.params is not None else 0
    n_rows = max(height - len(head) - 1 - min(len(decisions), 2) - len(said), 1)
    n_columns = min(-(-n_strips // n_rows), max(width // STRIP_WIDTH, 1))
    n_rows = min(n_rows, -(-n_strips // n_columns)) if n_strips else 0
    if n_rows * n_columns < n_strips:
        head[-1].append(f"  {n_strips - n_rows * n_columns} more strips have no room", "yellow")
    room = height - len(head) - len(said) - (n_rows + 1 if n_rows else 0)
    for line in head:
        yield _cropped(line)
    if picture.observation is not None and picture.params is not None:
        yield _strips(picture, picture.observation, picture.params, n_rows, n_columns)
    for line in [*decisions[max(len(decisions) - room, 0) :], *said]:
        yield _cropped(line)


def _small_head(picture: Picture) -> list[Text]:
    status, counters = picture.status, picture.status.counters
    state = (status.state.replace("_", " "), "bold green" if status.state == "running" else "bold red")
    restarts = ", ".join(f"{name} {n}" for name, n in picture.restarts.items() if n)
    trouble = status.trouble or status.secondary_trouble
    lines = [
        Text.assemble(state, f" {picture.time_s:.1f} s  ", (_printable(picture.title), "bold")),
        Text(f"{counters['periods_lost']} lost, {counters['xruns']} xruns  {_loudness(picture.observation)}"),
    ]
    if trouble:
        lines.append(_plain(trouble))
    if restarts:
        lines.append(Text(f"restarted: {restarts}"))
    return lines


def _strips(picture: Picture, observation: Observation, params: NDArray[np.void], n_rows: int, n_columns: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    widths = {"#": 2, "channel": 9, "input": LEAST_METER_WIDTH, "trim": 5, "fader": 5, "out": LEAST_METER_WIDTH}
    for _ in range(n_columns):
        for heading, cells in widths.items():
            is_number = heading in ("#", "trim", "fader")
            table.add_column(heading, justify="right" if is_number else "left", no_wrap=True, width=cells)
    meters = observation.channel_meters
    for row in range(n_rows):
        row_cells: list[RenderableType] = []
        for ch in range(row, min(n_rows * n_columns, len(picture.names)), n_rows):
            strip = params["channel"][ch]
            fader = "mute" if strip["fader.is_muted"] > 0.5 else f"{strip['fader.level_db']:+.1f}"
            row_cells += [str(ch + 1), _one_line(picture.names[ch]), Meter(float(meters[ch]["input_peak_dbfs"])),
                          f"{strip['input.trim_db']:+.1f}", fader,
                          Meter(float(meters[ch]["output_peak_dbfs"]))]  # fmt: skip
        table.add_row(*row_cells)
    return table


def _cropped(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _gain(gain_db: float) -> str:
    return "" if abs(gain_db) < 0.05 else f"{max(gain_db, -99.0):+.1f}"


@dataclass(frozen=True)
class Meter:
    """A bar that takes the width there is."""

    level_dbfs: float

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(LEAST_METER_WIDTH, METER_WIDTH)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, level_dbfs = min(METER_WIDTH, options.max_width), self.level_dbfs
        share = 1.0 - level_dbfs / METER_FLOOR_DBFS if level_dbfs > METER_FLOOR_DBFS else 0.0
        n = round(min(share, 1.0) * width)
        colour = "red" if level_dbfs > HOT_DBFS else "yellow" if level_dbfs > WARM_DBFS else "green"
        yield Text.assemble(("█" * n, colour), ("·" * (width - n), "dim"))


def _plain(text: str) -> Text:
    """Return what somebody else wrote as it is: brackets are no markup, and nothing moves the cursor."""
    return Text(_printable(text))


def _one_line(text: str) -> Text:
    return Text(_printable(text), no_wrap=True, overflow="ellipsis")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _decision(decision: dict[str, Any]) -> Text:
    move = f"{decision['parameter']} {decision['from']:g} → {decision['to']:g} {decision['unit']}"
    return Text.assemble(
        (f"{decision['time_s']:7.1f} s  ", "dim"),
        _printable(f"{decision['channel']}: {move}  "),
        (_printable(decision["cause"]), "dim"),
    )
