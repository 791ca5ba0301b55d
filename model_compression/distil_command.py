"""``evenhand-model distil``: the students of a recipe, from labels and their teachers' words."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .run_arguments import add_run_arguments, opened

NAME = "distil"
SUMMARY = "train the small networks that ship, from labels and teachers"
EXAMPLE = """\
examples:
  After `evenhand-model train small`:

    evenhand-model distil small

  The role network copies a teacher that somebody else trained, an ONNX file from patches (n, 64, 72) to 21 role logits:

    evenhand-model distil small --soft-labels teacher.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_run_arguments(parser)
    parser.add_argument(
        "--soft-labels", metavar="FILE.onnx", type=Path, help="role teacher to copy instead of the run's own"
    )


def run(args: argparse.Namespace) -> None:
    """Distil."""
    job = opened(args)
    from .trained_on import note_machine
    from .training.stages import distil_students  # TensorFlow is loaded only when it is needed

    teacher = None
    if args.soft_labels is not None:
        from .conversion.onnx_export import patch_teacher

        teacher = patch_teacher(args.soft_labels)
    trained = distil_students(job, patch_teacher=teacher)
    note_machine(job.folder, "distil")
    if args.json:
        print(
            json.dumps(
                {
                    "run": str(job.folder),
                    "temperature": trained.temperature,
                    "context_share": trained.context_share,
                    "sigma_scale": trained.sigma_scale.tolist(),
                }
            )
        )
        return
    print(f"{job.folder}: students distilled; next: evenhand-model quantise {args.recipe}")
