"""Hand percussion of physical models: beads and jingles that collide by chance (Cook 1997), scrapers, struck bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_compression.data import stk_library
from model_compression.data.performance import SAMPLE_RATE_HZ as SR

Audio = NDArray[np.float32]
N_KITS = 12
LOWEST_HZ = 20.0
# Numbers of the toolkit.
MARACA, CABASA, SEKERE, TAMBOURINE, SLEIGH_BELLS, BAMBOO, SAND_PAPER, CAN = range(8)
MUGS, GUIRO, WRENCH, TUNED_BAMBOO = range(12, 19), 19, 20, 22
MARIMBA, AGOGO, WOOD, OTHER_WOOD, CLUMP = 0, 2, 3, 5, 8
ENERGY, RESONANCE, DECAY, N_OBJECTS = 2, 1, 4, 11
HARDNESS, POSITION, PRESET = 2, 4, 16
BOWL = 3
Maker = Callable[[np.random.Generator, np.random.Generator, float], Audio]
"""``(patch, rng, velocity)``: the patch is the instrument, ``rng`` this stroke."""


@dataclass(frozen=True)
class _Shaken:
    """One of some shakers, in one to so many pushes."""

    kinds: tuple[int, ...]
    most_pushes: int
    seconds: float = 0.8

    def __call__(self, patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Audio:
        """Shake once."""
        kind, n_pushes = int(patch.choice(self.kinds)), int(patch.integers(1, self.most_pushes + 1))
        controls = {
            DECAY: patch.uniform(20, 110), N_OBJECTS: patch.uniform(25, 115), RESONANCE: patch.uniform(35, 95)
        }  # fmt: skip
        push_s = patch.uniform(0.012, 0.06)
        with stk_library.instrument("Shakers", lowest_hz=LOWEST_HZ, seed=int(rng.integers(1, 1 << 30))) as played:
            sounds = []
            for push in range(n_pushes):
                played.note_on(_number(kind), (0.25 + 0.75 * velocity) * rng.uniform(0.6, 1.0))
                if push == 0:
                    for control, value in controls.items():
                        played.control(control, value)
                sounds.append(played.render(int(push_s * rng.uniform(0.7, 1.3) * SR)))
            sounds.append(played.render(int(self.seconds * SR)))
        return np.concatenate(sounds)


@dataclass(frozen=True)
class _Scraped:
    """Teeth one after another, sooner and sooner or later and later."""

    kind: int
    length_s: tuple[float, float]

    def __call__(self, patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Audio:
        """Scrape once."""
        teeth_hz, hurry = patch.uniform(30, 110), patch.uniform(-0.4, 0.8)
        length_s, resonance = patch.uniform(*self.length_s), patch.uniform(35, 95)
        with stk_library.instrument("Shakers", lowest_hz=LOWEST_HZ, seed=int(rng.integers(1, 1 << 30))) as played:
            played.note_on(_number(self.kind), velocity)
            played.control(RESONANCE, resonance)
            sounds, at_s, stick = [], 0.0, 0.0
            while at_s < length_s:
                stick += (0.4 + 0.6 * velocity) * rng.uniform(0.6, 1.0)
                played.control(ENERGY, 10.0 + stick % 100.0)
                step_s = rng.uniform(0.85, 1.15) / (teeth_hz * (1 + hurry * at_s / length_s))
                sounds.append(played.render(int(step_s * SR)))
                at_s += step_s
            sounds.append(played.render(SR // 8))
        return np.concatenate(sounds)


@dataclass(frozen=True)
class _Struck:
    """A bar, or a bowl, of one of some presets."""

    model: str
    presets: tuple[int, ...]
    pitch: tuple[float, float]
    seconds: float = 1.0

    def __call__(self, patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Audio:
        """Strike once."""
        preset, pitch = int(patch.choice(self.presets)), patch.uniform(*self.pitch)
        hardness, position = patch.uniform(20, 115), patch.uniform(25, 105)
        with stk_library.instrument(self.model, lowest_hz=LOWEST_HZ, seed=int(rng.integers(1, 1 << 30))) as played:
            played.control(PRESET, preset)
            if self.model == "ModalBar":
                played.control(HARDNESS, float(np.clip(hardness + 30 * (velocity - 0.5), 5, 127)))
                played.control(POSITION, float(np.clip(position + rng.normal(0.0, 6.0), 5, 123)))
            played.note_on(_number(pitch), 0.3 + 0.7 * velocity)
            return played.render(int(self.seconds * SR))


_SHAKER = _Shaken((MARACA, SEKERE, SAND_PAPER, CAN, *MUGS), 4)
_WOODS = _Struck("ModalBar", (WOOD, OTHER_WOOD, CLUMP), (66.0, 92.0), 0.6)
_AGOGO = _Struck("ModalBar", (AGOGO,), (72.0, 90.0))
MAKERS: dict[int, Maker] = {
    54: _Shaken((TAMBOURINE,), 3), 58: _Scraped(WRENCH, (0.25, 0.8)), 67: _AGOGO, 68: _AGOGO, 69: _Shaken((CABASA,), 3),
    70: _Shaken((MARACA, SEKERE), 2), 73: _Scraped(GUIRO, (0.06, 0.2)), 74: _Scraped(GUIRO, (0.25, 0.6)),
    75: _Struck("ModalBar", (WOOD,), (84.0, 98.0), 0.5), 76: _WOODS, 77: _WOODS, 82: _SHAKER,
    83: _Shaken((SLEIGH_BELLS,), 5), 84: _Shaken((BAMBOO, TUNED_BAMBOO), 3, 2.0),
    93: _Struck("BandedWG", (BOWL,), (60.0, 80.0), 2.5), 95: _Struck("ModalBar", (MARIMBA,), (48.0, 76.0), 1.2),
}  # fmt: skip
"""By the keys of ``percussion_synthesis``."""


def struck(number: int, key: int, velocity: float, stroke: int) -> Audio:
    """One stroke on a piece of a kit.

    Returns
    -------
    ``(n_frames, 2)`` float32, peak 1; one frame of silence where the kit has no such piece.
    """
    if key not in MAKERS:
        return np.zeros((1, 2), np.float32)
    sound = MAKERS[key](np.random.default_rng([number, key]), np.random.default_rng([number, key, stroke]), velocity)
    sound = np.nan_to_num(sound, nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(np.abs(sound).max())
    return np.repeat((sound / max(peak, 1e-9))[:, None], 2, axis=1).astype(np.float32)


def _number(pitch: float) -> float:
    """Return the frequency of a pitch; shakers take the pitch for what they are, rounded down."""
    return float(440 * 2 ** ((pitch + 0.02 - 69) / 12))
