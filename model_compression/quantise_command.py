"""``evenhand-model quantise``: the students as TFLite files in int8 and f16, once they pass the gate."""

from __future__ import annotations

import argparse
import json

from .run_arguments import add_run_arguments, opened

NAME = "quantise"
SUMMARY = "convert the students to int8 and f16, check them on both runtimes, export ONNX"
EXAMPLE = """\
example:
  After `evenhand-model distil small`; a file that fails the gate is not written:

    evenhand-model quantise small
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Quantise."""
    job = opened(args)
    from .conversion.quantise import quantise  # TensorFlow is loaded only when it is needed

    figures = quantise(job)
    if args.json:
        print(json.dumps({"run": str(job.folder), "gate": figures}))
        return
    for name, measured in figures.items():
        print(f"{name}  {measured['size_bytes']} bytes, passed the gate on both runtimes")
