"""What `train`, `distil` and `quantise` share: a recipe, a data set, and the folder of the run."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .training.recipe import RECIPES
from .training.run import Run, open_run

RECIPE_HELP = f"name of a recipe of ours ({', '.join(sorted(p.stem for p in RECIPES.glob('*.toml')))}) or a .toml file"


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("recipe", metavar="RECIPE", help=RECIPE_HELP)
    parser.add_argument("--data", metavar="DIR", type=Path, help="data set (out/data/RECIPE)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder of the run (out/runs/RECIPE)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def opened(args: argparse.Namespace) -> Run:
    """Open the run that the arguments name."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    data = args.data or Path("out") / "data" / Path(args.recipe).stem
    return open_run(args.recipe, data, args.out, is_quiet=args.json)
