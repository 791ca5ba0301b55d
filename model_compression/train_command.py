"""``evenhand-model train``: the teachers of a recipe, or with ``--from`` a model adapted to your own sessions."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .run_arguments import add_run_arguments, opened

NAME = "train"
SUMMARY = "train the teachers of a recipe, or adapt a model to your own sessions"
EXAMPLE = """\
examples:
  The teachers of the small recipe, on two cores; stopped and started again it goes on where it was:

    evenhand-model train small

  The shipped model, adapted to sessions that `evenhand-model data` made from your own folder:

    evenhand-model train small --from evenhand.bundle --data out/data/mine --out out/runs/mine
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_run_arguments(parser)
    parser.add_argument(
        "--from",
        dest="source",
        metavar="BUNDLE|RUN",
        type=Path,
        help="adapt the mix network of this bundle or run to --data instead of training teachers",
    )


def run(args: argparse.Namespace) -> None:
    """Train."""
    job = opened(args)
    from .trained_on import note_machine
    from .training import stages, students  # TensorFlow is loaded only when it is needed

    if args.source is None:
        stages.train_teachers(job)
        taught = [stage.removesuffix(".teacher") for stage in job.recipe.stages if stage.endswith(".teacher")]
        told = {"run": str(job.folder), "teachers": taught}
        line = f"{job.folder}: teachers trained; next: evenhand-model distil {args.recipe}"
    else:
        stages.tune_mix(job, students.load(args.source))
        told = {"run": str(job.folder), "adapted_from": str(args.source)}
        line = f"{job.folder}: mix network adapted; next: evenhand-model quantise {args.recipe} --out {job.folder}"
    note_machine(job.folder, "train")
    print(json.dumps(told) if args.json else line)
