"""``evenhand-model``: the commands that make the model of a box.

A command is a module with ``NAME``, ``SUMMARY``, ``EXAMPLE``, ``add_arguments`` and ``run``, listed in ``COMMANDS``. It
imports what is heavy inside ``run``: ``--help`` answers at once, on machines without TensorFlow as well.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType, ModuleType

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from . import (
    bundle_command,
    data_command,
    distil_command,
    key_command,
    label_command,
    make_command,
    quantise_command,
    train_command,
)
from .errors import ModelError
from .evaluation import command as evaluate_command
from .project_version import project_version

COMMANDS: tuple[ModuleType, ...] = (
    data_command, label_command, train_command, distil_command, quantise_command, evaluate_command, bundle_command,
    key_command, make_command,
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0 for done, 1 for refused or failed. Wrong usage leaves with 2 (argparse)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
        sys.stdout.flush()
    except ModelError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail(f"{args.command}: stopped before the end; the same command again goes on from there")
    except BrokenPipeError:  # whoever read our output went away; there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evenhand-model",
        description="Trains, shrinks and checks the models that an Evenhand box runs.",
        epilog="example: evenhand-model data mini --out out/data/mini",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {project_version()}, contract {CONTRACT_ID}")
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


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(message: str) -> int:
    """Print one ``error:`` line; names from outside may hold anything, line breaks too."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))
    print(f"error: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
