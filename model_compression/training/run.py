"""A run: one folder that holds everything a recipe and a data set lead to, and refuses to mix two of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ..data.shards import INDEX, read_index
from ..errors import ModelError
from .files import code_digest, digest_of, write_text
from .recipe import Recipe, load_recipe
from .sessions import Sessions


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where a run lies and what it is made from; ``opened`` are splits that were read already."""

    folder: Path
    data: Path
    recipe: Recipe
    is_quiet: bool
    opened: dict[str, Sessions] = field(default_factory=dict)

    def sessions(self, split: str) -> Sessions:
        """Return the sessions of ``train`` or ``valid``."""
        if split not in self.opened:
            self.opened[split] = Sessions(self.data / split, cache_mb=self.recipe.cache_mb)
        return self.opened[split]

    def context(self, split: str) -> Path:
        """Where the networks' words about the sessions of a split are kept."""
        return self.folder / "context" / split


def open_run(recipe_name: str, data: Path, out: Path | None, *, is_quiet: bool) -> Run:
    """Open a run, new or stopped; one that was made from something else is refused."""
    recipe = load_recipe(recipe_name)
    folder = out or Path("out") / "runs" / recipe.name
    identity = {
        "recipe": sha256(recipe.text.encode()).hexdigest(),
        "data": data_digest(data),
        "code": code_digest(),
    }
    path = folder / "run.toml"
    if path.exists():
        try:
            found = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ModelError(f"{path}: damaged ({error}); delete {folder} or name another --out") from None
        changed = [name for name, digest in identity.items() if found.get(name) != digest]
        if changed:
            raise ModelError(f"{folder}: made from another {' and '.join(changed)}; delete it or name another --out")
    write_text(path, "".join(f'{name} = "{digest}"\n' for name, digest in identity.items()))
    write_text(folder / "recipe.toml", recipe.text)
    return Run(folder=folder, data=data, recipe=recipe, is_quiet=is_quiet)


def data_digest(data: Path) -> str:
    """Digest of a data set: of its index, which knows all the rest; one of another format is refused."""
    read_index(data)
    return digest_of(data / INDEX)
