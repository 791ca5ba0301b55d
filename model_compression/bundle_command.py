"""``evenhand-model bundle``: what a run made, as one signed file that a box takes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .errors import ModelError

NAME = "bundle"
SUMMARY = "pack and sign the networks of a run for the box"
EXAMPLE = """\
example:
  evenhand-model key ~/keys/stage
  evenhand-model bundle out/runs/small --key ~/keys/stage.key --out stage.bundle
  evenhand-box render SESSION --out mix.wav --model stage.bundle --model-key ~/keys/stage.pub
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument("--key", metavar="FILE", type=Path, required=True, help="secret key that `key` made")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="where the bundle goes")
    parser.add_argument("--data", metavar="DIR", type=Path, help="data set of the run (out/data/RECIPE)")
    parser.add_argument("--name", default="evenhand", help="what the model is called (evenhand)")
    parser.add_argument("--version", help="which one it is (release, recipe, digits of what it was made from)")


def run(args: argparse.Namespace) -> None:
    """Write the cards of a run that was quantised, and the bundle, whole or not at all."""
    from .bundle_writer import make_bundle
    from .card import write_cards

    if (args.folder / "tflite").is_dir():
        write_cards(args.folder, args.data, name=args.name, version=args.version)
    data, lines = make_bundle(args.folder, args.key)
    part = args.out.with_name(f".{args.out.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(args.out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ModelError(f"{args.out}: cannot be written ({error.strerror}); name another place") from None
    for line in lines:
        print(line)
    print(f"{args.out}: {len(data) / 1e6:.2f} MB")
