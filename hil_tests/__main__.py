"""``python -m hil_tests``: suites on a rig, the page filed with a venue, faults that the bench must catch, chaos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from . import mutations_command, report_command
from .chaos import command as chaos_command
from .drivers.choice import make_ready
from .errors import HilError
from .rig import FIXTURES, load_rig, rig_names

ROOM = Path(__file__).parent
# What each suite collects and selects. The larger hold the smaller.
SUITES = {
    "smoke": ([ROOM / "test_smoke.py"], "not soak"),
    "full": ([ROOM], "not soak"),
    "soak": ([ROOM], "soak"),
}
EXAMPLE = """\
example:
  The box as processes on this machine, then a board on a bench of one's own:

    python -m hil_tests run --rig sim --suite smoke
    python -m hil_tests run --rig ./my_bench.toml

  The page that an installer files with a venue:

    python -m hil_tests report --rig sim --venue "Blue Note, back room"
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command; return 0 for done, 1 for failed tests or a rig that cannot be; wrong usage leaves with 2."""
    parser = argparse.ArgumentParser(
        prog="python -m hil_tests", description="The box as a black box.", epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a suite on a rig; writes junit.xml and report.html")
    run.add_argument("--rig", required=True, metavar="NAME|FILE", help=f"one of {', '.join(rig_names())}, or a file")
    run.add_argument("--suite", choices=SUITES, default="full", help="smoke: minutes; full; soak: hours (full)")
    run.add_argument("--out", type=Path, default=Path("out/hil"), metavar="DIR", help="for the pages (out/hil)")
    run.add_argument("words", nargs="*", metavar="-- PYTEST", help="more words for pytest, such as -k latency")
    run.set_defaults(act=_run)
    rigs = commands.add_parser("rigs", help="list the rigs, what they have, and what that means")
    rigs.set_defaults(act=_rigs)
    report_command.add_to(commands)
    mutations_command.add_to(commands)
    chaos_command.add_to(commands)
    options = parser.parse_args(argv)
    act: Callable[[argparse.Namespace], int] = options.act
    try:
        return act(options)
    except HilError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    import pytest

    rig = load_rig(options.rig)
    make_ready(rig)
    paths, selection = SUITES[options.suite]
    out = options.out / rig.name
    words = ["--rig", options.rig, "--only-rigs", "-m", selection, "-p", "no:cacheprovider",
             f"--hil-report={out / 'report.html'}", f"--junitxml={out / 'junit.xml'}",
             "-o", f"junit_suite_name=hil-{rig.name}-{options.suite}", *options.words]  # fmt: skip
    return 0 if pytest.main([*map(str, paths), *words]) == pytest.ExitCode.OK else 1


def _rigs(_options: argparse.Namespace) -> int:
    for name in rig_names():
        rig = load_rig(name)
        print(f"{name}: {rig.title}\n  has {', '.join(rig.has)}")
    print("\nwhat a rig can have:")
    for fixture, text in FIXTURES.items():
        print(f"  {fixture:15} {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
