"""One source alone: a phrase, a riff, a scale, a held note or single hits, for the network that tells roles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from dsp_kernels.contract.generated.contract import GENRES, ROLES
from model_compression.data import (
    drum_kits,
    instruments,
    performers,
    recorded_sounds,
    singing,
    surroundings,
    talkers,
    textures,
    vocal_effects,
    vocal_parts,
)
from model_compression.data.composer import compose
from model_compression.data.composer_song import Note
from model_compression.data.composer_theory import SCALES
from model_compression.data.percussion_synthesis import GROUPS
from model_compression.data.performance import SAMPLE_RATE_HZ, Stem

Audio = NDArray[np.float32]
KEYS_OF_PIECE = {
    "kick": (36,),
    "snare": (38, 37, 38, 38),
    "hihat": (42, 46, 44),
    "tom": (50, 47, 43),
    "cymbal": (49, 51),
}
MOST_RECORDED = {"other": 0.4, "drums": 0.35}  # share of clips that play a recorded loop or texture
PLAYED_AS = {"loop": recorded_sounds.looped, "texture": recorded_sounds.strewn, "take": recorded_sounds.excerpt}
SHARE_SPILT = 0.5  # of these, in training: the rest of the kit is in the microphone too
SHARE_OF_SONGS = 0.35  # of clips of kit pieces that play what a song has for them
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 12), (0, 7, 12), (0, 3, 7, 10))
CHORDAL_ROLES = ("piano", "ac_guitar", "elec_guitar", "synth", "strings", "brass")


def solo_clip(
    rng: np.random.Generator, role: str, split: str, *, seconds: float = 6.0, cache_dir: Path | None = None
) -> Stem:
    """One source of a role alone, ``seconds`` long, with silence before and after what it plays.

    Raises ``ValueError`` for a word that is not in ``ROLES``.
    """
    if role not in ROLES:
        raise ValueError(f"no role {role!r}; there are {', '.join(ROLES)}")
    performers.check_split(split)
    n_frames = round(seconds * SAMPLE_RATE_HZ)
    if role == "speech":
        person = talkers.draw_person(rng, split)
        purpose = str(rng.choice(["host", "guest", "announcement"]))
        sounds, spans = talkers.conversation(rng, [person], seconds, purpose=purpose, cache_dir=cache_dir)
        return Stem(audio=sounds[0], role=role, family=person.voice.name, lead_spans_s=tuple(spans[0]))
    if role == "ambience":
        return Stem(
            audio=surroundings.ambience(rng, split, n_frames, cache_dir=cache_dir),
            role=role,
            family=f"crowd.{performers.side_of(split)}",
        )
    found = _recording(rng, role, split, n_frames)
    if found is not None:
        return found
    if role == "playback":
        return performers.playback(rng, split, seconds, cache_dir)[0]
    if role in KEYS_OF_PIECE or (role == "percussion" and rng.random() < 0.85):
        return _piece(rng, role, split, n_frames, seconds)
    if role == "drums":
        return _kit(rng, split, n_frames, seconds)
    if role == "vocal_lead" or (role == "vocal_backing" and rng.random() < 0.75):
        return _voice(rng, role, split, n_frames, seconds, cache_dir)
    if role == "other" and rng.random() < 0.55:
        is_riser = rng.random() < 0.35
        audio = surroundings.effects(rng, (), n_frames) if is_riser else textures.texture(rng, split, n_frames)
        return performers.as_stem(rng, audio, role, f"effects.{performers.side_of(split)}")
    family = instruments.choose(rng, split, role=role)
    notes = figure(
        rng, family.range, seconds, may_chord=role in CHORDAL_ROLES, is_guitar=role in ("ac_guitar", "elec_guitar")
    )
    is_stereo = role in performers.STEREO_ROLES and rng.random() < 0.3
    return Stem(
        audio=instruments.play(rng, family, notes, n_frames, is_stereo=is_stereo), role=role, family=family.name
    )


def figure(
    rng: np.random.Generator, span: tuple[int, int], seconds: float, *, may_chord: bool, is_guitar: bool = False
) -> tuple[Note, ...]:
    """Write what somebody plays alone: a scale, held notes, a melody, chords, a riff, or one short note.

    Guitars strum up and down, and palm-mute riffs.
    """
    if is_guitar and rng.random() < 0.25:
        return _strummed(rng, span, seconds)
    hand = "muted" if is_guitar and rng.random() < 0.15 else "normal"
    low, high = span
    centre = rng.uniform(low + 4, max(low + 5, high - 8))
    step_s = float(np.exp(rng.uniform(np.log(0.11), np.log(0.8))))
    scale = SCALES[str(rng.choice(list(SCALES)))]
    ladder = [
        centre // 1 + 12 * o + s for o in (-1, 0, 1) for s in scale if low <= centre // 1 + 12 * o + s <= high
    ] or [float(low)]
    style = str(
        rng.choice(
            ["scale", "held", "melody", "chords", "riff", "single"],
            p=[0.12, 0.18, 0.28, 0.22 if may_chord else 0.0, 0.14, 0.06 + (0.0 if may_chord else 0.22)],
        )
    )
    legato = rng.uniform(0.4, 1.05)
    loud = rng.uniform(0.35, 0.95)
    notes: list[Note] = []
    at, i = float(rng.uniform(0.05, 0.6)), int(rng.integers(len(ladder)))
    riff_shape = rng.integers(-3, 4, size=int(rng.integers(3, 8)))
    while at < seconds - 0.2:
        length_s = step_s * (1 if style != "melody" else float(rng.choice([1, 1, 2, 3])))
        if style == "held":
            length_s = float(rng.uniform(1.0, 3.5))
        if style == "single":
            length_s = float(rng.uniform(0.8, 2.5))
        i = {
            "scale": (i + 1) % (2 * len(ladder)),
            "riff": int(riff_shape[len(notes) % len(riff_shape)] + len(ladder) // 2),
        }.get(style, int(i + rng.integers(-2, 3)))
        place = i if i < len(ladder) else 2 * len(ladder) - 1 - i
        pitch = ladder[int(np.clip(place, 0, len(ladder) - 1))]
        shape = CHORDS[int(rng.integers(len(CHORDS)))] if style == "chords" else (0,)
        held_s = length_s * legato if style != "single" else float(rng.uniform(0.1, 0.7)) * length_s
        velocity = float(np.clip(loud + rng.normal(0, 0.1), 0.08, 1.0))
        strum_s = rng.uniform(0.0, 0.02)
        notes += [
            Note(
                begin_s=at + k * strum_s,
                length_s=max(0.06, held_s),
                pitch=min(pitch + s, high),
                velocity=velocity,
                articulation=hand,
            )
            for k, s in enumerate(shape)
        ]
        at += length_s
        if style == "melody" and rng.random() < 0.12:
            at += rng.uniform(0.3, 1.0)
    return tuple(notes)


def _strummed(rng: np.random.Generator, span: tuple[int, int], seconds: float) -> tuple[Note, ...]:
    """Write chords on four to six strings by a pattern of down and up strokes; some strokes are choked."""
    low = span[0] + int(rng.integers(0, 9))
    voicing = ((0, 7, 12, 16, 19, 24), (0, 7, 12, 15, 19, 24), (0, 5, 10, 14, 19), (0, 7, 12), (0, 12, 16, 19))
    step_s, spread_s = 60 / rng.uniform(70, 150) / 2, rng.uniform(0.004, 0.03)
    plays, choked = rng.random(8) < rng.uniform(0.4, 0.9), rng.random(8) < 0.15
    begin_s, notes = float(rng.uniform(0.05, 0.5)), []
    root, shape = low, voicing[int(rng.integers(len(voicing)))]
    for i in range(int((seconds - begin_s - 0.1) / step_s)):
        if i % 8 == 0:
            root = low + int(rng.choice([0, 0, 5, 7, 3, -2, 2]))
        if not plays[i % 8] and i:
            continue
        strings = [root + s for s in shape if span[0] <= root + s <= span[1]]
        for k, pitch in enumerate(strings if i % 2 == 0 else strings[::-1][: max(2, len(strings) - 2)]):
            at = begin_s + i * step_s + k * spread_s
            length_s = step_s * (0.4 if choked[i % 8] else 1.6)
            word = "muted" if choked[i % 8] else "normal"
            velocity = float(rng.uniform(0.4, 0.9))
            notes.append(Note(begin_s=at, length_s=length_s, pitch=pitch, velocity=velocity, articulation=word))
    return tuple(notes)


def _recording(rng: np.random.Generator, role: str, split: str, n_frames: int) -> Stem | None:
    """Play a recorded loop, texture or take of the role, at times, if there is one."""
    files = [s for form in PLAYED_AS for s in recorded_sounds.fitting(split, form, role)]
    if not files or rng.random() >= min(MOST_RECORDED.get(role, 0.25), 0.03 * len(files)):
        return None
    drawn = files[int(rng.integers(len(files)))]
    sound = PLAYED_AS[drawn.form](rng, drawn, n_frames)
    return performers.as_stem(rng, sound, role, drawn.name, is_finished=drawn.form == "take" and rng.random() < 0.6)


def _piece(rng: np.random.Generator, role: str, split: str, n_frames: int, seconds: float) -> Stem:
    keys: tuple[int, ...]
    if role == "percussion":
        keys = GROUPS[int(rng.integers(len(GROUPS)))]
        kit = drum_kits.choose_with(rng, split, ("percussion", "percussion", "acoustic", "electronic"), keys)
        chosen = list(keys)
    else:
        keys = KEYS_OF_PIECE[role]
        chosen = [int(k) for k in rng.choice(keys, size=1 if role != "tom" else 3)]
        kit = drum_kits.choose_with(
            rng, split, ("acoustic", "acoustic", "acoustic", "electronic", "electronic"), tuple(chosen)
        )
    notes: tuple[Note, ...] = ()
    others: tuple[Note, ...] = ()
    way = rng.random()
    if role != "percussion" and way < SHARE_OF_SONGS:
        song = compose(rng, str(rng.choice([g for g in GENRES if g != "classical"])), seconds=max(8.0, seconds))
        played = [
            n for p in song.parts if p.function in ("drums", "percussion") for n in p.notes if n.begin_s < seconds - 0.1
        ]
        notes = tuple(n for n in played if int(n.pitch) in keys and drum_kits.has(kit, int(n.pitch)))
        if split != "test" and rng.random() < SHARE_SPILT:
            others = tuple(n for n in played if int(n.pitch) not in keys and drum_kits.has(kit, int(n.pitch)))
    elif way < 0.6 and 94 not in keys:
        notes = _pattern(rng, chosen, seconds)
    notes = notes or _isolated(rng, chosen, seconds)
    tuned = drum_kits.tuning(rng)
    audio = drum_kits.hits(rng, kit, tuned, notes, n_frames)
    if others:
        audio = audio + spilt(rng, drum_kits.hits(rng, kit, tuned, others, n_frames), audio)
    return performers.as_stem(rng, audio, role, kit.name)


def spilt(rng: np.random.Generator, others: Audio, own: Audio) -> Audio:
    """Return the rest of a kit as a close microphone hears it: later, duller, 3 to 24 dB under what it is there for."""
    level = 10 ** (rng.uniform(-24, -3) / 20) * np.abs(own).max() / max(float(np.abs(others).max()), 1e-6)
    late = int(rng.integers(30, 160))
    dull = sosfilt(butter(1, rng.uniform(2000, 12000), fs=SAMPLE_RATE_HZ, output="sos"), others, axis=0)
    return np.pad(level * dull, ((late, 0), (0, 0)))[: len(own)].astype(np.float32)


def _pattern(rng: np.random.Generator, keys: list[int], seconds: float) -> tuple[Note, ...]:
    """Write a bar of sixteenths that comes back with small changes."""
    step_s, n_steps = 60 / rng.uniform(70, 170) / 4, int(rng.choice([8, 12, 16]))
    plays = rng.random(n_steps) < rng.uniform(0.2, 0.75)
    plays[0] = True
    which, loud = rng.integers(len(keys), size=n_steps), rng.uniform(0.3, 0.95, n_steps)
    begin_s, notes = float(rng.uniform(0.02, 0.5)), []
    for i in range(int((seconds - begin_s - 0.05) / step_s)):
        if plays[i % n_steps] != (rng.random() < 0.06):
            velocity = float(np.clip(loud[i % n_steps] + rng.normal(0, 0.06), 0.1, 1.0))
            at = begin_s + i * step_s + max(0.0, rng.normal(0, 0.004))
            notes.append(Note(begin_s=at, length_s=0.1, pitch=keys[int(which[i % n_steps])], velocity=velocity))
    return tuple(notes)


def _isolated(rng: np.random.Generator, keys: list[int], seconds: float) -> tuple[Note, ...]:
    notes, at = [], float(rng.uniform(0.02, 0.5))
    gap_s = float(np.exp(rng.uniform(np.log(0.18), np.log(2.5))))
    loud = rng.uniform(0.4, 0.95)
    while at < seconds - 0.05:
        velocity = float(np.clip(loud + rng.normal(0, 0.12), 0.1, 1.0))
        notes.append(Note(begin_s=at, length_s=0.1, pitch=int(rng.choice(keys)), velocity=velocity))
        at += gap_s * rng.uniform(0.9, 1.1)
    return tuple(notes)


def _kit(rng: np.random.Generator, split: str, n_frames: int, seconds: float) -> Stem:
    song = compose(
        rng, str(rng.choice(["rock", "pop", "electronic", "funk", "hiphop", "jazz"])), seconds=max(8.0, seconds)
    )
    part = next((p for p in song.parts if p.function == "drums"), None)
    notes = part.notes if part else _isolated(rng, [36, 38, 42], seconds)
    kept = tuple(n for n in notes if n.begin_s < seconds - 0.05) or _isolated(rng, [36, 38, 42], seconds)
    kit = drum_kits.choose(rng, split, str(rng.choice(["acoustic", "acoustic", "electronic"])))
    audio = drum_kits.hits(rng, kit, drum_kits.tuning(rng), kept, n_frames)
    return performers.as_stem(rng, audio, "drums", kit.name)


def _voice(
    rng: np.random.Generator, role: str, split: str, n_frames: int, seconds: float, cache_dir: Path | None
) -> Stem:
    is_backing = role == "vocal_backing"
    singer = singing.draw_singer(rng, split, is_backing=is_backing)
    notes = figure(rng, (50, 76), seconds, may_chord=False)
    family = singer.voice.name
    if is_backing and split != "test" and rng.random() < vocal_parts.SHARE_OF_BACKING:
        lead = singing.draw_singer(rng, split)
        audio, company = vocal_parts.backing(rng, singer, notes, n_frames, lead=lead, cache_dir=cache_dir)
        return _produced_voice(rng, audio, role, split, company[0].voice.name)
    if is_backing and rng.random() < 0.3:
        notes = singing.drawn_out(notes)
    if is_backing and rng.random() < 0.4:
        audio = performers.choir(rng, split, notes, n_frames, cache_dir=cache_dir)
        family = f"choir.{performers.side_of(split)}"
    elif rng.random() < (0.06 if is_backing else 0.2):
        audio = singing.rap(rng, singer, notes, n_frames, cache_dir=cache_dir)
    else:
        only_vowels = rng.random() < (0.5 if is_backing else 0.1)
        audio = singing.sing(rng, singer, notes, n_frames, vowels_only=only_vowels, cache_dir=cache_dir)
    return _produced_voice(rng, audio, role, split, family)


def _produced_voice(rng: np.random.Generator, audio: Audio, role: str, split: str, family: str) -> Stem:
    sound = instruments.coloured(rng, audio, role)
    tempo_bpm, is_backing = float(rng.uniform(75, 160)), role == "vocal_backing"
    return Stem(
        audio=vocal_effects.produced(rng, sound, split, is_backing=is_backing, tempo_bpm=tempo_bpm),
        role=role,
        family=family,
    )
