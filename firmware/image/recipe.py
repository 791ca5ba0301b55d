"""Reads ``recipe.toml`` and the two locks beside it: what goes into an image, and which version of it."""

from __future__ import annotations

import fnmatch
import os
import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from firmware.errors import EvenhandError

from .target import Target

FOLDER = Path(__file__).parent
RECIPE = FOLDER / "recipe.toml"


def debian_lock(target: Target) -> Path:
    """Return the file with the versions of Debian's packages."""
    return FOLDER / f"debian_{target.architecture}.lock"


def wheels_lock(target: Target) -> Path:
    """Return the file with the digests of Python's packages."""
    return FOLDER / f"wheels_{target.machine}.lock"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What an image is made of, as ``recipe.toml`` says it."""

    epoch_s: int  # time of every file, seconds since 1970
    suite: str
    mirror: str
    security_mirror: str
    packages: tuple[str, ...]
    left_out: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    initramfs_packages: tuple[str, ...]
    header_packages: tuple[str, ...]
    root_modules: tuple[str, ...]
    initramfs_modules: tuple[str, ...]
    wheels: tuple[str, ...]
    sources: tuple[str, ...]
    removed_of_wheels: tuple[str, ...]
    kept_of_wheels: tuple[str, ...]

    def is_removed(self, path: str) -> bool:
        """Whether a file of a Debian package is not to be in the root."""
        return _matches(path, self.removed) and not _matches(path, self.kept)

    def is_removed_of_wheel(self, path: str) -> bool:
        """Whether a file of a Python package is not to be in the root."""
        return _matches(path, self.removed_of_wheels) and not _matches(path, self.kept_of_wheels)

    def sources_of(self, suite: str, components: str = "main") -> str:
        """Return the lines of a ``sources.list`` for one other suite."""
        return f"deb {self.mirror} {suite} {components}\n"

    @property
    def apt_sources(self) -> str:
        """The lines of a ``sources.list``."""
        return (
            f"deb {self.mirror} {self.suite} main\n"
            f"deb {self.mirror} {self.suite}-updates main\n"
            f"deb {self.security_mirror} {self.suite}-security main\n"
        )


def read_recipe(path: Path = RECIPE) -> Recipe:
    """Return the recipe; ``SOURCE_DATE_EPOCH`` in the environment is taken for its date.

    Raises
    ------
    EvenhandError
        When the file or the variable says what cannot be.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        date: datetime = found["date"]
        debian, modules = found["debian"], found["modules"]
        return Recipe(
            epoch_s=_epoch_s(int(date.timestamp())),
            suite=debian["suite"],
            mirror=debian["mirror"],
            security_mirror=debian["security_mirror"],
            packages=tuple(debian["packages"]),
            left_out=tuple(debian["left_out"]),
            removed=tuple(debian["removed"]),
            kept=tuple(debian["kept"]),
            initramfs_packages=tuple(found["beside"]["initramfs"]),
            header_packages=tuple(found["beside"]["headers"]),
            root_modules=tuple(modules["root"]),
            initramfs_modules=tuple(modules["initramfs"]),
            wheels=tuple(found["python"]["packages"]),
            sources=tuple(found["python"]["sources"]),
            removed_of_wheels=tuple(found["python"]["removed"]),
            kept_of_wheels=tuple(found["python"]["kept"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise EvenhandError(f"{path.name}: {error} is missing, or of another kind; compare it with git") from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise EvenhandError(f"{path.name}: cannot be read ({error}); compare it with git") from None


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _epoch_s(otherwise: int) -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) < 315_532_800:
        raise EvenhandError(f"SOURCE_DATE_EPOCH={text[:40]!r}: must be seconds since 1970, from 1980 on, for FAT")
    return int(text)


def read_lock(path: Path) -> dict[str, str]:
    """Return names and versions of a lock: ``NAME VERSION`` a line.

    Raises
    ------
    EvenhandError
        When there is no such lock.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EvenhandError(f"{path.name}: cannot be read ({error.strerror}); python -m firmware.image lock") from None
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def refuse_drift(found: dict[str, str], locked: dict[str, str]) -> None:
    """Refuse Debian packages that are not of the version that the lock says; it may name more, of other boards.

    Raises
    ------
    EvenhandError
        That names the first three, and how many there are.
    """
    wrong = [
        f"{name} {version} (lock: {locked.get(name, 'not in it')})"
        for name, version in sorted(found.items())
        if version != locked.get(name)
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise EvenhandError(
            f"{len(wrong)} of {len(found)} Debian packages differ from the lock: {', '.join(wrong[:3])}{more}; "
            "look at them, then: python -m firmware.image lock"
        )
