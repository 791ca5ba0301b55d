"""Drum kits, hit by hit: recorded kits in folders, drum sets of sound fonts, and drums of our own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from model_compression.data import downloads, modelled_kits, recorded_sounds, soundfont_player
from model_compression.data.composer_song import Note
from model_compression.data.drum_synthesis import N_KITS, struck
from model_compression.data.hydrogen_kit import MAX_HIT_S, NAMES, has_instrument, recorded_hit
from model_compression.data.ingredients import drawn_fairly, in_use
from model_compression.data.percussion_synthesis import MAKERS
from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
PIECE_OF_KEY = {
    35: "kick",
    36: "kick",
    37: "snare",
    38: "snare",
    39: "percussion",
    40: "snare",
    41: "tom",
    43: "tom",
    45: "tom",
    47: "tom",
}
PIECE_OF_KEY |= {
    48: "tom",
    50: "tom",
    42: "hihat",
    44: "hihat",
    46: "hihat",
    49: "cymbal",
    51: "cymbal",
    52: "cymbal",
    53: "cymbal",
    55: "cymbal",
    57: "cymbal",
    59: "cymbal",
}
PIECES = ("kick", "snare", "hihat", "tom", "cymbal")
TRIES = {"train": 20, "test": 6}
SHARE_AGAIN = 0.6  # of draws of our own percussion in training: it has every key, and would win most of them
SHARES = {
    "acoustic": (0.45, 0.35, 0.2),
    "electronic": (0.3, 0.15, 0.55),
    "percussion": (0.4, 0.35, 0.25),
}  # recorded, fonts, own
LOUDNESS_STEPS = 6


@dataclass(frozen=True)
class Loose:
    """Single files by drum key, from wherever they came."""

    files: tuple[tuple[int, Path], ...]


@dataclass(frozen=True)
class Model:
    """A number of the hand percussion of physical models."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Kit:
    """One drum set.

    ``source`` is a folder, loose files, a model, a font with bank and program, or a number of our own drums; ``lacks``
    are drum keys that are not to sound.
    """

    name: str
    style: str
    split: str
    ingredient: str
    source: Path | Loose | Model | tuple[str, int, int] | int
    weight: float = 1.0
    lacks: tuple[int, ...] = ()


