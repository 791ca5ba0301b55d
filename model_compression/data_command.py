"""``evenhand-model data``: its arguments, its progress, and what it says at the end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .progress import progress

NAME = "data"
SUMMARY = "make multitrack sessions with known truth"
EXAMPLE = """\
example:
  A small data set, and its sessions as audio to listen to:

    evenhand-model data mini --out out/data/mini --audio out/sessions

  RECIPE is a file, or the name of a built-in one: mini (a minute), small (half an hour on two cores), evening (an
  hour and a quarter), large (a cluster or a night), wide (sessions of up to 32 channels to measure on; a quarter of
  an hour). Stop it whenever you like: the same command again goes on from there and ends with the same bytes.
  DIR/index.json says what is in it, made from what, under which licences.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("recipe", metavar="RECIPE", help="file in TOML, or the name of a built-in recipe")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder of the data set (out/data/NAME OF THE RECIPE)")
    parser.add_argument("--split", choices=["train", "valid", "test"], help="only this one (default: all)")
    parser.add_argument("--workers", metavar="N", type=_positive, default=_cores(), help="processes (one a core)")
    parser.add_argument("--dask", metavar="local|ADDRESS", help="run on a Dask cluster instead, tcp://host:port")
    parser.add_argument(
        "--medleydb", metavar="DIR", type=Path, help="MedleyDB's metadata: draw genres and line-ups from real sessions"
    )
    parser.add_argument(
        "--audio", metavar="DIR", type=Path, help="write each session as a folder too: a FLAC a channel and truth.json"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def run(args: argparse.Namespace) -> None:
    """Make the data set, and say what is in it."""
    from .data.generate import data_digest, generate
    from .data.recipe import find_recipe, read_recipe
    from .data.sources import Musicians
    from .data.topology import read_line_ups

    recipe = read_recipe(find_recipe(args.recipe))
    out = args.out or Path("out/data") / recipe.name
    stage = Musicians(voices=(out / ".voices").absolute(), sounds=recipe.sounds)
    stage.check()
    with only_our_words(), progress(f"{recipe.name}: shards", is_quiet=args.json) as tell:
        index = generate(
            recipe,
            out,
            stage,
            splits=(args.split,) if args.split else None,
            line_ups=read_line_ups(args.medleydb) if args.medleydb else (),
            audio=args.audio,
            n_workers=args.workers,
            dask=args.dask,
            on_shard=lambda done, total, _entry: tell(done, total),
        )
    if args.json:
        said = {key: index[key] for key in ("recipe", "recipe_digest", "code_digest", "is_complete", "splits")}
        print(json.dumps(said | {"out": str(out), "data_digest": data_digest(index)}))
        return
    for split, totals in index["splits"].items():
        scenes, clips = totals["scenes"], totals["clips"]
        print(
            f"{split}: {scenes['items']} sessions of {scenes['seconds'] / 60:.1f} min, {clips['items']} clips of "
            f"{clips['seconds'] / 60:.1f} min, {totals['bytes'] / 1e6:.1f} MB"
        )
    print(
        f"{out}: {'complete' if index['is_complete'] else 'not all splits yet'}, data digest {data_digest(index)[:16]}"
    )


@contextmanager
def only_our_words() -> Iterator[None]:
    """Keep what others print off stdout, in this process and in all it starts: some plug-ins of instruments do."""
    sys.stdout.flush()
    ours, nobody = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nobody, 1)
        yield
    finally:
        os.dup2(ours, 1)
        os.close(ours)
        os.close(nobody)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _cores() -> int:
    return len(os.sched_getaffinity(0))
