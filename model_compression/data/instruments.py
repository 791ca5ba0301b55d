"""The registry of pitched instruments: kinds, families, splits; a part in, its sound out."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from model_compression.data import (
    downloads,
    keyboards,
    modelled_instruments,
    plugin_player,
    recorded_sounds,
    soundfont_player,
    stk_player,
    synthesis,
)
from model_compression.data.composer_song import Note
from model_compression.data.ingredients import MissingIngredient, drawn_fairly, in_use
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.tone_colour import coloured
from model_compression.data.variation import bent, doubled, varied

TRAIN, TEST = "train", "test"
SHARE_RECORDED = {TRAIN: 0.75, TEST: 0.65}  # recorded instruments before our own synthesis, where a kind has both
WIDE_SEMITONES = 24  # a keyboard as wide as this was recorded in many notes
TIMES_PATCHES = 4  # as many of our own synthesis in all as share a quarter with the test split
SIZE_SEMITONES = 2.5  # how much bigger or smaller than sampled an instrument may sound


@dataclass(frozen=True, kw_only=True)
class Family:
    """One sounding body.

    Attributes
    ----------
    range
        Lowest and highest MIDI pitch.
    font, bank, program
        The patch; font is a sound font, a folder of patches, one recording, a plug-in, or empty for our own synthesis,
        whose patch the name seeds, for what is recorded note by note, and for physical models.
    root
        MIDI pitch of one recording.
    keyboard
        Recordings note by note.
    knobs
        Spans in which those of a plug-in may stand.
    modelled
        A physical model.
    """

    name: str
    kind: str
    role: str
    ingredient: str
    split: str
    range: tuple[int, int]
    has_breath: bool
    font: str = ""
    bank: int = 0
    program: int = 0
    root: int = 0
    keyboard: keyboards.Keyboard | None = None
    knobs: tuple[tuple[float, float], ...] = ()
    modelled: modelled_instruments.Modelled | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether it is no synthesis of our own; a physical model counts as recorded."""
        return bool(self.font) or self.keyboard is not None or self.modelled is not None

    @property
    def weight(self) -> float:
        """How often it is drawn: recorded note by note, or a plug-in, like four patches; one note like half of one.

        A model has knobs, too, but nobody recorded it: like two.
        """
        if self.root:
            return 0.5
        if self.modelled:
            return 2.0
        if self.knobs:
            return 4.0
        if self.keyboard:
            return 4.0 if self.range[1] - self.range[0] >= WIDE_SEMITONES else 0.5
        return 1.0


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "instruments.toml").read_text())


@cache
def families() -> tuple[Family, ...]:
    """Every family of every split."""
    tables = _tables()
    found = []
    for kind, entry in tables["kind"].items():
        shared = {
            "kind": kind,
            "role": entry["role"],
            "range": tuple(entry["range"]),
            "has_breath": entry.get("breath", False),
        }
        for font, source in tables["font"].items():
            patches: list[tuple[int, ...]] = [(0, p) for p in entry["programs"]]
            patches += [tuple(int(n) for n in patch.split(":")) for patch in entry.get("more", {}).get(font, [])]
            found += [
                Family(
                    name=f"{font}.{kind}.{bank}-{program}", ingredient=source["ingredient"], split=source["split"],
                    font=str(downloads.ROOT / source["path"]), bank=bank, program=program, **shared,
                )
                for bank, program in patches
                if "has" not in source or (bank == 0 and program in source["has"])
                if f"{bank}:{program}" not in source.get("without", ())
            ]  # fmt: skip
        found += [
            Family(
                name=one.name,
                ingredient=one.ingredient,
                split=one.split,
                keyboard=one,
                **{**shared, "range": one.range},
            )
            for one in keyboards.keyboards()
            if one.kind == kind
        ]
        found += [
            Family(
                name=f"{name}.{kind}", ingredient=plugin["ingredient"], split=plugin["split"], font=plugin["path"],
                knobs=tuple((low, high) for low, high in plugin["knobs"]), **shared,
            )
            for name, plugin in tables["plugin"].items()
            if plugin["kind"] == kind
        ]  # fmt: skip
        found += [
            Family(
                name=one.name, ingredient="stk", split=TRAIN, modelled=one, **{**shared, "range": one.range},
            )
            for one in modelled_instruments.modelled()
            if one.kind == kind
        ]  # fmt: skip
        for sound in recorded_sounds.sounds():
            if sound.form == "note" and sound.place == kind:
                reach = (sound.root - recorded_sounds.REACH_SEMITONES, sound.root + recorded_sounds.REACH_SEMITONES)
                found.append(
                    Family(
                        name=sound.name, ingredient=sound.ingredient, split=sound.split, font=str(sound.path),
                        root=sound.root, **{**shared, "range": reach},
                    )
                )  # fmt: skip
    for engine in synthesis.ENGINES:
        for number in range(engine.n_patches * TIMES_PATCHES):
            is_test = number < engine.n_patches and number % 4 == 3
            found.append(
                Family(
                    name=f"{engine.name}.{number:02d}", kind=engine.kind, role=engine.role, ingredient="own-synthesis",
                    split=TEST if is_test else TRAIN, range=engine.range, has_breath=engine.has_breath,
                )
            )  # fmt: skip
    return tuple(found)