@cache
def kits() -> tuple[Kit, ...]:
    """Every kit of every split."""
    table = tomllib.loads((Path(__file__).parent / "drum_kits.toml").read_text())
    root, ingredient = Path(table["hydrogen"]["root"]), table["hydrogen"]["ingredient"]
    found = [
        Kit(
            name=f"hydrogen.{k['folder']}",
            style=k["style"],
            split=k["split"],
            ingredient=k.get("ingredient", ingredient),
            source=root / k["folder"],
        )
        for k in table["hydrogen"]["kits"]
    ]
    patches = [(int(p.name[:3]), p) for p in sorted(Path(table["freepats"]["root"]).glob("*.pat"))]
    found += [
        Kit(
            name=f"freepats.{style}",
            style=style,
            split=table["freepats"]["split"],
            ingredient="freepats",
            source=Loose(tuple((key, p) for key, p in patches if key >= 35)),
        )
        for style in table["freepats"]["styles"]
    ]
    found += [
        Kit(
            name=f"{loose['ingredient']}.{style}",
            style=style,
            split=loose["split"],
            ingredient=loose["ingredient"],
            source=Loose(
                tuple((int(key), downloads.ROOT / loose["root"] / file) for key, file in loose["hits"].items())
            ),
        )
        for loose in table["loose"]
        for style in loose["styles"]
    ]
    found += _assembled(table["assembled"])
    found += [
        Kit(
            name=f"{models['ingredient']}.percussion.{number:02d}",
            style=models["style"],
            split=models["split"],
            ingredient=models["ingredient"],
            source=Model(number),
            weight=models["weight"],
        )
        for models in [table["modelled"]]
        for number in range(modelled_kits.N_KITS)
    ]
    for font in table["font"]:
        bank, stem = 0 if font.get("lone") else 128, Path(font["path"]).stem
        found += [
            Kit(
                name=f"{stem}.{style}.{program}",
                style=style,
                split=font["split"],
                ingredient=font["ingredient"],
                source=(str(downloads.ROOT / font["path"]), bank, program),
                lacks=tuple(font.get("without", ())),
            )
            for style, programs in font["programs"].items()
            for program in programs
        ]
    for number in range(N_KITS):
        style = ("acoustic", "electronic", "electronic", "percussion")[number % 4]
        split = "test" if (number // 4) % 4 == 3 else "train"
        found.append(
            Kit(
                name=f"drum_synthesis.{number:02d}", style=style, split=split, ingredient="own-synthesis", source=number
            )
        )
    return tuple(found)


def _assembled(entry: dict[str, Any]) -> list[Kit]:
    """Kits put together from recorded one-shots, for each key a file; the number of the kit draws them."""
    found = []
    for split in ("train", "test"):
        by_key: dict[int, list[Path]] = {}
        for sound in recorded_sounds.sounds():
            if sound.form == "hit" and sound.split == split:
                by_key.setdefault(int(sound.place), []).append(sound.path)
        for low_key, other_key in ((47, 43), (47, 50)):
            by_key.setdefault(other_key, []).extend(by_key.get(low_key, []))
        for number in range(entry[split]):
            rng = np.random.default_rng([number, split == "test"])
            files = tuple((key, paths[int(rng.integers(len(paths)))]) for key, paths in sorted(by_key.items()))
            found.append(
                Kit(
                    name=f"assembled.{split}.{number:02d}",
                    style=entry["styles"][number % len(entry["styles"])],
                    split=split,
                    ingredient=entry["ingredient"],
                    source=Loose(files),
                )
            )
    return found


def choose(rng: np.random.Generator, split: str, style: str) -> Kit:
    """Draw a kit of a style from what is in use; ``valid`` draws from what ``train`` has."""
    side, used = "test" if split == "test" else "train", in_use()
    fits = [k for k in kits() if k.split == side and k.style == style and k.ingredient in used]
    recorded = [k for k in fits if isinstance(k.source, Path | Loose | Model)]
    fonts = [k for k in fits if isinstance(k.source, tuple)]
    own = [k for k in fits if isinstance(k.source, int)]
    pool = (recorded, fonts, own)[int(rng.choice(3, p=SHARES[style]))]
    return drawn_fairly(rng, pool) if side == "train" else pool[int(rng.integers(len(pool)))]


def choose_with(rng: np.random.Generator, split: str, styles: tuple[str, ...], keys: tuple[int, ...]) -> Kit:
    """Draw a kit of one of some styles that sounds for all of some keys; at last one of our own, which has them all."""
    side = "test" if split == "test" else "train"
    is_percussion = all(PIECE_OF_KEY.get(key, "percussion") == "percussion" for key in keys)
    for _ in range(TRIES[side]):
        kit = choose(rng, split, str(rng.choice(styles)))
        is_again = side == "train" and is_percussion and isinstance(kit.source, int) and rng.random() < SHARE_AGAIN
        if not is_again and all(has(kit, k) for k in keys):
            return kit
    own = [k for k in kits() if k.split == side and isinstance(k.source, int)]
    return own[int(rng.integers(len(own)))]


def has(kit: Kit, key: int) -> bool:
    """Whether a kit sounds for a drum key."""
    if isinstance(kit.source, Path):
        return has_instrument(kit.source, key)
    if isinstance(kit.source, Loose):
        return any(key == k for k, _ in kit.source.files)
    if isinstance(kit.source, Model):
        return key in modelled_kits.MAKERS
    return len(_hit(kit, key, LOUDNESS_STEPS - 1, 0)) > 1


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a kit stands this time: pitch ratio, damping time and which of several like instruments, by key."""

    ratio: dict[int, float]
    damping_s: dict[int, float]
    pick: int


RATIOS = {"kick": (0.7, 1.4), "snare": (0.65, 1.55), "hihat": (0.75, 1.4), "tom": (0.65, 1.6), "cymbal": (0.7, 1.4)}
RATIOS |= {"percussion": (0.6, 1.6)}
DAMPING_S = {"kick": (0.05, 0.4), "snare": (0.04, 0.4), "hihat": (0.03, 0.4), "tom": (0.06, 0.6), "cymbal": (0.25, 0.9)}
DAMPING_S |= {"percussion": (0.05, 0.5)}
SHARE_DAMPED = {"cymbal": 0.12, "hihat": 0.5}


def tuning(rng: np.random.Generator) -> Tuning:
    """Draw a tuning: small drums and big ones, gated and ringing."""
    whole, dry = rng.normal(0.0, 2.2), rng.random()
    ratio, damping_s = {}, {}
    for key in sorted({*PIECE_OF_KEY, *NAMES, *MAKERS}):
        piece = PIECE_OF_KEY.get(key, "percussion")
        ratio[key] = float(np.clip(2 ** ((whole + rng.normal(0.0, 1.8)) / 12), *RATIOS[piece]))
        is_damped = rng.random() < (SHARE_DAMPED.get(piece, 0.35) if dry < 0.6 else 0.05)
        damping_s[key] = float(np.exp(rng.uniform(*np.log(DAMPING_S[piece])))) if is_damped else 9.0
    return Tuning(ratio=ratio, damping_s=damping_s, pick=int(rng.integers(1 << 16)))


def hits(rng: np.random.Generator, kit: Kit, tuned: Tuning, notes: tuple[Note, ...], n_frames: int) -> Audio:
    """Sound of hits on a kit.

    Returns
    -------
    ``(n_frames, 2)`` float32. An open hi-hat stops when a closed one sounds.
    """
    out = np.zeros((n_frames, 2), np.float32)
    made: dict[tuple[int, int], Audio] = {}
    chokes = sorted(n.begin_s for n in notes if int(n.pitch) in (42, 44))
    for note in notes:
        key, at = int(note.pitch), round(note.begin_s * SAMPLE_RATE_HZ)
        loud = min(LOUDNESS_STEPS - 1, int(note.velocity * LOUDNESS_STEPS))
        if (key, loud) not in made:
            made[key, loud] = _tuned(
                _hit(kit, key, loud, tuned.pick), tuned.ratio.get(key, 1.0), tuned.damping_s.get(key, 9.0)
            )
        sound = made[key, loud]
        if key == 46:
            stop_s = next((c for c in chokes if c > note.begin_s + 0.02), note.begin_s + MAX_HIT_S)
            keep = round((stop_s - note.begin_s + 0.01) * SAMPLE_RATE_HZ)
            if keep < len(sound):
                sound = sound[:keep] * np.minimum(1.0, np.arange(keep, 0, -1) / 480.0).astype(np.float32)[:, None]
        sound = sound[: max(0, n_frames - at)]
        level = np.float32((0.25 + 0.75 * note.velocity**1.5) * rng.uniform(0.92, 1.04))
        out[at : at + len(sound)] += level * sound
    return out


def _tuned(sound: Audio, ratio: float, damping_s: float) -> Audio:
    if abs(ratio - 1) > 0.003:
        sound = soxr.resample(sound, SAMPLE_RATE_HZ / ratio, SAMPLE_RATE_HZ, quality="MQ").astype(np.float32)
    if damping_s < 5:
        t = np.arange(len(sound)) / SAMPLE_RATE_HZ
        sound = sound * np.exp(-np.maximum(0.0, t - 0.05) / damping_s).astype(np.float32)[:, None]
    return sound


@lru_cache(maxsize=256)
def _hit(kit: Kit, key: int, loud: int, pick: int) -> Audio:
    """One hit at one of the loudness steps, ``(n_frames, 2)``, peak 1 or silence where the kit has no such piece."""
    velocity = (loud + 0.5) / LOUDNESS_STEPS
    if key in kit.lacks:
        sound = np.zeros((1, 2), np.float32)
    elif isinstance(kit.source, int):
        sound = struck(kit.source, key, velocity, pick % 3)
    elif isinstance(kit.source, Model):
        sound = modelled_kits.struck(kit.source.number, key, velocity, pick % 3)
    elif isinstance(kit.source, tuple):
        font, bank, program = kit.source
        note = Note(begin_s=0.0, length_s=2.0, pitch=key, velocity=velocity)
        sound = soundfont_player.render(
            font, bank, program, (note,), int(MAX_HIT_S * SAMPLE_RATE_HZ), soundfont_player.Gesture()
        )
    elif isinstance(kit.source, Loose):
        path = next((p for k, p in kit.source.files if k == key), None)
        sound = (
            np.zeros((1, 2), np.float32)
            if path is None
            else recorded_sounds.load(path)[: int(MAX_HIT_S * SAMPLE_RATE_HZ)]
        )
    else:
        sound = recorded_hit(kit.source, key, velocity, pick)
    sound = sound - sound[-2000:].mean(axis=0) if len(sound) > 4000 else sound
    peak = float(np.abs(sound).max()) if len(sound) else 0.0
    if peak < 1e-5:
        return np.zeros((1, 2), np.float32)
    heard = np.flatnonzero(np.abs(sound).max(axis=1) > peak * 2e-4)
    sound = sound[max(0, int(np.flatnonzero(np.abs(sound).max(axis=1) > peak * 0.01)[0]) - 24) : heard[-1] + 1] / peak
    n_fade = min(len(sound), 960)
    sound[-n_fade:] *= np.linspace(1, 0, n_fade)[:, None]
    return sound.astype(np.float32)
