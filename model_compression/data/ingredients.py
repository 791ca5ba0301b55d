"""What the generated sound is made of: packages, licences, and one clear error where something is missing."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from model_compression.data import downloads

SOUNDS = ("core", "all")
_sounds: ContextVar[str] = ContextVar("sounds", default="core")


Drawn = TypeVar("Drawn", bound="OfIngredient")


class MissingIngredient(RuntimeError):
    """A sound source that this machine lacks; the message says what to install."""


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """One source of sound.

    Attributes
    ----------
    package
        Of Debian; empty where it is downloaded or our own.
    version
        The version that the shipped data was made with.
    licence
        As stated by the package's copyright file.
    needs
        Commands that must be on PATH and files that must exist.
    splits
        Where it may sound: train (and valid), test, or both where its parts are divided.
    is_core
        Whether every recipe has it; the others sound only where a recipe asks for all sounds.
    downloads
        What ``.ci/setup model`` fetches of it.
    """

    name: str
    version: str
    licence: str
    use: str
    splits: tuple[str, ...]
    package: str = ""
    needs: tuple[str, ...] = ()
    is_core: bool = True
    downloads: tuple[downloads.Download, ...] = ()


@cache
def ingredients() -> dict[str, Ingredient]:
    """Entries of ``ingredients.toml`` by name."""
    table = tomllib.loads((Path(__file__).parent / "ingredients.toml").read_text())
    made = (
        Ingredient(
            **{
                **entry,
                "needs": tuple(entry.get("needs", ())),
                "splits": tuple(entry["splits"]),
                "downloads": tuple(
                    downloads.Download(package=package, version=version, sha256=digest)
                    for package, version, digest in entry.get("downloads", ())
                ),
            }
        )
        for entry in table["ingredient"]
    )
    return {one.name: one for one in made}


@contextmanager
def sounding(sounds: str) -> Iterator[None]:
    """Let what is drawn inside come from ``core`` sounds only, or from ``all``."""
    token = _sounds.set(sounds)
    try:
        yield
    finally:
        _sounds.reset(token)


def in_use() -> frozenset[str]:
    """Return the names of the ingredients that may be drawn now."""
    return _named(_sounds.get())


@cache
def _named(sounds: str) -> frozenset[str]:
    return frozenset(name for name, one in ingredients().items() if one.is_core or sounds == "all")


class OfIngredient(Protocol):
    """What says where its sound comes from."""

    @property
    def ingredient(self) -> str:
        """Name of the ingredient."""

    @property
    def weight(self) -> float:
        """How much it counts."""


def drawn_fairly(rng: np.random.Generator, fits: Sequence[Drawn]) -> Drawn:
    """Draw one of several sounds: an ingredient by the square root of what its sounds weigh, then any of these.

    So a bank of twenty does not drown what was recorded elsewhere, nor does a single recording count as much as it.
    """
    of: dict[str, list[Drawn]] = {}
    for one in fits:
        of.setdefault(one.ingredient, []).append(one)
    names = sorted(of)
    odds = np.sqrt([sum(one.weight for one in of[name]) for name in names])
    drawn = of[names[int(rng.choice(len(names), p=odds / odds.sum()))]]
    return drawn[int(rng.integers(len(drawn)))]


def require() -> None:
    """Raise :class:`MissingIngredient` naming everything in use that this machine lacks."""
    _require(_sounds.get())


@cache
def _require(sounds: str) -> None:
    lack = shortage([ingredients()[name] for name in sorted(_named(sounds))])
    if lack:
        raise MissingIngredient(lack)


def shortage(used: Iterable[Ingredient], root: Path = downloads.ROOT) -> str:
    """Say in one line what this machine lacks of some ingredients, and what to do; empty where it has them."""
    used = tuple(used)
    missing = sorted({one.package for one in used for need in one.needs if not _is_here(need)})
    if missing:
        return f"the generator needs Debian packages that are missing; apt install {' '.join(missing)}"
    not_fetched = [one.package for each in used for one in each.downloads if not downloads.is_here(one, root)]
    if not_fetched:
        some = ", ".join(not_fetched[:3]) + (f" and {len(not_fetched) - 3} more" if len(not_fetched) > 3 else "")
        return f"the generator needs sounds that were not fetched: {some}; run .ci/setup model"
    return ""


def _is_here(need: str) -> bool:
    return Path(need).exists() if need.startswith("/") else shutil.which(need) is not None
