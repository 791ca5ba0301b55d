"""The record as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from . import web

CONTROL_SIDE = ("control", "web", "models")
GOALS_MB = {"engine": 64, "control": 250}
PERIOD_GOAL = 0.5  # of a period, for the 99.99th percentile


def show(record: dict[str, Any]) -> None:
    """Print it."""
    console = Console()
    console.print(_served(record))
    console.print(_lateness(record))
    console.print(f"Load: {record['load']}.", highlight=False)
    console.print(
        "Possible: periods in which cyclictest, on the core of the loop, woke up while playback still had sound. "
        "Wake and done are of periods that were served, to a quarter of an octave.",
        highlight=False,
    )
    if record["costs"]:
        _show_costs(console, record["costs"])
    for note in record["notes"]:
        console.print(f"note: {note}", highlight=False)


def _served(record: dict[str, Any]) -> Table:
    table = Table(
        title=f"{record['channels']} channels, {record['periods_ahead']} periods ahead; "
        f"{record['seconds']:g} s a loop in {record['rounds']} rounds"
    )
    _add_columns(table, "frames", "loop", "periods", "served %", "possible %", "served /\npossible %", "xruns")
    for row in record["loops"]:
        shares = ("possible_percent", "served_of_possible_percent")
        table.add_row(
            str(row["frames"]),
            row["loop"] + ("" if row["is_realtime"] else " (no FIFO)"),
            str(row["periods_passed"]),
            f"{row['served_percent']:.2f}",
            *["" if row[name] is None else f"{row[name]:.2f}" for name in shares],
            str(row["xruns"]),
        )
    return table


def _lateness(record: dict[str, Any]) -> Table:
    table = Table(title="us after the edge of a period: awake (wake), sound written (done); cyclictest awake (ct)")
    _add_columns(table, "frames", "loop", "wake\np50", "wake\np99", "wake\np99.9", "done\np99.9", "ct\np50",
                 "ct\np99", "ct\np99.9", "ct\nmax")  # fmt: skip
    ours, theirs = ("wake_p50", "wake_p99", "wake_p999", "service_p999"), ("p50", "p99", "p999", "max")
    for row in record["loops"]:
        wakes = row["cyclictest"]
        figures = [f"{row[f'{name}_us']:.0f}" for name in ours]
        figures += [str(wakes[f"{name}_us"]) for name in theirs] if wakes else []
        table.add_row(str(row["frames"]), row["loop"], *figures)
    return table


def _add_columns(table: Table, *headings: str) -> None:
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "loop" else "right")


def _show_costs(console: Console, costs: dict[str, Any]) -> None:
    period, wakes = costs["period"], costs["period"]["cyclictest"]
    goal_us = PERIOD_GOAL * period["period_us"]
    cpu = f"{period['audio_cpu_us']:.0f} us of processor time on average; " if period["audio_cpu_us"] else ""
    beside = f" (cyclictest wakes up within {wakes['p9999_us']} us)" if wakes else ""
    console.print(
        f"A live period of {period['frames']} frames, {period['period_us']:.0f} us, full strips, noise, no load: {cpu}"
        f"written within {period['service_p50_us']:.0f} us at p50, {period['service_p999_us']:.0f} at p99.9, "
        f"{period['service_p9999_us']:.0f} at p99.99{beside}; goal {goal_us:.0f}.",
        highlight=False,
    )
    for name, memory in costs["memory"].items():
        console.print(
            f"The {name} process: {memory['rss_mb']:.0f} MB resident ({memory['share_mb']:.0f} with what is shared "
            f"shared out), {memory['locked_mb']:.0f} MB locked.",
            highlight=False,
        )
    control_side = [costs["memory"][name] for name in CONTROL_SIDE]
    rss_mb, share_mb = (sum(m[key] for m in control_side) for key in ("rss_mb", "share_mb"))
    console.print(
        f"Goals: engine {GOALS_MB['engine']} MB; control with web and model {GOALS_MB['control']} MB: "
        f"{rss_mb:.0f} MB resident, {share_mb:.0f} with what is shared shared out. Stand-ins: {web.TEXT}; for the "
        "models NumPy and the network of the load, no runtime of theirs.",
        highlight=False,
    )