def choose(rng: np.random.Generator, split: str, *, kind: str | None = None, role: str | None = None) -> Family:
    """Draw a family of a kind or of a role from what is in use; ``valid`` draws from what ``train`` has."""
    side, used = TEST if split == TEST else TRAIN, in_use()
    fits = [
        f
        for f in families()
        if f.split == side and (kind is None or f.kind == kind) and (role is None or f.role == role)
        if f.ingredient in used
    ]
    if not fits:
        raise ValueError(f"no {kind or role} in split {split}")
    if kind is None:
        drawn = _drawn_kind(rng, fits) if side == TRAIN else str(rng.choice(sorted({f.kind for f in fits})))
        fits = [f for f in fits if f.kind == drawn]
    recorded = [f for f in fits if f.is_recorded]
    own = [f for f in fits if not f.is_recorded]
    if recorded and own:
        fits = recorded if rng.random() < SHARE_RECORDED[side] else own
    return drawn_fairly(rng, fits) if side == TRAIN else fits[int(rng.integers(len(fits)))]


def _drawn_kind(rng: np.random.Generator, fits: list[Family]) -> str:
    """Draw a kind by the square root of what its families weigh: what many recorded comes more often."""
    kinds = sorted({f.kind for f in fits})
    odds = np.sqrt([sum(f.weight for f in fits if f.kind == kind) for kind in kinds])
    return kinds[int(rng.choice(len(kinds), p=odds / odds.sum()))]


def in_range(notes: tuple[Note, ...], family: Family) -> tuple[Note, ...]:
    """Move notes by octaves into what the instrument can play."""
    low, high = family.range
    if not notes:
        return ()
    centre = float(np.median([n.pitch for n in notes]))
    lift = (
        12 * round(max(0.0, low + 5 - centre) / 12 + 0.49)
        if centre < low + 5
        else -12 * round(max(0.0, centre - high + 5) / 12 + 0.49)
        if centre > high - 5
        else 0
    )
    return tuple(_fold(n, lift, low, high) for n in notes)


