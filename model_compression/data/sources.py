"""Where a data set's performances come from: musicians, talkers and clips from instruments and voices of Debian."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsp_kernels.contract.generated.contract import ROLES

from ..errors import ModelError
from .ingredients import MissingIngredient, in_use, ingredients, require, sounding
from .performance import Performance, Stem
from .performers import mixed, perform, talk
from .solo_clips import solo_clip

_MOST_TALKERS = 6
_LEAST_S = {"speech": 4.0, "music": 8.5, "mixed": 20.0}  # shorter songs have no sections
_BED_SHARE = 0.35  # of talks have music under them
_RARE_ROLES = ("playback", "ambience", "other")  # half as many clips: a box hears them seldom
_ROLE_ODDS = np.array([0.5 if role in _RARE_ROLES else 1.0 for role in ROLES])


@dataclass(frozen=True, kw_only=True)
class Musicians:
    """A stage with everybody on it.

    Attributes
    ----------
    voices
        Folder where utterances of the voices are kept between sessions; what they say does not depend on it.
    sounds
        ``core`` or ``all``, as a recipe says.
    """

    voices: Path | None = None
    sounds: str = "core"

    def check(self) -> None:
        """Refuse, by name, what this machine lacks.

        Raises
        ------
        ModelError
            With the packages to install.
        """
        try:
            with sounding(self.sounds):
                require()
        except MissingIngredient as error:
            raise ModelError(str(error)) from None

    def performance(
        self, rng: np.random.Generator, *, split: str, scene_kind: str, genre: str, seconds: float
    ) -> Performance:
        """Return a song, a talk, or a song between announcements; longer than asked where sections need it."""
        self.check()
        with sounding(self.sounds):
            return self._performance(rng, split, scene_kind, genre, max(seconds, _LEAST_S[scene_kind]))

    def _performance(
        self, rng: np.random.Generator, split: str, scene_kind: str, genre: str, seconds: float
    ) -> Performance:
        if scene_kind == "music":
            return perform(rng, split, genre=genre, seconds=seconds, cache_dir=self.voices)
        if scene_kind == "mixed":
            return mixed(rng, split, genre=genre, seconds=seconds, cache_dir=self.voices)
        return talk(
            rng,
            split,
            n_talkers=int(rng.integers(1, _MOST_TALKERS + 1)),
            seconds=seconds,
            with_music_bed=bool(rng.random() < _BED_SHARE),
            cache_dir=self.voices,
        )

    def clip(self, rng: np.random.Generator, *, split: str, seconds: float) -> tuple[Stem, tuple[str, ...]]:
        """Return one source of a random role alone; named is everything that may sound in clips of the split."""
        self.check()
        role = str(rng.choice(ROLES, p=_ROLE_ODDS / _ROLE_ODDS.sum()))
        group = "test" if split == "test" else "train"
        with sounding(self.sounds):
            names = tuple(name for name, one in ingredients().items() if group in one.splits and name in in_use())
            return solo_clip(rng, role, split, seconds=seconds, cache_dir=self.voices), names

    def licences(self, names: set[str]) -> list[dict[str, str]]:
        """Return name, version and licence of each ingredient."""
        known = ingredients()
        return [
            {"name": name, "version": known[name].version, "licence": known[name].licence} for name in sorted(names)
        ]
