"""``evenhand-box``: the commands of the box.

A command is a module with ``NAME``, ``SUMMARY``, ``EXAMPLE``, ``add_arguments`` and ``run``, listed in ``COMMANDS``.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from contextlib import suppress

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from . import check_command, devices_command, health_command, interrupt, render_command, report_command, run_command
from .errors import EvenhandError
from .version import own_version

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
COMMANDS = (run_command, render_command, report_command, devices_command, check_command, health_command)


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0 for done, 1 for refused or failed. Wrong usage leaves with 2 (argparse)."""
    _open_standard_streams()
    try:
        return _run(argv)
    finally:
        _leave_standard_error()


def _run(argv: list[str] | None) -> int:
    interrupt.hear()
    args = _parser().parse_args(argv)
    try:
        args.run(args)
        if sys.stdout:
            sys.stdout.flush()
    except EvenhandError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail(f"{args.command}: stopped before the end, no output has changed; start it again when you like")
    except BrokenPipeError:  # whoever read our output went away; there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in FULL:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else its buffer is tried again at the end
        return _fail(f"{error.filename or 'standard output'}: {error.strerror}; make room and start it again")
    return 0


def _leave_standard_error() -> None:
    """Where standard error is full, drop what it still holds: Python's flush at the end would make it status 120."""
    try:
        if sys.stderr:
            sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _open_standard_streams() -> None:
    """Fill closed standard streams: else a file of ours becomes number 1 or 2 and takes what a library prints."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is ``fd``


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evenhand-box", description="The mixer that mixes itself.")
    parser.add_argument("--version", action="version", version=f"evenhand-box {own_version()} (contract {CONTRACT_ID})")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.",
            epilog=command.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


def _fail(message: str) -> int:
    """Print one ``error:`` line; names from outside may hold anything, line breaks too."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
    with suppress(OSError):  # a full disk under standard error is told by the status alone
        print(f"error: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
