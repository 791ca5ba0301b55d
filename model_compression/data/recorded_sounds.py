"""Recorded one-shots, loops, takes and patches of packages: read, moved in pitch and tempo, cut and repeated."""

from __future__ import annotations

import io
import re
import struct
import tomllib
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from model_compression.data import downloads, drum_patches, qt_resources
from model_compression.data.composer_song import Note
from model_compression.data.ingredients import MissingIngredient, in_use
from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
SR = SAMPLE_RATE_HZ
REACH_SEMITONES = 7
LONGEST_S, LONGEST_NOTE_S = 12.0, 6.0
TAKE_LEAST_RMS, TAKE_TRIES = 0.02, 6
PATCH_HEADS, SAMPLE_HEAD = 129 + 63 + 47, "<7sBIIIHIIIhB18xB40x"
IS_16_BIT, IS_UNSIGNED, IS_LOOPED = 1, 2, 4


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One file of the table.

    Attributes
    ----------
    form
        ``note``, ``hit``, ``loop``, ``texture`` or ``take``.
    place
        Kind of a note, drum key of a hit, role of a loop, texture or take.
    root
        MIDI pitch of a note.
    """

    path: Path
    ingredient: str
    split: str
    form: str
    place: str
    root: int = 0

    @property
    def name(self) -> str:
        """Name of the family."""
        return f"{self.ingredient}.{self.path.parent.name}.{self.path.stem}".replace(" ", "_")


@dataclass(frozen=True, kw_only=True, eq=False)
class Zone:
    """Part of the keyboard that one recording serves; the loop is in frames, empty where it just dies away.

    Attributes
    ----------
    audio
        The recording, or the file that holds it.
    low, high
        MIDI pitches.
    softest, loudest
        Velocities, 0 to 1.
    """

    audio: Audio | Path
    root: float
    low: float = 0.0
    high: float = 127.0
    loop: tuple[int, int] = (0, 0)
    softest: float = 0.0
    loudest: float = 1.0


@cache
def sources() -> tuple[dict[str, Any], ...]:
    """Tables of ``recorded_sounds.toml``; roots that are not absolute lie where downloads do."""
    table = tomllib.loads((Path(__file__).parent / "recorded_sounds.toml").read_text())
    return tuple({"test": [], **source, "root": downloads.ROOT / source.get("root", "")} for source in table.values())


@cache
def sounds() -> tuple[Sound, ...]:
    """Every single file of ``recorded_sounds.toml``."""
    found = []
    for source in sources():
        root, test = source["root"], set(source["test"])
        rows = [("note", kind, *row) for kind, rows in source.get("notes", {}).items() for row in rows]
        for form in ("hits", "loops", "textures", "takes"):
            rows += [(form[:-1], place, file, 0) for place, files in source.get(form, {}).items() for file in files]
        if "patches" in source:
            rows += _patch_rows(root, source["patches"], test)
        found += [
            Sound(
                path=root / file,
                ingredient=source["ingredient"],
                split="test" if file in test else "train",
                form=form,
                place=place,
                root=pitch,
            )
            for form, place, file, pitch in rows
        ]
    return tuple(found)


def _patch_rows(root: Path, entry: dict[str, Any], test: set[str]) -> list[tuple[str, str, str, int]]:
    rows = []
    for path in sorted((root / entry["folder"]).rglob("*.ds")):
        name = str(path.relative_to(root / entry["folder"]).with_suffix("")).lower()
        form, place = next(((f, p) for f, p, pattern in entry["rules"] if re.search(pattern, name)), ("", ""))
        if form:
            rows.append((form, place, str(path.relative_to(root)), 0))
            if zlib.crc32(name.encode()) % 7 == 0:
                test.add(rows[-1][2])
    return rows


def fitting(split: str, form: str, place: str) -> tuple[Sound, ...]:
    """Sounds of a split, form and place, of what is in use; ``valid`` has those of ``train``."""
    side, used = "test" if split == "test" else "train", in_use()
    return tuple(s for s in sounds() if (s.split, s.form, s.place) == (side, form, place) and s.ingredient in used)


@lru_cache(maxsize=96)
def load(path: Path, longest_s: float = LONGEST_S) -> Audio:
    """Read a file's beginning: ``(n_frames, 2)`` at our rate, without silence around it, peak 1.

    Raises
    ------
    MissingIngredient
        Naming the file, where it is not there or cannot be decoded.
    """
    if path.suffix in (".ds", ".pat"):
        mono = drum_patches.render(path) if path.suffix == ".ds" else recording_of(patch(path)[0])
        return np.repeat(mono[:, :1], 2, axis=1) / np.float32(np.abs(mono).max() + 1e-9)
    try:
        with soundfile.SoundFile(_opened(path)) as file:
            rate = file.samplerate
            audio = file.read(int(longest_s * rate), dtype="float32", always_2d=True)[:, :2]
    except (OSError, soundfile.LibsndfileError) as error:
        raise MissingIngredient(f"{path} cannot be read; {_remedy(path)}") from error
    if rate != SR:
        audio = soxr.resample(audio, rate, SR).astype(np.float32)
    level = np.abs(audio).max(axis=1)
    heard = np.flatnonzero(level > 0.004 * level.max())
    audio = audio[heard[0] : heard[-1] + 1] / level.max()
    return np.repeat(audio, 2, axis=1) if audio.shape[1] == 1 else audio


def _opened(path: Path) -> Path | io.BytesIO:
    """Return what to read: a path, or what lies in a resource of Qt that the path leads into."""
    in_resource = path.parent.suffix == qt_resources.SUFFIX
    return io.BytesIO(qt_resources.read(path.parent, path.name)) if in_resource else path


def _remedy(path: Path) -> str:
    if path.is_relative_to(downloads.ROOT):
        return "remove that folder and run .ci/setup model"
    return f"apt install --reinstall its package (dpkg -S {path})"


@lru_cache(maxsize=64)
def patch(path: Path) -> tuple[Zone, ...]:
    """Read a patch of the Gravis Ultrasound (``.pat``): recordings with their pitch, keys and loop.

    Raises
    ------
    MissingIngredient
        Naming the file, where it is not there or is no such patch.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingIngredient(f"{path} cannot be read; apt install freepats") from error
    if not data.startswith(b"GF1PATCH110"):
        raise MissingIngredient(f"{path} is no patch of a Gravis Ultrasound; apt install --reinstall freepats")
    zones, at = [], PATCH_HEADS
    for _ in range(data[198]):
        head = struct.unpack_from(SAMPLE_HEAD, data, at)
        _, _, n_bytes, begin, end, rate, low_mhz, high_mhz, root_mhz, _, _, modes = head
        at += struct.calcsize(SAMPLE_HEAD)
        width = 2 if modes & IS_16_BIT else 1
        raw = np.frombuffer(data, "<u2" if width == 2 else "u1", n_bytes // width, at).astype(np.int32)
        at += n_bytes
        half = 1 << (8 * width - 1)
        wave = (raw - half if modes & IS_UNSIGNED else (raw ^ half) - half).astype(np.float32) / half
        zones.append(
            Zone(
                audio=soxr.resample(wave, rate, SR).astype(np.float32)[:, None],
                root=_pitch(root_mhz),
                low=_pitch(low_mhz) - 0.5,
                high=_pitch(high_mhz) + 0.5,
                loop=(int(begin / width * SR / rate), int(end / width * SR / rate)) if modes & IS_LOOPED else (0, 0),
            )
        )
    return tuple(zones)


def _pitch(millihertz: int) -> float:
    return 69 + 12 * float(np.log2(max(millihertz, 8000) / 440e3))


def play_notes(
    rng: np.random.Generator,
    zones: tuple[Zone, ...],
    notes: tuple[Note, ...],
    n_frames: int,
    *,
    fade_s: float,
    size_semitones: float = 0.0,
) -> Audio:
    """Play a part on recordings.

    Parameters
    ----------
    fade_s
        How fast a looped recording dies away, as a string does; infinite for what is blown or bowed.
    size_semitones
        How much smaller than recorded the body is: each note is played on the recording of one so much lower.

    Returns
    -------
    ``(n_frames, 2)`` float32.
    """
    out = np.zeros((n_frames, 2), np.float32)
    for note in notes:
        zone = _fitting_zone(zones, note, size_semitones)
        audio = recording_of(zone)
        ratio = 2 ** ((note.pitch + rng.normal(0.0, 0.03) - zone.root) / 12)
        length_s = note.length_s * {"staccato": 0.45, "muted": 0.25}.get(note.articulation, 1.0)
        at, n = round(note.begin_s * SR), int((length_s + 0.06) * SR)
        place = np.arange(max(0, min(n, n_frames - at))) * ratio
        begin, end = zone.loop
        gain = np.minimum(1.0, (n - np.arange(len(place))) / (0.06 * SR)) * note.velocity
        if end > begin + 16:
            after = place > end
            place = np.where(after, begin + (place - begin) % (end - begin), place)
            if np.isfinite(fade_s):
                gain = gain * np.exp(-np.arange(len(place)) / (fade_s * SR))
        place = place[place < len(audio) - 2]
        low = place.astype(np.int64)
        share = (place - low).astype(np.float32)[:, None]
        sound = audio[low] * (1 - share) + audio[low + 1] * share
        out[at : at + len(sound)] += sound * gain[: len(sound), None].astype(np.float32)
    return out


def recording_of(zone: Zone) -> Audio:
    """Return the recording of a zone, ``(n_frames, 1 or 2)``."""
    return load(zone.audio, LONGEST_NOTE_S) if isinstance(zone.audio, Path) else zone.audio


def _fitting_zone(zones: tuple[Zone, ...], note: Note, size_semitones: float) -> Zone:
    pitch = note.pitch - size_semitones
    return min(
        zones,
        key=lambda z: (
            not z.softest <= note.velocity <= z.loudest,
            not z.low <= pitch <= z.high,
            abs(z.root - pitch),
        ),
    )


def looped(rng: np.random.Generator, sound: Sound, n_frames: int) -> Audio:
    """Repeat a loop at another tempo, from any place in it, at times with its slices in another order."""
    audio = _faster(load(sound.path), float(2 ** (rng.uniform(-4.0, 4.0) / 12)))
    audio = audio.copy()
    n_fade = min(len(audio), 480)
    audio[-n_fade:] *= np.linspace(1, 0, n_fade, dtype=np.float32)[:, None]
    if rng.random() < 0.35 and len(audio) > SR:
        slices = np.array_split(audio, 8)
        order = np.where(rng.random(8) < 0.4, rng.integers(8, size=8), np.arange(8))
        audio = np.concatenate([slices[i] for i in order])
    gap = int(rng.uniform(0.1, 0.8) * SR) if len(audio) < 1.2 * SR else 0
    audio = np.pad(audio, ((0, gap), (0, 0)))
    late = int(rng.uniform(0.0, 0.5) * SR)
    first = int(rng.integers(8)) * len(audio) // 8
    out = np.take(audio, np.arange(first, first + n_frames), axis=0, mode="wrap")
    out[:late] = 0
    return out


def excerpt(rng: np.random.Generator, sound: Sound, n_frames: int) -> Audio:
    """Cut a stretch out of a take where somebody plays, a little slower or faster; guitars from one side or from both.

    Raises
    ------
    MissingIngredient
        Naming the file, where it is not there or cannot be decoded.
    """
    ratio = float(2 ** (rng.uniform(-3.0, 3.0) / 12))
    try:
        with soundfile.SoundFile(sound.path) as file:
            n_read = int(n_frames * ratio * file.samplerate / SR) + 64
            for _ in range(TAKE_TRIES):
                file.seek(int(rng.integers(max(1, file.frames - n_read))))
                audio, rate = file.read(n_read, dtype="float32", always_2d=True)[:, :2], file.samplerate
                if float(np.sqrt(np.mean(audio**2))) > TAKE_LEAST_RMS:
                    break
    except (OSError, soundfile.LibsndfileError) as error:
        raise MissingIngredient(f"{sound.path} cannot be read; {_remedy(sound.path)}") from error
    audio = np.repeat(audio, 2, axis=1) if audio.shape[1] == 1 else audio
    if sound.place != "playback" and rng.random() < 0.6:
        audio = np.repeat(audio[:, [int(rng.integers(2))]], 2, axis=1)
    audio = soxr.resample(audio, rate * ratio, SR, quality="MQ").astype(np.float32)[:n_frames]
    return np.pad(audio, ((0, n_frames - len(audio)), (0, 0)))


def strewn(rng: np.random.Generator, sound: Sound, n_frames: int) -> Audio:
    """Let a texture come a few times, slower or faster, forwards or backwards."""
    out = np.zeros((n_frames, 2), np.float32)
    at = int(rng.uniform(0.02, 0.5) * SR)
    while at < n_frames - SR // 4:
        audio = _faster(load(sound.path), float(2 ** (rng.uniform(-9.0, 7.0) / 12)))
        audio = audio[::-1] if rng.random() < 0.25 else audio
        keep = audio[: n_frames - at]
        out[at : at + len(keep)] += keep * np.float32(rng.uniform(0.5, 1.0))
        at += int(max(0.3 * len(audio), rng.uniform(0.15, 2.5) * SR))
    return out


def _faster(audio: Audio, ratio: float) -> Audio:
    return soxr.resample(audio, SR * ratio, SR, quality="MQ").astype(np.float32)
