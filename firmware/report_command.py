"""``evenhand-box report``: the page of a recording, made once more; a run makes it by itself when it ends."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .errors import EvenhandError
from .interrupt import forget
from .mixer_setup import MixerSetup
from .render_command import progress_bar
from .say import say

NAME = "report"
SUMMARY = "make the page of a live recording once more"
EXAMPLE = """\
example:
  Why did Friday sound as it did? The page appears as report.html in the folder of the recording:

    evenhand-box report ~/recordings/2026-11-27_20-15-00_Friday
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("recording", metavar="FOLDER", type=Path, help="folder that `run --record` made")
    parser.add_argument("--out", metavar="FILE.html", type=Path, help="where the page goes (FOLDER/report.html)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> None:
    """Replay the recording, write the page, and say where it lies."""
    from .live_report import kept_run  # the engine is loaded only when it is needed

    record, setup, target_lufs = kept_run(args.recording)
    path = _made(args.recording, record, setup, target_lufs, out=args.out, is_quiet=args.json)
    if args.json:
        say(json.dumps({"recording": str(args.recording), "report": str(path)}))
        return
    say(f"{path}: why it sounded as it did")


def report_after_run(
    folder: Path, *, record: dict[str, Any], setup: MixerSetup, target_lufs: float, is_quiet: bool
) -> Path | None:
    """Make the page of a run that has just ended; without it, for whatever reason, the recording is none the worse."""
    try:
        return _made(folder, record, setup, target_lufs, out=None, is_quiet=is_quiet)
    except EvenhandError as error:
        print(f"note: no report: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        forget()
        print(f"note: no report; `evenhand-box report {folder}` makes it when there is time", file=sys.stderr)
    return None


def _made(
    folder: Path, record: dict[str, Any], setup: MixerSetup, target_lufs: float, *, out: Path | None, is_quiet: bool
) -> Path:
    from .live_report import write_live_report

    with progress_bar(is_quiet=is_quiet) as bar:
        task = bar.add_task("replaying", total=1.0) if bar else None
        return write_live_report(
            folder,
            record=record,
            setup=setup,
            target_lufs=target_lufs,
            out=out,
            on_progress=lambda done: bar.update(task, completed=done) if bar and task is not None else None,
        )
