"""``python -m hil_tests``: what a bench does beside its tests."""

from __future__ import annotations

import argparse
import sys

from .chaos import command as chaos
from .errors import HilError

COMMANDS = (chaos,)


def main(argv: list[str] | None = None) -> int:
    """Run a command; return 0 when all is well, 1 when it is not or cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m hil_tests", description="Work a bench.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME, help=command.SUMMARY, description=command.SUMMARY, epilog=command.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except HilError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
