"""Makes a data set from a recipe: plans shards, has them made, writes each whole, and goes on where it was stopped."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dsp_kernels.contract.generated.contract import CONTRACT_ID

from ..errors import ModelError, near_misses
from . import workers
from .code_digest import code_digest
from .recipe import Recipe
from .shard_job import ShardJob, Stage, planned
from .shards import FORMAT, INDEX, index_text, is_whole, read_index, sha256, write_whole
from .topology import LineUp

LOCK = ".lock"
_IDENTITY = {
    "recipe_digest": "another recipe",
    "code_digest": "other code",
    "line_up_digest": "other line-ups (--medleydb)",
    "contract_id": "another contract",
}


def generate(
    recipe: Recipe,
    out: Path,
    stage: Stage,
    *,
    splits: tuple[str, ...] | None = None,
    line_ups: tuple[LineUp, ...] = (),
    audio: Path | None = None,
    n_workers: int = 1,
    dask: str | None = None,
    on_shard: Callable[[int, int, dict[str, Any] | None], None] = lambda done, total, entry: None,
) -> dict[str, Any]:
    """Make what ``out`` still lacks of a data set, and return its index.

    Parameters
    ----------
    splits
        Which of the recipe's; None for all.
    audio
        Folder for the sessions themselves, one folder each.
    dask
        Address of a scheduler, or ``local``; None for processes of this machine.
    on_shard
        Told how many shards are done, of how many, and the last one's entry.

    Raises
    ------
    ModelError
        When ``out`` cannot be written or holds something else.
    """
    for split in splits or ():
        if split not in recipe.splits:
            raise ModelError(f"{recipe.name}: has no split {split}; {near_misses(split, recipe.splits)}")
    jobs = planned(recipe, tuple(recipe.splits), stage, line_ups, audio)
    wanted = [job for job in jobs if splits is None or job.split in splits]
    if not wanted:
        raise ModelError(f"{recipe.name}: asks for nothing; give a split performances or clip_groups")
    with _locked(out):
        index = _fresh_index(recipe, line_ups)
        kept = _kept(out, index, {job.file: job for job in jobs})
        missing = [job for job in wanted if job.file not in kept]
        on_shard(len(wanted) - len(missing), len(wanted), None)
        for split in {job.split for job in missing}:
            (out / split).mkdir(exist_ok=True)
        for job, content, entry in _made(missing, n_workers, dask):
            write_whole(out / job.file, content)
            kept[job.file] = entry
            _write_index(out, index, kept, jobs, stage)
            on_shard(len([j for j in wanted if j.file in kept]), len(wanted), entry)
        return _write_index(out, index, kept, jobs, stage)


def _made(jobs: list[ShardJob], n_workers: int, dask: str | None) -> Iterator[workers.Done]:
    if not jobs:
        return iter(())
    return workers.on_processes(jobs, n_workers) if dask is None else workers.on_dask(jobs, dask, n_workers)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Make the folder, and keep a second job out of it; a killed job's lock goes with it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / LOCK).open("w")
    except OSError as error:
        raise ModelError(f"{out}: cannot be written ({error.strerror}); name another --out") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"{out}: another job is writing it; wait for it or name another --out") from None
        yield


def _fresh_index(recipe: Recipe, line_ups: tuple[LineUp, ...]) -> dict[str, Any]:
    said = json.dumps([asdict(line_up) for line_up in line_ups], sort_keys=True)
    return {
        "format": FORMAT,
        "recipe": recipe.name,
        "seed": recipe.seed,
        "recipe_digest": recipe.digest,
        "code_digest": code_digest(),
        "line_up_digest": hashlib.sha256(said.encode()).hexdigest() if line_ups else "",
        "contract_id": CONTRACT_ID,
    }


def _kept(out: Path, index: dict[str, Any], jobs: dict[str, ShardJob]) -> dict[str, dict[str, Any]]:
    """Return the entries of shards that an earlier run finished and that are still whole."""
    if not (out / INDEX).exists():
        return {}
    old = read_index(out)
    for key, what in _IDENTITY.items():
        if old.get(key) != index[key]:
            raise ModelError(f"{out}: was made from {what}; name another --out, or delete this folder to make it anew")
    return {
        entry["file"]: entry
        for entry in old["shards"]
        if entry["file"] in jobs
        and is_whole(out, entry)
        and all(folder.is_dir() for folder in jobs[entry["file"]].audio_folders())
    }


def _write_index(
    out: Path, index: dict[str, Any], kept: dict[str, dict[str, Any]], jobs: list[ShardJob], stage: Stage
) -> dict[str, Any]:
    shards = [kept[file] for file in sorted(kept)]
    names = {name for entry in shards for name in entry["ingredients"]}
    whole = index | {
        "is_complete": len(kept) == len(jobs),
        "splits": {
            split: _totals([e for e in shards if e["split"] == split]) for split in sorted({j.split for j in jobs})
        },
        "ingredients": stage.licences(names),
        "shards": shards,
    }
    write_whole(out / INDEX, index_text(whole))
    return whole


def _totals(shards: list[dict[str, Any]]) -> dict[str, Any]:
    totals: dict[str, Any] = {"bytes": sum(entry["bytes"] for entry in shards)}
    for kind in ("scenes", "clips"):
        of_kind = [entry for entry in shards if entry["kind"] == kind]
        totals[kind] = {
            "items": sum(entry["items"] for entry in of_kind),
            "seconds": round(sum(entry["seconds"] for entry in of_kind), 2),
            "roles": _summed(of_kind, "roles"),
        }
        if kind == "scenes":
            totals[kind] |= {key: _summed(of_kind, key) for key in ("genres", "scene_kinds", "difficulties")}
    return totals


def _summed(shards: list[dict[str, Any]], key: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for entry in shards:
        counts.update(entry[key])
    return dict(sorted(counts.items()))


def data_digest(index: dict[str, Any]) -> str:
    """Return what names a data set's content: the SHA-256 over those of its shards, in the order of their files."""
    return sha256("".join(f"{entry['file']} {entry['sha256']}\n" for entry in index["shards"]).encode())
