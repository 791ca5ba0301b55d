"""``evenhand-box check``: whether this machine keeps what its board file promises, as a table and as an exit code."""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from .errors import EvenhandError
from .render_command import between, progress_bar
from .say import say

NAME = "check"
SUMMARY = "measure whether a board keeps its budget"
EXAMPLE = """\
example:
  With a cable from output 1 of the card to input 1, amplifiers down (every output clicks):

    evenhand-box check --board raspberry_pi_4

  A simulated board has a cable of its own:

    evenhand-box check --board sim --seconds 5

  Exit code 0: all that the board's [budget] promises was measured and is kept. 1: it is not.
"""
SECONDS = 10.0
TITLES = {
    "round_trip_frames": "round trip, frames",
    "served_percent": "periods served, %",
    "wake_p999_us": "wake-up p99.9, us",
    "temp_c": "temperature, °C",
}
STYLES = {"pass": "green", "fail": "bold red", "not measured": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--board", required=True, metavar="NAME", help="board of this box, or a TOML file of your own")
    parser.add_argument(
        "--seconds", metavar="N", type=between(1.0, 86400.0), default=SECONDS, help="how long to measure, from 1 (10)"
    )
    parser.add_argument(
        "--cable", metavar="OUT:IN", type=_cable, default=(1, 1), help="output and input that a cable connects (1:1)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> None:
    """Measure, say what was found, and fail where it is not what the board promises."""
    from board_configs.board import BoardError, load_board

    from .check import CheckJob, check

    try:
        board = load_board(args.board)
    except BoardError as error:
        raise EvenhandError(str(error)) from None
    with progress_bar(is_quiet=args.json) as bar:
        task = bar.add_task(f"checking {board.name}", total=1.0) if bar else None
        job = CheckJob(board=board, seconds=args.seconds, cable=args.cable)
        record = check(job, lambda done: bar.update(task, completed=done) if bar and task is not None else None)
    say(json.dumps(record, allow_nan=False) if args.json else page(record))
    if not record["passed"]:
        short = [v for v in record["verdicts"] if v["verdict"] != "pass"]
        raise EvenhandError(f"{board.name}: " + "; ".join(_words(verdict) for verdict in short))


def page(record: dict[str, Any]) -> str:
    """Return what people read: the verdicts, the figures beside them, and what to do."""
    text = io.StringIO()  # not standard output itself: rich would tell of a full one in its own way
    console = Console(file=text, highlight=False, force_terminal=sys.stdout is not None and sys.stdout.isatty())
    console.print(_verdicts(record))
    console.print(_figures(record))
    for note in record["notes"]:
        console.print(f"note: {note}", markup=False)
    return text.getvalue().rstrip("\n")


def _verdicts(record: dict[str, Any]) -> Table:
    table = Table(title=f"{record['board']}: {'passed' if record['passed'] else 'not passed'}", title_justify="left")
    has_reasons = any(v["why"] for v in record["verdicts"])
    for title in ("", "measured", "budget", "verdict", *(["why"] if has_reasons else [])):
        table.add_column(title, justify="right" if title in ("measured", "budget") else "left")
    for v in record["verdicts"]:
        value = "" if v["value"] is None else _short(v["value"])
        verdict = f"[{STYLES[v['verdict']]}]{v['verdict']}[/]"
        table.add_row(TITLES[v["item"]], value, _budget(v), verdict, *([v["why"]] if has_reasons else []))
    return table


def _figures(record: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for title, text in _figure_rows(record):
        table.add_row(title, text)
    return table


def _figure_rows(r: dict[str, Any]) -> list[tuple[str, str]]:
    health, beside = r["health"], r["cyclictest"]
    wakes = [_short(r[f"wake_{p}_us"]) for p in ("p50", "p99", "p999")]
    rows = [("periods", f"{r['periods']} passed, {r['served_percent']:.3f} % served, {r['xruns']} xruns")]
    if r["way_frames"] is not None:
        limiter_frames = r["round_trip_frames"] - r["way_frames"]
        rows.insert(0, ("delay", f"{r['way_frames']} frames through the card, {limiter_frames} in the limiter"))
    rows.append(("wake-up p50 / 99 / 99.9", f"{' / '.join(wakes)} us; sound written {_short(r['service_p999_us'])} us"))
    if beside:
        rows.append(
            (
                "cyclictest beside it",
                f"{beside['p50_us']} / {beside['p99_us']} / {beside['p999_us']} us, at most {beside['max_us']} us",
            )
        )
    rights = [("real-time priority", r["is_realtime"]), ("locked memory", r["is_locked"])]
    rows.append(("engine has", ", ".join(f"{'' if has else 'no '}{what}" for what, has in rights)))
    warmth = "temperature not told" if health["temp_c"] is None else f"{health['temp_c']:.0f} °C"
    throttled = "throttling not told"
    if health["throttled_now"] is not None:
        throttled = ", ".join(health["throttled_now"]) or "not throttled"
    governors = ", ".join(health["governors"]) or "not told"
    rows.append(("machine", f"{warmth}, {throttled}, governor {governors}, preemption {health['preemption']}"))
    return rows


def _words(verdict: dict[str, Any]) -> str:
    title = TITLES[verdict["item"]].split(",")[0]
    if verdict["why"]:
        return f"{title} {verdict['verdict']}: {verdict['why']}"
    return f"{title} {_short(verdict['value'])} is not {_budget(verdict)}"


def _budget(verdict: dict[str, Any]) -> str:
    return f"{'≥' if verdict['item'] == 'served_percent' else '≤'} {_short(verdict['budget'])}"


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _cable(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d?):([1-9]\d?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no OUT:IN; write 1:1 for output 1 to input 1")
    return int(match[1]), int(match[2])
