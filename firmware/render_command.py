"""``evenhand-box render``: its arguments, its progress, and what it says at the end."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsp_kernels.contract.generated.contract import STYLES

from .inference.choice import DEFAULT_MODEL, MODEL_HELP
from .say import say

NAME = "render"
SUMMARY = "mix recorded files"
EXAMPLE = """\
example:
  A folder with one audio file a channel becomes a mix at -16 LUFS and a page that says why:

    evenhand-box render ~/sessions/friday --out friday.wav --report friday.html

  SESSION is a folder with one WAV, FLAC, OGG or MP3 file a channel, one multichannel file, or a folder with a
  session.toml that names channels, roles, links and order (firmware/README.md shows one).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("session", metavar="SESSION", type=Path, help="folder with one audio file a channel, or a file")
    parser.add_argument("--out", metavar="MIX.wav", type=Path, required=True, help="where the stereo mix goes, 24 bit")
    parser.add_argument("--scene", metavar="FILE", type=Path, help="mixer state to start from, with its locks")
    parser.add_argument(
        "--automix",
        choices=["speech", "music", "gated", "off"],
        help="how microphones share gain (default: the box decides)",
    )
    parser.add_argument("--model", metavar="BUNDLE|shipped|none", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument(
        "--model-key", metavar="FILE", type=Path, action="append", default=[], help="public key to trust besides ours"
    )
    parser.add_argument("--style", choices=STYLES, default="natural", help="which mix the model is asked for (natural)")
    parser.add_argument(
        "--target-lufs", metavar="LUFS", type=between(-40.0, -6.0), default=-16.0, help="loudness of the mix (-16)"
    )
    parser.add_argument(
        "--amount", metavar="PERCENT", type=between(0.0, 100.0), default=100.0, help="how far the box goes (100)"
    )
    parser.add_argument("--channels-out", metavar="DIR", type=Path, help="folder for each channel behind fader and pan")
    parser.add_argument("--decisions", metavar="FILE.jsonl", type=Path, help="every decision, one JSON object a line")
    parser.add_argument("--report", metavar="FILE.html", type=Path, help="a page with figures, plots and reasons")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> None:
    """Render, and say what came out."""
    from .render import render  # the engine is loaded only when it is needed
    from .render_job import RenderJob

    job = RenderJob(
        session=args.session,
        out=args.out,
        scene=args.scene,
        automix=args.automix,
        model=args.model,
        model_keys=tuple(args.model_key),
        style=args.style,
        target_lufs=args.target_lufs,
        amount_percent=args.amount,
        channels_out=args.channels_out,
        decisions=args.decisions,
        report=args.report,
    )
    with progress_bar(is_quiet=args.json) as bar:
        task = bar.add_task("mixing", total=1.0) if bar else None
        result = render(job, lambda done: bar.update(task, completed=done) if bar and task is not None else None)
    if args.json:
        say(json.dumps(result.as_record(), allow_nan=False))
        return
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    say(
        f"{job.out}: {result.duration_s:.1f} s, {result.integrated_lufs:.1f} LUFS, "
        f"range {result.loudness_range_lu:.1f} LU, "
        f"{result.true_peak_dbtp:.1f} dBTP, {result.realtime_factor:.0f} x real time"
    )
    if job.report:
        say(f"{job.report}: why it sounds as it does")


def progress_bar(*, is_quiet: bool) -> Any:
    """Return a bar for long work on a terminal, a context manager; None in its place elsewhere and when quiet."""
    console = Console(stderr=True)
    if is_quiet or not console.is_terminal:
        return nullcontext(None)
    columns = (TextColumn("{task.description}"), BarColumn(), "{task.percentage:>3.0f} %", TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True)


def between(low: float, high: float) -> Any:
    """Return an argument type: a number in a range."""

    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} lies outside {low:g} to {high:g}")
        return value

    return number
