"""``evenhand-box run``: the whole box, live; its view in the terminal, and what it says at the end."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from dsp_kernels.contract.generated.contract import STYLES

from . import interrupt
from .errors import EvenhandError
from .inference.choice import DEFAULT_MODEL, MODEL_HELP
from .render_command import between
from .say import say

if TYPE_CHECKING:
    from .terminal_view import Picture

NAME = "run"
SUMMARY = "mix live on a sound card"
EXAMPLE = """\
example:
  A box without a sound card mixes a session as if it came from a stage, and records it:

    evenhand-box run --board sim --session ~/sessions/friday --record ~/recordings

  On a Raspberry Pi with a USB interface, until Ctrl-C:

    evenhand-box run --board raspberry_pi_4
"""
VIEW_HZ = 8
LINE_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--board", required=True, metavar="NAME", help="board of this box, or a TOML file of your own")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after so long (default: with the session)")
    parser.add_argument("--session", type=_path, metavar="DIR", help="what a simulated board plays")
    parser.add_argument(
        "--record", type=_path, metavar="DIR", help="record every input and the mix into a new folder here"
    )
    parser.add_argument("--scene", type=_path, metavar="FILE", help="mixer state to start from, with its locks")
    parser.add_argument("--state", type=_path, metavar="DIR", help="keep the state here over a restart")
    parser.add_argument(
        "--automix",
        choices=["speech", "music", "gated", "off"],
        help="how microphones share gain (default: the box decides)",
    )
    parser.add_argument(
        "--target-lufs", metavar="LUFS", type=between(-40.0, -6.0), default=-16.0, help="loudness of the mix (-16)"
    )
    parser.add_argument(
        "--amount", metavar="PERCENT", type=between(0.0, 100.0), default=100.0, help="how far the box goes (100)"
    )
    parser.add_argument("--model", metavar="BUNDLE|shipped|none", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument(
        "--model-key", metavar="FILE", type=Path, action="append", default=[], help="public key to trust besides ours"
    )
    parser.add_argument("--style", choices=STYLES, default="natural", help="which mix the model is asked for (natural)")
    parser.add_argument("--wait-for-card", action="store_true", help="start without the card and take it when it comes")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end and nothing else")


def _path(text: str) -> Path:
    if not text:  # a variable of a script that was never set: not the folder it happens to run in
        raise argparse.ArgumentTypeError("is empty; name a file or folder")
    return Path(text)


def run(args: argparse.Namespace) -> None:
    """Run the box, and say how it went."""
    from board_configs.board import BoardError, load_board

    from .live_run import LiveRun, RunJob
    from .report_command import report_after_run

    if args.seconds is not None and not args.seconds > 0:
        raise EvenhandError(f"--seconds {args.seconds:g}: is no time to run; give a positive number")
    try:
        board = load_board(args.board)
    except BoardError as error:
        raise EvenhandError(str(error)) from None
    job = RunJob(
        board=board, session=args.session, seconds=args.seconds, record=args.record, scene=args.scene,
        state=args.state, automix=args.automix, target_lufs=args.target_lufs, amount_percent=args.amount,
        waits_for_card=args.wait_for_card, model=args.model, model_keys=tuple(args.model_key), style=args.style,
    )  # fmt: skip
    is_plain = not args.json and not Console(stderr=True).is_terminal  # a view shows them itself
    with LiveRun(job, _print_line if is_plain else _keep_quiet) as box:
        # Ctrl-C is the way to end a box that runs until told to stop.
        with _view(is_quiet=args.json) as on_look, interrupt.ended_by_hand():
            box.run(on_look, interrupt.is_asked)
        record = box.finish()
    pages = [
        report_after_run(folder, record=record, setup=box.setup, target_lufs=args.target_lufs, is_quiet=args.json)
        for folder in box.recordings
    ]
    if args.json:
        say(json.dumps(record, allow_nan=False))
        return
    loudness = "no sound" if record["integrated_lufs"] is None else f"{record['integrated_lufs']:.1f} LUFS"
    lines = [
        f"{board.name}: {record['periods']} periods, {record['periods_lost']} lost, {record['xruns']} xruns, {loudness}"
    ]
    for folder in box.recordings:
        lines += [f"mix:       {folder / 'mix.wav'}", f"inputs:    {folder / 'inputs.wav'}"]
    say("\n".join([*lines, *(f"report:    {page}" for page in pages if page)]))


def _print_line(line: str) -> None:
    with suppress(OSError):  # a box mixes on though nobody reads its log, or the disk under it is full
        print(line, file=sys.stderr, flush=True)


def _keep_quiet(_line: str) -> None:
    pass


@contextmanager
def _view(*, is_quiet: bool) -> Iterator[Callable[[Picture], None]]:
    """Yield what is told each look: a live view on a terminal, a line now and then elsewhere, nothing when quiet."""
    from .terminal_view import draw, summary_line

    console = Console(stderr=True)
    if is_quiet:
        yield lambda _: None
    elif console.is_terminal:
        with Live(console=console, screen=False, auto_refresh=False, transient=True) as live:
            yield _paced(1.0 / VIEW_HZ, lambda picture: live.update(draw(picture), refresh=True))
    else:
        yield _paced(LINE_S, lambda picture: _print_line(summary_line(picture)))


def _paced(interval_s: float, show: Callable[[Picture], None]) -> Callable[[Picture], None]:
    next_s = 0.0

    def on_look(picture: Picture) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + interval_s
            show(picture)

    return on_look
