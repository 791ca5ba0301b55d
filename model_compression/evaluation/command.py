"""``evenhand-model evaluate``: its arguments, and what it measures of a model and of the box."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..run_layout import read_file

if TYPE_CHECKING:
    from .audio_evaluation import Heard
    from .results import Results
    from .sessions import Session
    from .shards import Labelled

FIT_SESSIONS = 200
NAME = "evaluate"
SUMMARY = "measure a model, or the rules alone, beside baselines and reference mixes"
EXAMPLE = """\
example:
  A bundle on generated sessions that training never saw, and the whole box on songs and clips:

    evenhand-model evaluate --model evenhand.bundle --data out/data/small --out out/evaluation
    evenhand-model evaluate --model evenhand.bundle --audio songs --clips clips/manifest.json --out out/real

  A bundle that you signed yourself needs `--model-key keys/stage.pub` with --audio and --clips.
  Without --model the rules alone are measured: what a model has to beat.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--model", metavar="BUNDLE|none", default="none", help="bundle, or run for --data (none)")
    parser.add_argument(
        "--model-key", metavar="FILE", type=Path, action="append", default=[], help="public key that the box trusts"
    )
    parser.add_argument("--data", metavar="DIR", type=Path, help="generated data set: DIR/test/shard_*.npz")
    parser.add_argument("--split", default="test", help="split of --data to measure on (test)")
    parser.add_argument("--sessions", metavar="N", type=int, help="at most so many sessions of --data")
    parser.add_argument(
        "--ablation",
        metavar="LABEL=BUNDLE",
        action="append",
        default=[],
        help="a model that lacks something (repeatable)",
    )
    parser.add_argument("--audio", metavar="FOLDER", type=Path, help="folder of session folders, or a manifest.json")
    parser.add_argument(
        "--preroll-s", metavar="S", type=float, default=0.0, help="the box hears the song's end first (0)"
    )
    parser.add_argument("--clips", metavar="MANIFEST", type=Path, help="manifest.json of single-instrument clips")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of random gains, pans and orders (0)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="where tables and plots go")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object and nothing else")


def run_evaluate(args: argparse.Namespace) -> None:
    """Measure, write, and say where it lies.

    Raises
    ------
    ModelError
        When there is nothing to measure, or on a wrong world.
    """
    from .results import Results

    results = Results(command=shlex.join(["evenhand-model", *sys.argv[1:]]))
    _measure(args, results)
    results.write(args.out)
    print(
        json.dumps(results.as_record(), allow_nan=False) if args.json else f"{args.out / 'evaluation.md'}: the results"
    )


run = run_evaluate  # by the name that the table of commands calls


def _measure(args: argparse.Namespace, results: Results) -> None:
    if not (args.data or args.audio or args.clips):
        raise ModelError("nothing to measure on; give --data, --audio or --clips")
    if args.data:
        if args.model == "none":
            raise ModelError("--data measures a model; name one with --model")
        _on_data(args, results)
    tracks = _on_audio(args, results) if args.audio else []
    clips = _on_clips(args, results) if args.clips else []
    if tracks and clips:
        from . import clip_evaluation

        both = clip_evaluation.together(tracks, clips)
        clip_evaluation.report(both, results, args.out, what="clips and tracks")


def _on_data(args: argparse.Namespace, results: Results) -> None:
    from . import data_evaluation, shards

    ablations = dict(_pair(text) for text in args.ablation)
    sessions = list(shards.sessions(args.data, args.split, at_most=args.sessions))
    index = args.data / "index.json"
    if index.exists():
        results.made_of["data"] = hashlib.sha256(read_file(index)).hexdigest()
    data_evaluation.evaluate(
        Path(args.model),
        sessions,
        results,
        args.out,
        train=_train_split(args),
        ablations=ablations,
        seed=args.seed,
        say=_say,
    )


def _on_audio(args: argparse.Namespace, results: Results) -> list[Heard]:
    from . import audio_evaluation, clip_evaluation
    from .baselines.students import students_of

    train = _train_split(args)
    heard = audio_evaluation.evaluate(
        _audio_sessions(args.audio, args.seed),
        results,
        model=args.model,
        keys=args.model_key,
        preroll_s=args.preroll_s,
        students=students_of(train) if train else None,
        say=_say,
    )
    clip_evaluation.report(heard, results, args.out, what="tracks of songs")
    return heard


def _train_split(args: argparse.Namespace) -> list[Labelled]:
    """Return what the learned baselines are fitted on: some of --data, where it has a train split."""
    from . import shards

    if args.data is None or not (args.data / "train").is_dir():
        return []
    return list(shards.sessions(args.data, "train", at_most=FIT_SESSIONS))


def _audio_sessions(place: Path, seed: int) -> Iterator[Session]:
    from . import real_audio, session_folders

    return real_audio.songs(place, seed=seed) if place.suffix == ".json" else session_folders.sessions(place)


def _on_clips(args: argparse.Namespace, results: Results) -> list[Heard]:
    from . import clip_evaluation, real_audio

    models = {"rules": "none"} | ({"model": args.model} if args.model != "none" else {})
    heard = clip_evaluation.hear(
        real_audio.clips(args.clips), models=models, keys=args.model_key, command=None, say=_say
    )
    clip_evaluation.report(heard, results, args.out, what="clips")
    return heard


def _pair(text: str) -> tuple[str, Path]:
    label, is_pair, path = text.partition("=")
    if not is_pair or not label or not path:
        raise ModelError(f"--ablation {text}: write LABEL=BUNDLE")
    return label, Path(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
