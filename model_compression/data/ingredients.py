"""What the generated sound is made of: packages, licences, and one clear error where something is missing."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path


class MissingIngredient(RuntimeError):
    """A sound source that this machine lacks; the message says what to install."""


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """One source of sound.

    Attributes
    ----------
    version
        The version that the shipped data was made with.
    licence
        As stated by the package's copyright file.
    needs
        Commands that must be on PATH and files that must exist.
    splits
        Where it may sound: train (and valid), test, or both where its parts are divided.
    """

    name: str
    package: str
    version: str
    licence: str
    use: str
    needs: tuple[str, ...]
    splits: tuple[str, ...]


@cache
def ingredients() -> dict[str, Ingredient]:
    """Entries of ``ingredients.toml`` by name."""
    table = tomllib.loads((Path(__file__).parent / "ingredients.toml").read_text())
    made = (
        Ingredient(**{**entry, "needs": tuple(entry["needs"]), "splits": tuple(entry["splits"])})
        for entry in table["ingredient"]
    )
    return {one.name: one for one in made}


@cache
def require() -> None:
    """Raise :class:`MissingIngredient` naming every Debian package that is missing."""
    missing = sorted({one.package for one in ingredients().values() for need in one.needs if not _is_here(need)})
    if missing:
        raise MissingIngredient(
            f"the generator needs Debian packages that are missing; apt install {' '.join(missing)}"
        )


def _is_here(need: str) -> bool:
    return Path(need).exists() if need.startswith("/") else shutil.which(need) is not None
