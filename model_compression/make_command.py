"""``evenhand-model make``: a model from seeds, with one command: data, train, distil, quantise, evaluate, bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

from . import bundle_command, data_command, distil_command, key_command, quantise_command, train_command
from .run_arguments import RECIPE_HELP

NAME = "make"
SUMMARY = "make a model from seeds: data, train, distil, quantise, evaluate, bundle"
EXAMPLE = """\
example:
  A model in about 90 minutes on two cores; stopped and started again it goes on where it was. `evening` in place of
  `small` learns from twice as many songs, in four hours:

    evenhand-model make small

  The bundle is signed with OUT/keys/evenhand.key, which is made when it is not there. A box trusts it when it is told
  to: `--model-key OUT/keys/evenhand.pub`.
"""
KEY = "evenhand"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("recipe", metavar="RECIPE", help=RECIPE_HELP)
    parser.add_argument("--out", metavar="OUT", type=Path, default=Path("out"), help="where everything goes (out)")
    parser.add_argument("--workers", metavar="N", help="processes that make the data (one a core)")


def run(args: argparse.Namespace) -> None:
    """Make what is missing, stage by stage, and say where the bundle lies."""
    from .card import EVALUATION, is_measured
    from .evaluation import command as evaluate_command

    name = Path(args.recipe).stem
    data, folder, keys = args.out / "data" / name, args.out / "runs" / name, args.out / "keys"
    bundle = args.out / f"{name}.bundle"
    made_from = [args.recipe, "--data", data, "--out", folder]
    _do(data_command, args.recipe, "--out", data, *(["--workers", args.workers] if args.workers else []))
    for stage in (train_command, distil_command, quantise_command):
        _do(stage, *made_from)
    if not is_measured(folder, data):
        _do(evaluate_command, "--model", folder, "--data", data, "--out", folder / EVALUATION)
    if not (keys / f"{KEY}.key").exists():
        keys.mkdir(parents=True, exist_ok=True)
        _do(key_command, keys / KEY)
    _do(bundle_command, folder, "--data", data, "--key", keys / f"{KEY}.key", "--out", bundle)
    print(f"hear it: evenhand-box render SESSION --out mix.wav --model {bundle} --model-key {keys / KEY}.pub")


def _do(command: ModuleType, *words: object) -> None:
    parser = argparse.ArgumentParser(prog=f"evenhand-model {command.NAME}")
    command.add_arguments(parser)
    command.run(parser.parse_args([str(word) for word in words]))
