"""Songs, talks and evenings of both, performed: clean stems with their truth, made from a seed and a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import GENRES
from model_compression.data import (
    drum_kits,
    instruments,
    singing,
    surroundings,
    talkers,
    vocal_effects,
    vocal_parts,
    voices,
)
from model_compression.data.composer import compose
from model_compression.data.composer_song import Note, Part, Song
from model_compression.data.ingredients import require
from model_compression.data.performance import SAMPLE_RATE_HZ, Performance, Stem
from model_compression.data.variation import varied

Audio = NDArray[np.float32]
MAX_STEMS, MIN_STEMS = 24, 4
STYLE_OF_KIT = {"kit": "acoustic", "jazz_kit": "acoustic", "soft_kit": "acoustic", "electronic_kit": "electronic"}
STYLE_OF_KIT |= {
    "hand_percussion": "percussion",
    "electronic_percussion": "electronic",
    "orchestral_percussion": "percussion",
}
# Of leads outside the test split, by function: who talks over a band is its voice and no announcer. The band says so,
# the sound alone does not.
SPOKEN_SHARE = {"rap": 0.5, "vocal": 0.06}
STEREO_ROLES = ("synth", "piano", "strings", "drums", "vocal_backing", "playback", "ambience", "other")
SPLITS = ("train", "valid", "test")


def perform(
    rng: np.random.Generator,
    split: str,
    *,
    genre: str | None = None,
    seconds: float = 40.0,
    cache_dir: Path | None = None,
) -> Performance:
    """Compose a song and perform it.

    Parameters
    ----------
    split
        ``train``, ``valid`` or ``test``; families of ``test`` sound in no other.
    genre
        A word of ``GENRES``, or None to draw one.
    cache_dir
        Where the voices' utterances are kept; the result does not depend on it.

    Raises
    ------
    MissingIngredient
        Naming the Debian packages that this machine lacks.
    """
    check_split(split)
    song = compose(rng, genre or str(rng.choice(GENRES)), seconds=seconds)
    return _as_performance(song, _stems(rng, split, song, cache_dir))


def talk(
    rng: np.random.Generator,
    split: str,
    *,
    n_talkers: int,
    seconds: float = 40.0,
    with_music_bed: bool = False,
    cache_dir: Path | None = None,
) -> Performance:
    """Hold a podcast or panel, one stem per talker; under it, if asked, a finished piece of music as ``playback``."""
    check_split(split)
    persons = talkers.draw_company(rng, split, n_talkers)
    sounds, spans = talkers.conversation(rng, persons, seconds, cache_dir=cache_dir)
    stems = [
        Stem(audio=s, role="speech", family=p.voice.name, lead_spans_s=tuple(w))
        for s, p, w in zip(sounds, persons, spans, strict=True)
    ]
    made_of = {p.voice.ingredient for p in persons}
    if with_music_bed:
        bed, more = playback(rng, split, seconds, cache_dir)
        stems.append(bed)
        made_of |= more
    return Performance(
        stems=tuple(stems),
        scene_kind="speech",
        beats_s=np.zeros(0),
        downbeats_s=np.zeros(0),
        ingredients=tuple(sorted(made_of)),
    )


def mixed(
    rng: np.random.Generator,
    split: str,
    *,
    seconds: float = 60.0,
    genre: str | None = None,
    cache_dir: Path | None = None,
) -> Performance:
    """Let a band play, and somebody talk before and after the song."""
    check_split(split)
    words_s = float(rng.uniform(0.15, 0.35)) * seconds
    after_s = float(rng.uniform(0.0, 0.2)) * seconds
    song = compose(rng, genre or str(rng.choice(GENRES)), seconds=seconds - words_s - after_s)
    played, made_of = _stems(rng, split, song, cache_dir)
    n_frames, shift = round(seconds * SAMPLE_RATE_HZ), round(words_s * SAMPLE_RATE_HZ)
    stems = []
    for stem in played:
        audio = np.zeros((n_frames, stem.audio.shape[1]), np.float32)
        audio[shift : shift + len(stem.audio)] = stem.audio[: n_frames - shift]
        spans = tuple((a + words_s, b + words_s) for a, b in stem.lead_spans_s)
        stems.append(Stem(audio=audio, role=stem.role, family=stem.family, lead_spans_s=spans))
    person = talkers.draw_person(rng, split)
    said = np.zeros((n_frames, 1), np.float32)
    spans_s: list[tuple[float, float]] = []
    for begin_s, length_s in ((0.2, words_s - 0.4), (seconds - after_s + 0.5, after_s - 0.6)):
        if length_s < 2.0:
            continue
        sound, said_in = talkers.conversation(
            rng, [person], length_s, begin_s=0.1, purpose="announcement", cache_dir=cache_dir
        )
        at = round(begin_s * SAMPLE_RATE_HZ)
        said[at : at + len(sound[0])] += sound[0][: n_frames - at]
        spans_s += [(a + begin_s, b + begin_s) for a, b in said_in[0]]
    stems = [
        Stem(audio=said, role="speech", family=person.voice.name, lead_spans_s=tuple(spans_s)),
        *stems[: MAX_STEMS - 1],
    ]
    return Performance(
        stems=tuple(stems),
        scene_kind="mixed",
        genre=song.genre,
        tempo_bpm=song.clock.tempo_bpm,
        beats_s=song.beats_s + words_s,
        downbeats_s=song.downbeats_s + words_s,
        sections=tuple((b + words_s, w) for b, w in song.section_times_s()),
        key=song.key,
        ingredients=tuple(sorted(made_of | {person.voice.ingredient})),
    )


def check_split(split: str) -> None:
    """Refuse a split that is none of ``SPLITS``, and a machine that lacks an ingredient."""
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    require()


def side_of(split: str) -> str:
    """Families divide into two sides; ``valid`` uses those of ``train`` with other seeds."""
    return "test" if split == "test" else "train"


def crowd_ingredients(split: str) -> set[str]:
    """Name whatever may sound in a choir or a crowd of a split: voices are drawn inside, so all of that side count."""
    return {"own-synthesis", *(v.ingredient for v in voices.voices() if v.split == side_of(split))}


def _as_performance(song: Song, made: tuple[list[Stem], set[str]]) -> Performance:
    stems, made_of = made
    return Performance(
        stems=tuple(stems),
        scene_kind="music",
        genre=song.genre,
        tempo_bpm=song.clock.tempo_bpm,
        beats_s=song.beats_s,
        downbeats_s=song.downbeats_s,
        sections=song.section_times_s(),
        key=song.key,
        ingredients=tuple(sorted(made_of)),
    )


def _stems(rng: np.random.Generator, split: str, song: Song, cache_dir: Path | None) -> tuple[list[Stem], set[str]]:
    n_frames = round(song.duration_s * SAMPLE_RATE_HZ)
    stems: list[Stem] = []
    made_of: set[str] = set()
    singer = singing.draw_singer(rng, split)
    for part in song.parts:
        if part.kind in STYLE_OF_KIT and not (part.function == "percussion" and part.kind == "orchestral_percussion"):
            played, more = kit_stems(rng, split, part, n_frames)
        elif part.function in ("vocal", "rap", "rap_double", "harmony") or part.kind in ("singer", "choir"):
            played, more = _vocal(rng, split, part, song, singer, cache_dir)
        elif part.function == "effects":
            sound = surroundings.effects(rng, part.notes, n_frames)
            played, more = [Stem(audio=sound, role="other", family=f"effects.{side_of(split)}")], {"own-synthesis"}
        else:
            played, more = _instrument(rng, split, part, n_frames)
        stems += played
        made_of |= more
    if rng.random() < 0.15 or len(stems) < MIN_STEMS:
        stems.append(
            Stem(
                audio=surroundings.ambience(rng, split, n_frames, cache_dir=cache_dir),
                role="ambience",
                family=f"crowd.{side_of(split)}",
            )
        )
        made_of |= crowd_ingredients(split)
    while len(stems) < MIN_STEMS:
        part = Part(function="pad", kind="synth_pad", notes=song.parts[0].notes)
        played, more = _instrument(rng, split, part, n_frames)
        stems += played
        made_of |= more
    return [s for s in stems if float(np.abs(s.audio).max()) > 1e-4][:MAX_STEMS], made_of


def kit_stems(rng: np.random.Generator, split: str, part: Part, n_frames: int) -> tuple[list[Stem], set[str]]:
    """Play a drummer or percussionist: piece by piece, or the whole kit on one or two microphones."""
    style = STYLE_OF_KIT[part.kind]
    if style == "electronic" and rng.random() < 0.15:
        style = "acoustic"
    kit = drum_kits.choose(rng, split, style)
    made_of = {kit.ingredient}
    tuned = drum_kits.tuning(rng)
    groups: dict[str, list[Note]] = {}
    for note in part.notes:
        piece = (
            "percussion" if part.function == "percussion" else drum_kits.PIECE_OF_KEY.get(int(note.pitch), "percussion")
        )
        groups.setdefault(piece, []).append(note)
    sounds: dict[str, tuple[Audio, str]] = {}
    for piece, notes in sorted(groups.items()):
        source = kit
        for _ in range(8):
            if all(drum_kits.has(source, int(n.pitch)) for n in notes):
                break
            source = drum_kits.choose(
                rng, split, "percussion" if piece == "percussion" and rng.random() < 0.5 else "acoustic"
            )
        made_of.add(source.ingredient)
        sounds[piece] = (drum_kits.hits(rng, source, tuned, tuple(notes), n_frames), source.name)
    if part.function == "percussion":
        audio, name = sounds["percussion"]
        return [as_stem(rng, audio, "percussion", name)], made_of
    if rng.random() < 0.25:
        whole = np.sum([a * np.float32(rng.uniform(0.5, 1.0)) for a, _ in sounds.values()], axis=0)
        return [as_stem(rng, whole, "drums", kit.name)], made_of
    if "cymbal" in sounds and rng.random() < 0.6:
        spill = np.float32(10 ** (rng.uniform(-18, -7) / 20))
        kit_sound = np.sum([a for p, (a, _) in sounds.items() if p != "cymbal"], axis=0)
        sounds["cymbal"] = (sounds["cymbal"][0] + spill * kit_sound, sounds["cymbal"][1])
    return [as_stem(rng, audio, piece, name) for piece, (audio, name) in sounds.items()], made_of


def as_stem(rng: np.random.Generator, audio: Audio, role: str, family: str, *, is_finished: bool = False) -> Stem:
    """Make a stem of a kit piece, a whole kit or a recording: coloured, mono or stereo, peak 0.5.

    What is finished has been through its amplifiers and pedals.
    """
    is_stereo = role in ("cymbal", *STEREO_ROLES) and rng.random() < 0.4
    sound = audio if is_stereo else audio.mean(axis=1, keepdims=True)
    sound = sound if is_finished else varied(rng, sound, role)
    sound = instruments.coloured(rng, sound, role)
    peak = float(np.abs(sound).max())
    return Stem(
        audio=(sound * np.float32(0.5 / peak)).astype(np.float32) if peak > 1e-6 else sound, role=role, family=family
    )


def _instrument(rng: np.random.Generator, split: str, part: Part, n_frames: int) -> tuple[list[Stem], set[str]]:
    kind = "timpani" if part.kind == "orchestral_percussion" else part.kind
    family = instruments.choose(rng, split, kind=kind)
    is_stereo = family.role in STEREO_ROLES and rng.random() < 0.3
    audio = instruments.play(rng, family, part.notes, n_frames, is_stereo=is_stereo)
    return [Stem(audio=audio, role=family.role, family=family.name, lead_spans_s=part.lead_spans_s)], {
        family.ingredient
    }


def _vocal(
    rng: np.random.Generator,
    split: str,
    part: Part,
    song: Song,
    lead: singing.Singer,
    cache_dir: Path | None,
) -> tuple[list[Stem], set[str]]:
    n_frames = round(song.duration_s * SAMPLE_RATE_HZ)
    company: tuple[singing.Singer, ...] = ()
    spoken: voices.Voice | None = None
    is_lead = part.function in ("vocal", "rap", "melody", "solo")
    singer = lead if is_lead else singing.draw_singer(rng, split, is_backing=True)
    if not is_lead and split != "test" and rng.random() < vocal_parts.SHARE_OF_BACKING:
        tune = next((p.notes for p in song.parts if p.function in ("vocal", "rap")), ())
        audio, company = vocal_parts.backing(
            rng, singer, part.notes, n_frames, key=song.key, lead=lead, tune=tune, cache_dir=cache_dir
        )
    elif part.kind == "choir" and rng.random() < 0.5:
        return _instrument(rng, split, part, n_frames)
    elif is_lead and split != "test" and rng.random() < SPOKEN_SHARE.get(part.function, 0.0):
        person = talkers.draw_person(rng, split)
        audio, spoken = talkers.recite(rng, person, part.notes, n_frames, cache_dir=cache_dir), person.voice
    elif part.function in ("rap", "rap_double"):
        audio = singing.rap(rng, singer, part.notes, n_frames, cache_dir=cache_dir)
    elif part.kind == "choir":
        audio = choir(rng, split, part.notes, n_frames, cache_dir=cache_dir)
    else:
        audio = singing.sing(
            rng, singer, part.notes, n_frames, vowels_only=not is_lead and rng.random() < 0.4, cache_dir=cache_dir
        )
    sound = instruments.coloured(rng, audio, "vocal_lead")
    sound = vocal_effects.produced(rng, sound, split, is_backing=not is_lead, tempo_bpm=song.clock.tempo_bpm)
    role = "vocal_lead" if is_lead else "vocal_backing"
    voice = spoken or (company[0] if company else singer).voice
    made_of = {voice.ingredient, *(one.voice.ingredient for one in company)} | (
        crowd_ingredients(split) if part.kind == "choir" else set()
    )
    return [Stem(audio=sound, role=role, family=voice.name, lead_spans_s=part.lead_spans_s)], made_of


def choir(
    rng: np.random.Generator, split: str, notes: tuple[Note, ...], n_frames: int, *, cache_dir: Path | None = None
) -> Audio:
    """Three singers on one vowel; chords are shared out between them; ``(n_frames, 2)`` float32."""
    n_singers = 3
    out = np.zeros((n_frames, 2), np.float32)
    begins: dict[float, list[Note]] = {}
    for note in notes:
        begins.setdefault(round(note.begin_s, 3), []).append(note)
    for voice in range(n_singers):
        line = tuple(sorted(chord, key=lambda n: n.pitch)[voice % len(chord)] for chord in begins.values())
        singer = singing.draw_singer(rng, split, is_backing=True)
        sound = singing.sing(rng, singer, line, n_frames, vowels_only=True, cache_dir=cache_dir)
        late = int(rng.integers(0, 1400))
        out[late:] += np.roll(sound, late, axis=0)[late:] * rng.dirichlet((3, 3)).astype(np.float32)
    return out / np.float32(np.abs(out).max() * 2 + 1e-9)


def playback(rng: np.random.Generator, split: str, seconds: float, cache_dir: Path | None) -> tuple[Stem, set[str]]:
    """Mix a song down to stereo: balanced by role, panned, compressed."""
    song = compose(rng, str(rng.choice(GENRES)), seconds=max(8.0, seconds))
    stems, made_of = _stems(rng, split, song, cache_dir)
    mix = np.zeros((round(song.duration_s * SAMPLE_RATE_HZ), 2), np.float32)
    for stem in stems:
        rms = float(np.sqrt(np.mean(stem.audio**2))) + 1e-6
        lead_db = 4.0 if stem.lead_spans_s else -2.0
        level = np.float32(0.07 * 10 ** ((lead_db + rng.normal(0, 2)) / 20) / rms)
        place = 0.5 if stem.role in ("kick", "snare", "bass", "vocal_lead") else rng.uniform(0.2, 0.8)
        sides = np.array([np.cos(place * np.pi / 2), np.sin(place * np.pi / 2)], np.float32)
        mix += stem.audio * level * sides * np.float32(np.sqrt(2))
    mix = np.tanh(mix * np.float32(0.7 / (np.percentile(np.abs(mix), 99) + 1e-6))).astype(np.float32)
    n_frames = round(seconds * SAMPLE_RATE_HZ)
    return Stem(audio=instruments.fitted(0.6 * mix, n_frames), role="playback", family=f"mix.{side_of(split)}"), made_of
