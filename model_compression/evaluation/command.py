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
  Everything that is measured of a bundle: on generated sessions that training never saw, and on recordings.

    evenhand-model evaluate --model evenhand.bundle --data out/data/small --ablate --cost --mixes 100 --labels 12 \\
      --clips recordings/manifest.json --out out/evaluation

  And the whole box on whole songs, beside baselines and published mixes:

    evenhand-model evaluate --model evenhand.bundle --audio recordings/manifest.json --out out/songs

  A bundle that you signed yourself needs `--model-key keys/stage.pub` with --audio, --clips and --mixes.
  Without --model the rules alone are measured: what a model has to beat. `--clips` with `--student RUN` asks the float
  networks of a run, before there is a bundle.
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
    parser.add_argument(
        "--ablate", action="store_true", help="also ask with context, memory, song, roles or inputs taken away"
    )
    parser.add_argument(
        "--cost", action="store_true", help="also size, time of a tick on this machine, and clicks of what moves"
    )
    parser.add_argument(
        "--mixes", metavar="N", type=int, default=0, help="mix N new sessions beside baselines (0; G8 wants 100)"
    )
    parser.add_argument(
        "--labels", metavar="N", type=int, default=0, help="read N mixes of known settings back (0; 12 tell)"
    )
    parser.add_argument("--jobs", metavar="N", type=int, help="processes that answer at once (one a core)")
    parser.add_argument("--audio", metavar="FOLDER", type=Path, help="folder of session folders, or a manifest.json")
    parser.add_argument(
        "--preroll-s", metavar="S", type=float, default=0.0, help="the box hears the song's end first (0)"
    )
    parser.add_argument("--clips", metavar="MANIFEST", type=Path, help="manifest.json of recorded clips and songs")
    parser.add_argument("--student", metavar="RUN", type=Path, help="ask the float student of a run about --clips, too")
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
    from .results import Results, markdown

    results = Results(command=shlex.join(["evenhand-model", *sys.argv[1:]]))
    _measure(args, results)
    results.write(args.out)
    if args.json:
        print(json.dumps(results.as_record(), allow_nan=False))
        return
    print(markdown(results.goals.columns, results.goals.rows))
    print(f"{args.out / 'evaluation.md'}: the results")


run = run_evaluate  # by the name that the table of commands calls


def _measure(args: argparse.Namespace, results: Results) -> None:
    if not (args.data or args.audio or args.clips):
        raise ModelError("nothing to measure on; give --data, --audio or --clips")
    more = {
        "--ablate": args.ablate,
        "--cost": args.cost,
        "--labels": args.labels,
        "--mixes": args.mixes,
        "--student": args.student,
    }
    for option, is_asked in more.items():
        of = "clips" if option == "--student" else "data"
        if is_asked and not getattr(args, of):
            raise ModelError(f"{option} says more about --{of}; give that")
    if args.data:
        if args.model == "none":
            raise ModelError("--data measures a model; name one with --model")
        _on_data(args, results)
    tracks = _on_audio(args, results) if args.audio else []
    if args.clips:
        _on_clips(args, results, tracks)
    elif tracks:
        from .clip_evaluation import report_all

        report_all([], tracks, results, args.out)


def _on_data(args: argparse.Namespace, results: Results) -> None:
    from . import data_evaluation, shards

    extent = data_evaluation.Extent(
        models=dict(_pair(text) for text in args.ablation), is_ablated=args.ablate, has_cost=args.cost,
        n_mixes=args.mixes, n_labels=args.labels, seed=args.seed, jobs=_jobs(args), keys=tuple(args.model_key),
        data=args.data,
    )  # fmt: skip
    sessions = list(shards.sessions(args.data, args.split, at_most=args.sessions))
    index = args.data / "index.json"
    if index.exists():
        results.made_of["data"] = hashlib.sha256(read_file(index)).hexdigest()
    data_evaluation.evaluate(
        Path(args.model), sessions, results, args.out, train=_train_split(args), extent=extent, say=_say
    )


def _jobs(args: argparse.Namespace) -> int:
    from .model_child import cores

    return args.jobs or cores()


def _on_audio(args: argparse.Namespace, results: Results) -> list[Heard]:
    from . import audio_evaluation
    from .baselines.students import students_of

    train = _train_split(args)
    return audio_evaluation.evaluate(
        _audio_sessions(args.audio, args.seed),
        results,
        model=args.model,
        keys=args.model_key,
        preroll_s=args.preroll_s,
        students=students_of(train) if train else None,
        say=_say,
    )


def _train_split(args: argparse.Namespace) -> list[Labelled]:
    """Return what the learned baselines are fitted on: some of --data, where it has a train split."""
    from . import shards

    if args.data is None or not (args.data / "train").is_dir():
        return []
    return list(shards.sessions(args.data, "train", at_most=FIT_SESSIONS))


def _audio_sessions(place: Path, seed: int) -> Iterator[Session]:
    from . import real_audio, session_folders

    return real_audio.songs(place, seed=seed) if place.suffix == ".json" else session_folders.sessions(place)


def _on_clips(args: argparse.Namespace, results: Results, tracks: list[Heard]) -> None:
    """Measure clips, and the songs of the same manifest where ``tracks`` do not tell of them yet."""
    from . import clip_evaluation, real_audio

    sounds = clip_evaluation.sounds_of(real_audio.clips(args.clips))
    songs = clip_evaluation.songs_of(real_audio.songs(args.clips, seed=args.seed))
    clips: list[Heard] = []
    models = {"model": args.model} if args.model != "none" else {} if args.student else {"rules": "none"}
    for found, asked in ((clips, sounds), (tracks, [] if tracks else songs)):
        found += clip_evaluation.heard_by_box(asked, models=models, keys=args.model_key, jobs=_jobs(args), say=_say)
    if args.student:
        for found, asked in ((clips, sounds), (tracks, songs)):
            found += clip_evaluation.heard_by_student(args.student, asked)
    clip_evaluation.report_all(clips, tracks, results, args.out)


def _pair(text: str) -> tuple[str, Path]:
    label, is_pair, path = text.partition("=")
    if not is_pair or not label or not path:
        raise ModelError(f"--ablation {text}: write LABEL=BUNDLE")
    return label, Path(path)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
