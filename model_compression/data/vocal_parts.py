"""What backing vocals are on records: one singer many times, harmonies in key, held vowels, doubles, answers, shouts.

One voice sings; the others are takes of what it sang, each with a timing, a drift, a vibrato and a body of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from dsp_kernels.contract.generated.contract import KEYS
from model_compression.data import singing
from model_compression.data.composer_melody import scale_step
from model_compression.data.composer_song import Note
from model_compression.data.composer_theory import SCALES, scale_pitches
from model_compression.data.pitch_synchronous import PER_TICK, Marked, marked, moved
from model_compression.data.singing import Singer, Sung
from model_compression.data.vocoder import FRAME_MS

Audio = NDArray[np.float32]
SHARE_OF_BACKING = 0.5  # of backing vocals outside the test split
KINDS = {"choir of one": 0.28, "harmonies": 0.27, "held": 0.2, "answers": 0.09, "shouts": 0.06, "double": 0.1}
STEPS_OF_HARMONY = (2, 4, -3, -2, 7, -7)  # of the scale: third, fifth, fourth and third below, octaves
HARMONY_ODDS = (0.34, 0.2, 0.16, 0.12, 0.1, 0.08)
CHORDS_OF_STEPS = ((2, 4), (2, 4, 7), (4, 7), (-3, 2))
MOST_TAKES = 8
PHRASE_GAP_S = 0.4  # what ends a phrase
SECTION_GAP_S = 3.0  # what ends the section that a part plays in
SHOUT_S = 0.3
PER_S = 1000 / FRAME_MS


@dataclass(frozen=True, kw_only=True)
class Take:
    """How one take differs from the first.

    Attributes
    ----------
    late_s
        By how much it is late; it wanders by a fifth of that.
    drift_cents
        How far the pitch strays, slowly.
    vibrato_cents, vibrato_hz
        Vibrato beside what the first take has.
    size
        Factor on the formants.
    gain_lin
        Level beside the first take.
    place
        0 left to 1 right.
    """

    late_s: float
    drift_cents: float
    vibrato_cents: float
    vibrato_hz: float
    size: float
    gain_lin: float
    place: float


def draw_take(rng: np.random.Generator, *, spread: float) -> Take:
    """Draw a take; ``spread`` 0 is in the middle, 1 as far to the sides as it goes."""
    return Take(
        late_s=float(rng.uniform(0.010, 0.060)),
        drift_cents=float(rng.uniform(5.0, 25.0)),
        vibrato_cents=float(rng.uniform(0.0, 25.0)),
        vibrato_hz=float(rng.uniform(4.6, 6.6)),
        size=float(np.clip(rng.normal(1.0, 0.035), 0.9, 1.1)),
        gain_lin=float(rng.uniform(0.5, 1.0)),
        place=float(np.clip(0.5 + spread * rng.choice([-0.5, 0.5]) * rng.uniform(0.6, 1.0), 0.0, 1.0)),
    )


def key_of(notes: tuple[Note, ...]) -> str:
    """Return the word of ``KEYS`` that has most of the notes, and the first and the last on its triad."""
    classes = np.bincount([round(n.pitch) % 12 for n in notes], minlength=12).astype(float)
    for ends in (notes[0], notes[-1]):
        classes[round(ends.pitch) % 12] += 0.5

    def fits(index: int) -> float:
        tonic, scale = index % 12, SCALES["minor" if index >= 12 else "major"]
        return float(sum(classes[(tonic + s) % 12] for s in scale) + 0.1 * classes[tonic])

    return str(KEYS[max(range(len(KEYS)), key=fits)])


def harmony(notes: tuple[Note, ...], key: str, steps_of_scale: int) -> tuple[Note, ...]:
    """Move a tune by steps of the scale of a key: 2 is a third above, 7 an octave."""
    ladder = _ladder(key)
    return tuple(replace(n, pitch=scale_step(ladder, n.pitch, steps_of_scale)) for n in notes)


def phrases(notes: tuple[Note, ...], *, gap_s: float = PHRASE_GAP_S) -> list[tuple[Note, ...]]:
    """Cut a tune where it rests."""
    rests_s = [n.begin_s - before.begin_s - before.length_s for before, n in pairwise(notes)]
    cuts = [0, *(i + 1 for i, rest_s in enumerate(rests_s) if rest_s > gap_s), len(notes)]
    return [notes[a:b] for a, b in pairwise(cuts)]


def within(tune: tuple[Note, ...], notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """Keep of a tune what sounds while a part plays, or all of it where that is nothing."""
    spans_s = [(p[0].begin_s - 0.2, p[-1].begin_s + p[-1].length_s) for p in phrases(notes, gap_s=SECTION_GAP_S)]
    return tuple(n for n in tune if any(a <= n.begin_s < b for a, b in spans_s)) or tune


def answers(rng: np.random.Generator, tune: tuple[Note, ...], key: str) -> tuple[Note, ...]:
    """Write what answers the lead where its phrases end: one to four short syllables, the same ones for a while."""
    ladder = _ladder(key)
    step_s = float(rng.uniform(0.16, 0.3))
    figure = rng.integers(-2, 3, size=int(rng.integers(1, 5)))
    written: list[Note] = []
    for phrase, following in zip(parts := phrases(tune), [*parts[1:], ()], strict=True):
        begin_s = phrase[-1].begin_s + phrase[-1].length_s + 0.05
        end_s = following[0].begin_s if following else begin_s + 2.0
        base = scale_step(ladder, phrase[-1].pitch, int(rng.choice([0, 2, 4])))
        for i, move in enumerate(figure):
            if begin_s + i * step_s + 0.1 < end_s:
                pitch = scale_step(ladder, base, int(move))
                length_s = min(step_s * float(rng.uniform(0.5, 0.9)), end_s - begin_s - i * step_s)
                written.append(Note(begin_s=begin_s + i * step_s, length_s=length_s, pitch=pitch, velocity=0.8))
    return tuple(written) or tune


def shouts(rng: np.random.Generator, tune: tuple[Note, ...]) -> tuple[Note, ...]:
    """Write what a gang shouts: the accents of a tune and the ends of its phrases, short."""
    ends = {p[-1].begin_s for p in phrases(tune)}
    share = rng.uniform(0.1, 0.5)
    kept = [n for n in tune if n.begin_s in ends or rng.random() < share]
    apart: list[Note] = []
    for note in kept:
        if not apart or note.begin_s - apart[-1].begin_s > SHOUT_S:
            apart.append(replace(note, length_s=max(0.18, min(note.length_s, SHOUT_S))))
    return tuple(apart)


def take_of(rng: np.random.Generator, first: Sung, voice: Marked, take: Take, semitones: NDArray[np.float64]) -> Audio:
    """Sing again what was sung: ``(n_frames,)`` float32; ``semitones`` says per tick by how much higher."""
    n = len(first.f0_hz)
    t = np.arange(n)
    wander = gaussian_filter1d(rng.normal(0, 1, n), 60) * 14.5
    path = np.clip(t - take.late_s * PER_S * (1 + 0.2 * np.clip(wander, -2, 2)), 0, n - 1)
    drift = gaussian_filter1d(rng.normal(0, 1, n), 50) * 13.3 * 0.7 * take.drift_cents
    vibrato = take.vibrato_cents * np.sin(2 * np.pi * (take.vibrato_hz * t / PER_S + rng.random()))
    source = np.round(path).astype(int)
    f0_hz = first.f0_hz[source] * 2 ** ((semitones[source] + (drift + vibrato) / 100) / 12)
    sound = moved(rng, voice, path, f0_hz, size=take.size)
    return np.pad(sound, (0, max(0, len(first.audio) - len(sound))))[: len(first.audio)]


def stacked_takes(
    rng: np.random.Generator,
    first: Sung,
    takes: list[Take],
    semitones: list[NDArray[np.float64]],
    *,
    is_stereo: bool,
    first_lin: float = 1.0,
) -> Audio:
    """Add further takes to the first, or put them in its place: ``(n_frames, 1 or 2)`` float32 of peak 0.5."""
    out = np.float32(first_lin) * np.repeat(first.audio[:, None], 1 + is_stereo, axis=1)
    if not first.audio.any():  # nobody sings
        return out
    voice = marked(_whole_ticks(first), first.f0_hz)
    for take, higher in zip(takes, semitones, strict=True):
        angle = take.place * np.pi / 2
        sides = np.array([np.cos(angle), np.sin(angle)] if is_stereo else [1.0], np.float32)
        out = out + np.float32(take.gain_lin) * take_of(rng, first, voice, take, higher)[:, None] * sides
    return (out * np.float32(0.5 / max(float(np.abs(out).max(initial=0.0)), 1e-6))).astype(np.float32)


def backing(
    rng: np.random.Generator,
    singer: Singer,
    notes: tuple[Note, ...],
    n_frames: int,
    *,
    key: str | None = None,
    lead: Singer | None = None,
    tune: tuple[Note, ...] = (),
    cache_dir: Path | None = None,
) -> tuple[Audio, tuple[Singer, ...]]:
    """Sing a backing part as records have it.

    Parameters
    ----------
    notes
        What is written for the backing.
    key
        A word of ``KEYS``; None finds one that fits.
    lead, tune
        Who sings the lead, and what; without them the part stands for the tune.

    Returns
    -------
    ``(n_frames, 1 or 2)`` float32 of peak 0.5, and whose voices they are, the first one's most.
    """
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    key = key or key_of(notes)
    who = lead if lead is not None and (kind == "double" or rng.random() < 0.5) else singer
    spread = float(rng.choice([0.0, 0.5, 1.0], p=[0.35, 0.25, 0.4]))
    lines = lines_of(notes)
    tune = within(tune, notes) or lines[-1]
    if len(lines) > 1 and kind in ("choir of one", "harmonies", "held"):
        n_ticks = singing.n_ticks_of(n_frames)
        first = singing.sung(rng, who, lines[0], n_frames, vowels_only=bool(rng.random() < 0.7), cache_dir=cache_dir)
        higher = [_above(lines[0], line, n_ticks) for line in lines] * int(rng.integers(1, 3))
        takes = [draw_take(rng, spread=spread) for _ in higher]
        return stacked_takes(rng, first, takes, higher, is_stereo=spread > 0, first_lin=0.0), (who,)
    if kind == "shouts":
        gang = tuple(dict.fromkeys((who, singer, lead or singer)))
        return _shouted(rng, gang, shouts(rng, tune), n_frames, spread, cache_dir), gang
    line, steps = _written(rng, kind, lines[-1], tune, key)
    n_takes = len(steps) * int(rng.integers(1, 3))
    if kind in ("choir of one", "answers"):
        n_takes = int(rng.integers(1, MOST_TAKES))
    if kind == "held":
        who = _softer(rng, who)
    is_vowel = kind == "held" or (kind != "double" and bool(rng.random() < 0.4))
    first = singing.sung(rng, who, line, n_frames, vowels_only=is_vowel, cache_dir=cache_dir)
    takes = [draw_take(rng, spread=spread) for _ in range(n_takes)]
    by_step = {step: semitones_above(line, key, step, len(first.f0_hz)) for step in steps}
    higher = [by_step[steps[i % len(steps)]] for i in range(n_takes)]
    first_lin = float(rng.choice([0.0, 0.6])) if kind == "harmonies" else 1.0
    return stacked_takes(rng, first, takes, higher, is_stereo=spread > 0, first_lin=first_lin), (who,)


def lines_of(notes: tuple[Note, ...]) -> list[tuple[Note, ...]]:
    """Share chords out between voices, the lowest first; a tune is one line."""
    chords: dict[float, list[Note]] = {}
    for note in notes:
        chords.setdefault(round(note.begin_s, 2), []).append(note)
    sorted_chords = [sorted(chord, key=lambda n: n.pitch) for chord in chords.values()]
    n_voices = min(4, max(map(len, sorted_chords)))
    return [tuple(chord[voice % len(chord)] for chord in sorted_chords) for voice in range(n_voices)]


def _written(
    rng: np.random.Generator, kind: str, line: tuple[Note, ...], tune: tuple[Note, ...], key: str
) -> tuple[tuple[Note, ...], list[int]]:
    """Return what the first take sings, and by how many steps of the scale the others are above it."""
    if kind == "harmonies":
        n_voices = int(rng.integers(1, 4))
        return tune, [int(s) for s in rng.choice(STEPS_OF_HARMONY, size=n_voices, p=HARMONY_ODDS, replace=False)]
    if kind == "held":
        return singing.drawn_out(line), list(CHORDS_OF_STEPS[int(rng.integers(len(CHORDS_OF_STEPS)))])
    if kind == "answers":
        return answers(rng, tune, key), [0, int(rng.choice([0, 2, 4]))]
    return (tune if kind == "double" else line), [0]


def _softer(rng: np.random.Generator, singer: Singer) -> Singer:
    """Sing ooh, aah or mm."""
    style = int(rng.integers(3))
    if style == 0:
        return replace(
            singer, breathiness=max(singer.breathiness, float(rng.uniform(0.2, 0.6))), tilt_db=-8.0, slur=0.0
        )
    return replace(singer, slur=0.0, tilt_db=-20.0 if style == 1 else singer.tilt_db)


def semitones_above(notes: tuple[Note, ...], key: str, steps_of_scale: int, n_ticks: int) -> NDArray[np.float64]:
    """Say per tick how far a harmony lies above a tune; from note to note it glides."""
    return _above(notes, harmony(notes, key, steps_of_scale), n_ticks)


def _above(notes: tuple[Note, ...], others: tuple[Note, ...], n_ticks: int) -> NDArray[np.float64]:
    above = np.zeros(n_ticks)
    for note, other in zip(notes, others, strict=True):
        above[max(0, int(note.begin_s * PER_S)) :] = other.pitch - note.pitch
    return gaussian_filter1d(above, 4)


def _shouted(
    rng: np.random.Generator,
    gang: tuple[Singer, ...],
    notes: tuple[Note, ...],
    n_frames: int,
    spread: float,
    cache_dir: Path | None,
) -> Audio:
    out = np.zeros((n_frames, 1 + (spread > 0)), np.float32)
    for singer in gang:
        first = singing.rapped(rng, singer, notes, n_frames, cache_dir=cache_dir)
        takes = [
            replace(draw_take(rng, spread=spread), size=float(rng.uniform(0.86, 1.16)), vibrato_cents=0.0)
            for _ in range(int(rng.integers(2, 1 + MOST_TAKES // len(gang))))
        ]
        higher = [np.full(len(first.f0_hz), float(rng.normal(0.0, 2.5))) for _ in takes]
        out += stacked_takes(rng, first, takes, higher, is_stereo=spread > 0)
    return (out * np.float32(0.5 / max(float(np.abs(out).max(initial=0.0)), 1e-6))).astype(np.float32)


def _whole_ticks(sung: Sung) -> Audio:
    n = len(sung.f0_hz) * PER_TICK
    return np.pad(sung.audio, (0, max(0, n - len(sung.audio))))[:n]


def _ladder(key: str) -> list[int]:
    index = KEYS.index(key)
    return scale_pitches(index % 12, "minor" if index >= 12 else "major", 0, 127)
