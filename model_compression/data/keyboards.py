"""Instruments recorded note by note: folders of files that are named by their pitch, one folder a loudness."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model_compression.data import recorded_sounds
from model_compression.data.ingredients import MissingIngredient
from model_compression.data.recorded_sounds import Zone

_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NAMED = re.compile(r"([A-G])([s#]?)(\d)(?:v\d+)?")


@dataclass(frozen=True, kw_only=True)
class Keyboard:
    """One instrument.

    Attributes
    ----------
    kind
        What the composer writes for.
    folders
        From soft to loud.
    range
        Lowest and highest MIDI pitch that is played on it.
    """

    kind: str
    ingredient: str
    split: str
    folders: tuple[Path, ...]
    range: tuple[int, int]

    @property
    def name(self) -> str:
        """Name of the family."""
        return f"{self.ingredient}.{self.folders[0].name}.{self.kind}"


@cache
def keyboards() -> tuple[Keyboard, ...]:
    """Every keyboard of ``recorded_sounds.toml``; whether its files are here is not asked."""
    return tuple(
        Keyboard(
            kind=kind,
            ingredient=source["ingredient"],
            split="train",
            folders=tuple(source["root"] / folder for folder in entry["folders"]),
            range=tuple(entry["range"]),
        )
        for source in recorded_sounds.sources()
        for kind, entries in source.get("keyboards", {}).items()
        for entry in entries
    )


@cache
def zones(keyboard: Keyboard) -> tuple[Zone, ...]:
    """Return the recordings with their pitch and loudness; they are read when they are played.

    Raises
    ------
    MissingIngredient
        Naming the folder that has none.
    """
    found: list[Zone] = []
    share = 1.0 / len(keyboard.folders)
    for layer, folder in enumerate(keyboard.folders):
        files = [(pitch(file), file) for file in sorted(folder.glob("*"))]
        of_folder = [
            Zone(audio=file, root=float(root), softest=layer * share, loudest=(layer + 1) * share)
            for root, file in files
            if root is not None
        ]
        if not of_folder:
            raise MissingIngredient(f"{folder} has no recorded notes; run .ci/setup model")
        found += of_folder
    return tuple(found)


def pitch(file: Path) -> int | None:
    """Return the MIDI pitch that a file is named by: ``60.mp3``, ``Cs4.mp3``, ``C#4v10.ogg``; None where by none."""
    if file.stem.isdigit():
        return int(file.stem)
    named = _NAMED.fullmatch(file.stem)
    if named is None:
        return None
    letter, sharp, octave = named.groups()
    return 12 * (int(octave) + 1) + _SEMITONES[letter] + bool(sharp)
