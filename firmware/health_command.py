"""``evenhand-box health``: whether the box can be trusted with a show; after an update, whether the update stays."""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import asdict
from pathlib import Path

from .errors import EvenhandError
from .render_command import between
from .say import say
from .system.boot_selection import BootSelection

NAME = "health"
SUMMARY = "test engine, periods, control, update agent and model of the running box"
EXAMPLE = """\
example:
  On a box, beside the sound, which is not disturbed:

    evenhand-box health --board raspberry_pi_4 --seconds 10

  What its unit does after each start: an update that passes is kept, one that does not is left for the old system.

    evenhand-box health --board raspberry_pi_4 --commit
"""
SEGMENT = Path("/run/evenhand/segment")
SECONDS, START_S = 60.0, 180.0
PATIENCE_S = 60.0  # with RAUC and systemd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--board", required=True, metavar="NAME", help="board of this box, or a TOML file of your own")
    parser.add_argument("--seconds", metavar="N", type=between(1.0, 3600.0), default=SECONDS,
                        help="how long the periods are watched (60)")  # fmt: skip
    parser.add_argument("--start", metavar="N", type=between(1.0, 3600.0), default=START_S,
                        help="how many seconds engine and control may take to start, and the agent (180)")  # fmt: skip
    parser.add_argument("--segment", type=Path, default=SEGMENT, metavar="FILE", help="shared memory of the engine")
    parser.add_argument("--commit", action="store_true",
                        help="keep the update that is being tried, or restart into the system before it")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> None:
    """Test, say what was found, and with ``--commit`` act on it; fail where something is not good."""
    from board_configs.board import BoardError, load_board

    from .self_test import self_test

    try:
        board = load_board(args.board)
    except BoardError as error:
        raise EvenhandError(str(error)) from None
    selection = BootSelection()
    is_trial = args.commit and selection.is_trial
    findings = []
    for finding in self_test(board, args.segment, seconds=args.seconds, start_s=args.start, needs_agent=args.commit):
        findings.append(finding)
        if not args.json:
            say(f"{'good' if finding.is_good else 'BAD ':4}  {finding.item}: {finding.words}")
    is_good = all(finding.is_good for finding in findings)
    outcome = ""
    if args.commit:
        outcome = settle(selection, is_good=is_good, is_trial=is_trial)
    if args.json:
        record = {"is_good": is_good, "findings": [asdict(f) for f in findings], "outcome": outcome or None}
        say(json.dumps(record, allow_nan=False))
    elif outcome:
        say(outcome)
    if not is_good:
        raise EvenhandError(f"{board.name}: {findings[-1].item} {findings[-1].words}")


def settle(selection: BootSelection, *, is_good: bool, is_trial: bool) -> str:
    """Keep or leave the slot that runs, and return what was done. A committed slot is never restarted.

    Raises
    ------
    EvenhandError
        When RAUC does not take it.
    """
    slot = selection.booted
    if is_good:
        _call(["rauc", "status", "mark-good"])
        return f"slot {slot} is committed" if is_trial else f"slot {slot} was committed before"
    if not is_trial:
        return f"slot {slot} is committed: it stays, somebody has to look at it"
    _call(["rauc", "status", "mark-bad"])
    _call(["systemctl", "--no-block", "reboot"])
    return f"slot {slot} is left: restarting into slot {selection.committed}"


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EvenhandError(f"{' '.join(command)}: {error}") from None
    if done.returncode != 0:
        raise EvenhandError(f"{' '.join(command)}: {' '.join((done.stderr or done.stdout).split())[:200]}")
