"""The work of one shard, wherever it runs: performances, their recordings, features and truth, packed into bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dsp_kernels.contract.generated.contract import GENRES, ROLES, SCENE_KINDS

from .faults import DIFFICULTIES
from .performance import SAMPLE_RATE_HZ, Performance, Stem
from .recipe import SPLITS, Recipe
from .recording import record
from .session_arrays import Arrays, clip_arrays, session_arrays
from .session_audio import write_session
from .shards import pack, sha256
from .topology import LineUp, draw, thinned

KINDS = ("scenes", "clips")
_CLIP_LEAD_IN_S = 0.3  # at most: silence before a clip


class Stage(Protocol):
    """Where performances come from; picklable, for it travels to workers."""

    def performance(
        self, rng: np.random.Generator, *, split: str, scene_kind: str, genre: str, seconds: float
    ) -> Performance:
        """Return something new of about ``seconds``."""

    def clip(self, rng: np.random.Generator, *, split: str, seconds: float) -> tuple[Stem, tuple[str, ...]]:
        """Return one source alone, and the names of its ingredients."""

    def licences(self, names: set[str]) -> list[dict[str, str]]:
        """Return name, version and licence of each ingredient."""


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard of a data set: which items of which split."""

    recipe: Recipe
    split: str
    kind: str
    number: int
    first: int
    last: int
    stage: Stage
    line_ups: tuple[LineUp, ...] = ()
    audio: Path | None = None

    @property
    def file(self) -> str:
        """Where it lies in the data set."""
        return f"{self.split}/{'shard' if self.kind == 'scenes' else 'clips'}_{self.number:04d}.npz"

    def rng(self, item: int, take: int) -> np.random.Generator:
        """Return the source of chance of one item; take 0 is its performance, the recordings follow."""
        seed = [self.recipe.seed, SPLITS.index(self.split), KINDS.index(self.kind), item, take]
        return np.random.default_rng(seed)

    def audio_folders(self) -> list[Path]:
        """Return the session folders that the job writes besides its shard."""
        if self.audio is None or self.kind != "scenes":
            return []
        return [
            self.audio / f"{self.split}_{item:05d}_{take}"
            for item in range(self.first, self.last)
            for take in range(self.recipe.splits[self.split].takes)
        ]


def planned(
    recipe: Recipe, splits: tuple[str, ...], stage: Stage, line_ups: tuple[LineUp, ...], audio: Path | None
) -> list[ShardJob]:
    """Return the jobs of a data set, all kinds and splits."""
    jobs = []
    for split in splits:
        size = recipe.splits[split]
        for kind, count, each in (
            ("scenes", size.performances, recipe.performances_per_shard),
            ("clips", size.clip_groups, recipe.clip_groups_per_shard),
        ):
            jobs += [
                ShardJob(
                    recipe=recipe,
                    split=split,
                    kind=kind,
                    number=number,
                    first=first,
                    last=min(first + each, count),
                    stage=stage,
                    line_ups=line_ups,
                    audio=audio,
                )
                for number, first in enumerate(range(0, count, each))
            ]
    return jobs


def run(job: ShardJob) -> tuple[bytes, dict[str, Any]]:
    """Return a shard and its entry in the index."""
    items: list[Arrays] = []
    names: set[str] = set()
    for item in range(job.first, job.last):
        made, ingredients = _scene(job, item) if job.kind == "scenes" else _clips(job, item)
        items += made
        names |= ingredients
    content = pack(job.kind, items)
    return content, _entry(job, content, items, names)


def drawn_scenes(recipe: Recipe, split: str) -> list[tuple[str, str]]:
    """Return kind and genre of every performance of a split: shares hold exactly, genres within each kind too."""
    rng = np.random.default_rng([recipe.seed, SPLITS.index(split)])
    kinds = _dealt(rng, recipe.scene_kinds, recipe.splits[split].performances)
    genres = {kind: _dealt(rng, recipe.genres, kinds.count(kind)) for kind in recipe.scene_kinds}
    return [(kind, genres[kind].pop()) for kind in kinds]


def _difficulty(job: ShardJob, number: int, n: int) -> str:
    """Return how hard recording ``number`` of ``n`` is."""
    rng = np.random.default_rng([job.recipe.seed, SPLITS.index(job.split), KINDS.index(job.kind)])
    return _dealt(rng, job.recipe.difficulties, n)[number]