def play(
    rng: np.random.Generator, family: Family, notes: tuple[Note, ...], n_frames: int, *, is_stereo: bool = False
) -> NDArray[np.float32]:
    """Sound of a part on one family.

    Returns
    -------
    ``(n_frames, 1 or 2)`` float32, peak about 0.5.
    """
    notes = in_range(doubled(rng, notes, family.role), family)
    if family.keyboard:
        size = float(np.clip(rng.normal(0.0, SIZE_SEMITONES / 2.0), -4.0, 4.0))
        zones = keyboards.zones(family.keyboard)
        audio = recorded_sounds.play_notes(rng, zones, notes, n_frames, fade_s=np.inf, size_semitones=size)
    elif family.modelled:
        audio = stk_player.render(rng, family.modelled, notes, n_frames)
    elif family.knobs:
        positions = tuple(float(rng.uniform(*span)) for span in family.knobs)
        audio = plugin_player.render(family.font, positions, notes, n_frames)
    elif family.root or family.font.endswith("Tone_000"):
        audio = recorded_sounds.play_notes(rng, zones_of(family), notes, n_frames, fade_s=_fade_s(family))
    elif family.font:
        audio = _sampled(rng, family, notes, n_frames)
    else:
        audio = synthesis.render(rng, family.name, notes, n_frames)
    audio = audio if is_stereo else audio.mean(axis=1, keepdims=True)
    if family.split != TEST:
        audio = bent(rng, audio, family.role, notes)
    audio = varied(rng, audio, family.role, tuple(n.begin_s for n in notes))
    audio = coloured(rng, audio, family.role)
    peak = float(np.abs(audio).max())
    return (audio * np.float32(0.5 / peak)).astype(np.float32) if peak > 1e-6 else audio.astype(np.float32)


@cache
def zones_of(family: Family) -> tuple[recorded_sounds.Zone, ...]:
    """Read the recordings of a family that is no sound font: one file, or a patch of a folder."""
    if family.root:
        return (recorded_sounds.Zone(audio=recorded_sounds.load(Path(family.font)), root=family.root),)
    files = sorted(Path(family.font).glob(f"{family.program:03d}_*.pat"))
    if not files:
        raise MissingIngredient(f"{family.font} has no patch {family.program:03d}; apt install {family.ingredient}")
    return recorded_sounds.patch(files[0])


def _fade_s(family: Family) -> float:
    return np.inf if family.has_breath or family.role in ("synth", "other") else 40.0 / (family.range[0] + 10)


def _sampled(rng: np.random.Generator, family: Family, notes: tuple[Note, ...], n_frames: int) -> NDArray[np.float32]:
    # A patch played n semitones off and resampled back keeps its pitch and changes its size, as another body would.
    shift = int(np.round(rng.normal(0.0, SIZE_SEMITONES / 2.0))) if rng.random() < 0.7 else 0
    shift = int(np.clip(shift, -4, 4))
    ratio = 2.0 ** (shift / 12)
    hard = rng.uniform(0.75, 1.2)
    moved = tuple(
        Note(
            begin_s=n.begin_s / ratio, length_s=n.length_s / ratio, pitch=n.pitch - shift,
            velocity=float(np.clip(n.velocity * hard, 0.05, 1.0)), articulation=n.articulation,
        )
        for n in notes
    )  # fmt: skip
    gesture = soundfont_player.Gesture(
        vibrato=int(rng.integers(0, 70)) if family.has_breath and rng.random() < 0.6 else 0,
        swell=float(rng.uniform(0.0, 0.6)) if family.has_breath else 0.0,
        detune_cents=float(rng.normal(0.0, 6.0)),
    )
    audio = soundfont_player.render(
        family.font, family.bank, family.program, moved, int(n_frames / ratio) + 64, gesture
    )
    if shift:
        audio = soxr.resample(audio, SAMPLE_RATE_HZ / ratio, SAMPLE_RATE_HZ, quality="MQ").astype(np.float32)
    return fitted(audio, n_frames)


def fitted(audio: NDArray[np.float32], n_frames: int) -> NDArray[np.float32]:
    """Cut or padded to a length."""
    if len(audio) >= n_frames:
        return audio[:n_frames]
    return np.pad(audio, ((0, n_frames - len(audio)), (0, 0)))


def _fold(note: Note, lift: int, low: int, high: int) -> Note:
    pitch = note.pitch + lift
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return Note(
        begin_s=note.begin_s,
        length_s=note.length_s,
        pitch=pitch,
        velocity=note.velocity,
        articulation=note.articulation,
    )
