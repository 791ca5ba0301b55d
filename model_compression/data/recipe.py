"""What a data set is to hold: a recipe in TOML, read and checked word by word."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dsp_kernels.contract.generated.contract import GENRES, SCENE_KINDS

from ..errors import ModelError, near_misses
from .faults import DIFFICULTIES
from .ingredients import SOUNDS

SPLITS = ("train", "valid", "test")
BUILT_IN = Path(__file__).parent.parent / "recipes"
MOST_TAKES = 32
_MOST_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class SplitSize:
    """How much of a split.

    Attributes
    ----------
    takes
        Recordings of each performance, each with its own room, faults, gains and channels.
    clip_groups
        Groups of clips recorded together.
    """

    performances: int
    takes: int
    clip_groups: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A data set to be.

    Attributes
    ----------
    splits
        Word of ``SPLITS`` to its size.
    seconds
        Shortest and longest performance.
    scene_kinds, genres, difficulties
        Shares; they need not add up to 1.
    doubled_share
        Of the sources on a stage, that have a second microphone; None where each role has its usual share.
    sounds
        ``core``, what the tests' set-up installs, or ``all``, what ``.ci/setup model`` fetches besides.
    clips_per_group, clip_seconds
        Of the clips for the role network.
    performances_per_shard, clip_groups_per_shard
        What one file holds.
    """

    name: str
    seed: int
    splits: dict[str, SplitSize]
    sounds: str
    seconds: tuple[float, float]
    scene_kinds: dict[str, float]
    genres: dict[str, float]
    difficulties: dict[str, float]
    doubled_share: float | None
    clips_per_group: int
    clip_seconds: tuple[float, float]
    performances_per_shard: int
    clip_groups_per_shard: int

    @property
    def digest(self) -> str:
        """SHA-256 of what the recipe says, however it is laid out."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def find_recipe(word: str) -> Path:
    """Return the file of a recipe: a path, or the name of a built-in one."""
    if Path(word).suffix == ".toml" and Path(word).is_file():
        return Path(word)
    names = sorted(path.stem for path in BUILT_IN.glob("*.toml"))
    if Path(word).name in names:
        return BUILT_IN / f"{Path(word).name}.toml"
    raise ModelError(f"{word}: no such recipe; {near_misses(word, names)} A path must end in .toml")


def read_recipe(path: Path) -> Recipe:
    """Read and check ``[data]`` of a recipe.

    Raises
    ------
    ModelError
        When it cannot be read or says something unknown, missing or out of range; names file, key and near misses.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: is no TOML ({error})") from None
    if not isinstance(document.get("data"), dict):
        raise ModelError(f"{path}: has no table [data]; {BUILT_IN.name}/mini.toml shows one")
    return _Reader(path, document["data"], "data").recipe()


class _Reader:
    """One table, with where it stands, for messages."""

    def __init__(self, path: Path, table: dict[str, Any], where: str) -> None:
        self._path, self._table, self._where = path, table, where

    def recipe(self) -> Recipe:
        self._only(
            "name", "seed", "splits", "sounds", "takes", "seconds", "scene_kinds", "genres", "difficulties",
            "doubled_share", "clips", "shards",
        )  # fmt: skip
        clips, shards, splits = self._sub("clips"), self._sub("shards"), self._sub("splits")
        clips._only("per_group", "seconds")
        shards._only("performances", "clip_groups")
        splits._only(*SPLITS)
        if not splits._table:
            raise splits._wrong("", f"names no split; there are {', '.join(SPLITS)}")
        takes = self._whole("takes", 1, MOST_TAKES)
        return Recipe(
            name=self._name(),
            seed=self._whole("seed", 0, 2**31 - 1),
            splits={word: splits._sub(word)._split_size(takes) for word in SPLITS if word in splits._table},
            sounds=self._sounds(),
            seconds=self._span("seconds", 2.0, _MOST_SECONDS),
            scene_kinds=self._shares("scene_kinds", SCENE_KINDS),
            genres=self._shares("genres", GENRES) if "genres" in self._table else dict.fromkeys(GENRES, 1.0),
            difficulties=self._shares("difficulties", DIFFICULTIES),
            doubled_share=self._share("doubled_share"),
            clips_per_group=clips._whole("per_group", 1, 32),
            clip_seconds=clips._span("seconds", 1.0, 20.0),
            performances_per_shard=shards._whole("performances", 1, 1000),
            clip_groups_per_shard=shards._whole("clip_groups", 1, 1000),
        )

    def _split_size(self, takes: int) -> SplitSize:
        """Read one split; ``takes`` is of those that do not say."""
        self._only("performances", "takes", "clip_groups")
        return SplitSize(
            performances=self._whole("performances", 0, 10**6),
            takes=self._whole("takes", 1, MOST_TAKES) if "takes" in self._table else takes,
            clip_groups=self._whole("clip_groups", 0, 10**6),
        )

    def _wrong(self, key: str, what: str) -> ModelError:
        return ModelError(f"{self._path}: {self._where}{'.' if key else ''}{key} {what}")

    def _only(self, *known: str) -> None:
        for key in self._table:
            if key not in known:
                raise self._wrong(key, f"is not known; {near_misses(key, known)}")

    def _get(self, key: str) -> Any:
        if key not in self._table:
            raise self._wrong(key, "is missing")
        return self._table[key]

    def _sub(self, key: str) -> _Reader:
        table = self._get(key)
        if not isinstance(table, dict):
            raise self._wrong(key, f"= {table!r} is no table")
        return _Reader(self._path, table, f"{self._where}.{key}")

    def _name(self) -> str:
        name = self._get("name")
        if not isinstance(name, str) or not name.replace("_", "").isalnum():
            raise self._wrong("name", f"= {name!r} is no plain word of letters, digits and _")
        return name

    def _sounds(self) -> str:
        sounds = self._table.get("sounds", SOUNDS[0])
        if sounds not in SOUNDS:
            raise self._wrong("sounds", f"= {sounds!r} is no set of sounds; {near_misses(str(sounds), SOUNDS)}")
        return str(sounds)

    def _whole(self, key: str, least: int, most: int) -> int:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._wrong(key, f"= {value!r} is no whole number from {least} to {most}")
        return value

    def _span(self, key: str, least: float, most: float) -> tuple[float, float]:
        value = self._get(key)
        are_numbers = isinstance(value, list) and len(value) == 2
        are_numbers = are_numbers and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
        if not are_numbers or not least <= value[0] <= value[1] <= most:
            raise self._wrong(key, f"= {value!r} is no [shortest, longest] between {least:g} and {most:g} s")
        return float(value[0]), float(value[1])

    def _share(self, key: str) -> float | None:
        """Return a share from 0 to 1; None where the table does not say."""
        value = self._table.get(key)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (is_number and 0.0 <= value <= 1.0):
            raise self._wrong(key, f"= {value!r} is no share from 0 to 1")
        return None if value is None else float(value)

    def _shares(self, key: str, known: tuple[str, ...]) -> dict[str, float]:
        sub = self._sub(key)
        sub._only(*known)
        for word, share in sub._table.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 <= share < 1e6:
                raise sub._wrong(word, f"= {share!r} is no share; give a number from 0")
        shares = {word: float(sub._table[word]) for word in known if sub._table.get(word, 0) > 0}
        if not shares:
            raise self._wrong(key, f"gives no share to anything; there are {', '.join(known)}")
        return shares