def _dealt(rng: np.random.Generator, shares: dict[str, float], n: int) -> list[str]:
    """Return ``n`` words by their shares, shuffled."""
    edges = np.cumsum(list(shares.values()))
    places = np.searchsorted(edges / edges[-1], (np.arange(n) + rng.random()) / max(n, 1), side="right")
    words = list(shares)
    return [words[min(int(k), len(words) - 1)] for k in rng.permutation(places)]


def _scene(job: ShardJob, item: int) -> tuple[list[Arrays], set[str]]:
    recipe, rng = job.recipe, job.rng(item, 0)
    scene_kind, genre = drawn_scenes(recipe, job.split)[item]
    size = recipe.splits[job.split]
    line_up = draw(rng, job.line_ups) if job.line_ups else None
    if line_up is not None:
        genre = line_up.genre
    performance = job.stage.performance(
        rng, split=job.split, scene_kind=scene_kind, genre=genre, seconds=float(rng.uniform(*recipe.seconds))
    )
    if line_up is not None and scene_kind == "music":
        performance = thinned(rng, performance, line_up)
    made = []
    folders = job.audio_folders()
    for take in range(size.takes):
        take_rng = job.rng(item, 1 + take)
        difficulty = _difficulty(job, item * size.takes + take, size.takes * size.performances)
        session = record(take_rng, performance, job.split, difficulty, doubled_share=recipe.doubled_share)
        arrays = session_arrays(take_rng, session)
        made.append(arrays)
        if folders:
            write_session(folders[(item - job.first) * size.takes + take], session, arrays)
    return made, set(performance.ingredients)


def _clips(job: ShardJob, item: int) -> tuple[list[Arrays], set[str]]:
    recipe, rng = job.recipe, job.rng(item, 0)
    seconds, stems, names = [], [], set()
    n_frames = int(recipe.clip_seconds[1] * SAMPLE_RATE_HZ)
    for _ in range(recipe.clips_per_group):
        length_s = float(rng.uniform(*recipe.clip_seconds))
        stem, ingredients = job.stage.clip(rng, split=job.split, seconds=length_s)
        audio = np.zeros((n_frames, stem.audio.shape[1]), np.float32)
        begin = int(rng.uniform(0.0, _CLIP_LEAD_IN_S) * SAMPLE_RATE_HZ)
        end = min(n_frames, int(length_s * SAMPLE_RATE_HZ), begin + len(stem.audio))
        audio[begin:end] = stem.audio[: end - begin]
        seconds.append(length_s)
        stems.append(replace(stem, audio=audio, lead_spans_s=()))
        names |= set(ingredients)
    group = Performance(
        stems=tuple(stems), scene_kind="music", genre="pop", beats_s=np.zeros(0), downbeats_s=np.zeros(0)
    )
    difficulty = _difficulty(job, item, recipe.splits[job.split].clip_groups)
    return clip_arrays(record(job.rng(item, 1), group, job.split, difficulty, is_whole=True), seconds), names


def _entry(job: ShardJob, content: bytes, items: list[Arrays], names: set[str]) -> dict[str, Any]:
    roles = Counter(ROLES[r] for item in items for r in np.atleast_1d(item["role"]).tolist())
    entry = {
        "file": job.file,
        "split": job.split,
        "kind": job.kind,
        "items": len(items),
        "seconds": round(sum(len(item["x"]) for item in items) / 50.0, 2),
        "bytes": len(content),
        "sha256": sha256(content),
        "roles": dict(sorted(roles.items())),
        "ingredients": sorted(names),
    }
    if job.kind == "scenes":
        genres = Counter(int(item["genre"]) for item in items)
        entry["genres"] = {("talk" if g < 0 else GENRES[g]): n for g, n in sorted(genres.items())}
        entry["scene_kinds"] = _counted(items, "scene_kind", SCENE_KINDS)
        entry["difficulties"] = _counted(items, "difficulty", DIFFICULTIES)
    return entry


def _counted(items: list[Arrays], key: str, words: tuple[str, ...]) -> dict[str, int]:
    return {words[k]: n for k, n in sorted(Counter(int(item[key]) for item in items).items())}
