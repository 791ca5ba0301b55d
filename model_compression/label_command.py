"""``evenhand-model label``: shards out of a data set of finished mixes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .loaders.catalogue import LOADERS
from .loaders.licences import LICENCES

NAME = "label"
SUMMARY = "find out what finished mixes did with their stems, and write it as training data"
EXAMPLE = """\
example:
  Levels and positions of all songs of MUSDB18, and the whole console of their first half minute:

    evenhand-model label musdb18 ~/musdb18 --seconds 30 --fit --out out/data/musdb18

  `stems` reads a folder (or folders) of your own stems with a file named mix beside them. Stop it whenever you like:
  the same command goes on from there. DIR/index.json says on which terms the data set may be used.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("set_name", metavar="SET", choices=sorted(LOADERS), help=", ".join(sorted(LOADERS)))
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the data set lies")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder of the shards (out/data/SET)")
    parser.add_argument("--begin", metavar="S", type=_seconds, default=0.0, help="where the stretch begins (0)")
    parser.add_argument("--seconds", metavar="S", type=_seconds, help="length of the stretch (all)")
    parser.add_argument("--fit", action="store_true", help="fit tone, compressor and sends as well; minutes a song")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> None:
    """Label the set and say what came out."""
    run_label(args)


def run_label(args: argparse.Namespace) -> None:
    """Label every session of a set, telling each as it is done."""
    from .labels.job import label

    out = args.out or Path("out/data") / args.set_name
    index = label(
        args.set_name,
        args.folder,
        out,
        begin_s=args.begin,
        seconds=args.seconds,
        has_fit=args.fit,
        tell=lambda line: print(line, file=sys.stderr),
    )
    if args.json:
        print(json.dumps({"out": str(out)} | {k: v for k, v in index.items() if k != "format"}))
        return
    seconds = sum(entry["seconds"] for entry in index["shards"])
    print(f"{out}: {len(index['shards'])} sessions of {seconds / 60:.1f} min. {LICENCES[args.set_name].note}")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no length in seconds")
    return value
