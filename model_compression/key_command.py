"""``evenhand-model key``: a pair of keys to sign bundles with."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "key"
SUMMARY = "make a pair of keys to sign bundles with"
EXAMPLE = """\
example:
  evenhand-model key ~/keys/stage

  stage.key signs and stays with you; a box that is given stage.pub takes what it signed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("stem", metavar="NAME", type=Path, help="NAME.key and NAME.pub are written")


def run(args: argparse.Namespace) -> None:
    """Write the pair, and say where."""
    from .signing import make_pair

    secret, public = make_pair(args.stem)
    print(f"{secret}: signs; readable by you alone")
    print(f"{public}: give it to the boxes, or name it with --model-key")
