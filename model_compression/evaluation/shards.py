"""Generated sessions with their truth, as the data generator wrote them: features, labels, targets."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

TICKS_PER_S = 50
_FIELD = re.compile(r"s(\d+)_(\w+)")
NEEDED = ("x", "m", "role", "active", "offset_lu", "pan_abs", "tone_db", "compressor", "send_db")


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One session; ``arrays`` are named and shaped as the data set says."""

    name: str
    arrays: dict[str, NDArray[Any]]

    def __getitem__(self, field: str) -> NDArray[Any]:
        return self.arrays[field]

    @property
    def n_ticks(self) -> int:
        """Length."""
        return len(self.arrays["x"])

    @property
    def n_channels(self) -> int:
        """Width."""
        return int(self.arrays["x"].shape[1])

    @property
    def inputs(self) -> dict[str, NDArray[Any]]:
        """What a model is given."""
        return {"x": self.arrays["x"], "m": self.arrays["m"]}


def sessions(folder: Path, split: str, *, at_most: int | None = None) -> Iterator[Labelled]:
    """Yield the sessions of a split, in the order of files and numbers.

    Raises
    ------
    ModelError
        When there are none, or a shard is damaged.
    """
    files = sorted((folder / split).glob("shard_*.npz"))
    if not files:
        raise ModelError(f"{folder}: has no {split}/shard_*.npz; make a data set with evenhand-model data")
    n = 0
    for file in files:
        for session in _of_shard(file):
            if at_most is not None and n >= at_most:
                return
            n += 1
            yield session


def _of_shard(file: Path) -> Iterator[Labelled]:
    try:
        with np.load(file) as shard:
            fields: dict[int, dict[str, str]] = {}
            for key in shard.files:
                if match := _FIELD.fullmatch(key):
                    fields.setdefault(int(match[1]), {})[match[2]] = key
            for number in sorted(fields):
                missing = [name for name in NEEDED if name not in fields[number]]
                if missing:
                    raise ModelError(f"{file}: session {number} lacks {missing[0]}; make the data set anew")
                arrays = {name: shard[key] for name, key in fields[number].items()}
                yield Labelled(name=f"{file.stem}/{number}", arrays=arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file}: is damaged ({error}); delete it and run evenhand-model data again") from None
