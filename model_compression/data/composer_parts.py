"""Accompaniment: bass lines, comping, riffs, arpeggios, pads and stabs over the chords of each bar."""

from __future__ import annotations

import numpy as np

from model_compression.data.composer_song import Clock, Note
from model_compression.data.composer_theory import Chord, nearest, voicing

STRUM_GAP_S = 0.011


def bass_line(
    rng: np.random.Generator, clock: Clock, chords: list[Chord], first_bar: int, pattern: str, low: int, energy: float
) -> list[Note]:
    """Bass over one chord per bar from a pattern of the genre, or walking."""
    notes: list[Note] = []
    steps = clock.steps_per_bar
    for bar, harmony in enumerate(chords):
        following = chords[(bar + 1) % len(chords)]
        root = nearest(harmony.root, low + 7)
        target = nearest(following.root, root)
        start = (first_bar + bar) * steps
        if pattern == "walk":
            line = _walk(rng, harmony, root, target, steps // 4)
            notes += [_note(rng, clock, start + 4 * i, 3.7, p, 0.75) for i, p in enumerate(line)]
            continue
        for step, mark in enumerate(pattern[:steps]):
            if mark in "-.":
                continue
            held = len(pattern[step + 1 : steps]) - len(pattern[step + 1 : steps].lstrip("-"))
            third, fifth, seventh = harmony.intervals[1], harmony.intervals[2], harmony.intervals[-1]
            near = target + (1 if rng.random() < 0.4 else -1)
            pitch = {"R": root, "5": root + fifth, "8": root + 12, "3": root + third, "7": root + seventh, "A": near}[
                mark
            ]
            if mark == "7" and len(harmony.intervals) == 3:
                pitch = root + 12
            notes.append(_note(rng, clock, start + step, (held + 1) * 0.92, pitch, 0.7 + 0.2 * energy))
    return notes


def comping(
    rng: np.random.Generator,
    clock: Clock,
    chords: list[Chord],
    first_bar: int,
    pattern: str,
    centre: float,
    n_voices: int,
    energy: float,
    *,
    is_strummed: bool,
) -> list[Note]:
    """Chords in a rhythm; strummed ones roll over the strings, down and up."""
    notes: list[Note] = []
    before: tuple[int, ...] = ()
    steps = clock.steps_per_bar
    for bar, harmony in enumerate(chords):
        before = voicing(harmony, centre, n_voices, before)
        for step, mark in enumerate(pattern[:steps]):
            if mark in "-.":
                continue
            held = len(pattern[step + 1 : steps]) - len(pattern[step + 1 : steps].lstrip("-"))
            is_up = is_strummed and step % 4 != 0
            sounding = before[-3:] if mark == "u" else before
            level = {"D": 0.72, "u": 0.5, "m": 0.42}[mark] + 0.22 * energy
            gap_s = STRUM_GAP_S * rng.uniform(0.5, 1.8) if is_strummed else 0.0
            for i, pitch in enumerate(reversed(sounding) if is_up else sounding):
                note = _note(
                    rng,
                    clock,
                    (first_bar + bar) * steps + step,
                    0.6 if mark == "m" else (held + 1) * 0.95,
                    pitch,
                    level,
                    late_s=i * gap_s,
                    articulation="muted" if mark == "m" else "normal",
                )
                notes.append(note)
    return notes


def pad(
    rng: np.random.Generator,
    clock: Clock,
    chords: list[Chord],
    first_bar: int,
    centre: float,
    n_voices: int,
    energy: float,
) -> list[Note]:
    """Long chords; a chord that repeats is held on."""
    notes: list[Note] = []
    before: tuple[int, ...] = ()
    bar = 0
    while bar < len(chords):
        n_bars = 1
        while bar + n_bars < len(chords) and chords[bar + n_bars] == chords[bar] and n_bars < 2:
            n_bars += 1
        before = voicing(chords[bar], centre, n_voices, before)
        length = n_bars * clock.steps_per_bar * 0.985
        notes += [
            _note(
                rng,
                clock,
                (first_bar + bar) * clock.steps_per_bar,
                length,
                p,
                0.45 + 0.35 * energy,
                articulation="legato",
            )
            for p in before
        ]
        bar += n_bars
    return notes


def arpeggio(
    rng: np.random.Generator, clock: Clock, chords: list[Chord], first_bar: int, centre: float, energy: float
) -> list[Note]:
    """Broken chords: up, down, up and down, or a shuffled figure that repeats each bar."""
    grid = 1 if energy > 0.6 and rng.random() < 0.5 else 2
    size = int(rng.integers(4, 7))
    shapes = (
        list(range(size)),
        list(range(size))[::-1],
        [*range(size), *range(size - 2, 0, -1)],
        list(rng.permutation(size)),
    )
    shape = shapes[int(rng.integers(len(shapes)))]
    notes: list[Note] = []
    for bar, harmony in enumerate(chords):
        tones = harmony.pitch_classes
        ladder = [nearest(tones[i % len(tones)], centre - 6) + 12 * (i // len(tones)) for i in range(size)]
        ladder.sort()
        for i, step in enumerate(range(0, clock.steps_per_bar, grid)):
            accent = 0.12 if step % 4 == 0 else 0.0
            pitch = ladder[int(shape[i % len(shape)])]
            notes.append(
                _note(
                    rng,
                    clock,
                    (first_bar + bar) * clock.steps_per_bar + step,
                    grid * 1.1,
                    pitch,
                    0.5 + 0.2 * energy + accent,
                )
            )
    return notes


def riff(
    rng: np.random.Generator,
    clock: Clock,
    chords: list[Chord],
    first_bar: int,
    figure: list[tuple[int, int, int]],
    centre: float,
    energy: float,
) -> list[Note]:
    """Repeat a short figure of (step, n_steps, semitones above the root) that follows the chords."""
    notes: list[Note] = []
    for bar, harmony in enumerate(chords):
        root = nearest(harmony.root, centre)
        minor = harmony.intervals[1] == 3
        for step, n_steps, above in figure:
            if step >= clock.steps_per_bar:
                continue
            tone = above - 1 if minor and above % 12 == 4 else above
            notes.append(
                _note(
                    rng,
                    clock,
                    (first_bar + bar) * clock.steps_per_bar + step,
                    n_steps * 0.9,
                    root + tone,
                    0.6 + 0.3 * energy,
                )
            )
    return notes


def riff_figure(rng: np.random.Generator, n_steps: int) -> list[tuple[int, int, int]]:
    """Draw a figure of four to eight notes, mostly of the pentatonic scale."""
    onsets = sorted(
        {0, *(int(s) for s in rng.choice(np.arange(2, n_steps), size=int(rng.integers(3, 8)), replace=False))}
    )
    ends = [*onsets[1:], n_steps]
    tones = rng.choice([0, 0, 4, 7, 7, 10, 12, 12, 5], size=len(onsets))
    return [(o, min(e - o, 4), int(t)) for o, e, t in zip(onsets, ends, tones, strict=True)]


def stabs(
    rng: np.random.Generator,
    clock: Clock,
    chords: list[Chord],
    first_bar: int,
    centre: float,
    n_voices: int,
    energy: float,
) -> list[Note]:
    """Short accented chords of a horn section: a figure of one bar, played in two bars of four."""
    n_hits = int(rng.integers(2, 6))
    hits = sorted(int(s) for s in rng.choice(np.arange(clock.steps_per_bar), size=n_hits, replace=False))
    notes: list[Note] = []
    before: tuple[int, ...] = ()
    for bar, harmony in enumerate(chords):
        before = voicing(harmony, centre, n_voices, before)
        if bar % 4 in (0, 2) and energy < 0.7:
            continue
        for i, hit in enumerate(hits):
            long = i == len(hits) - 1 and rng.random() < 0.6
            articulation = "normal" if long else "staccato"
            notes += [
                _note(
                    rng,
                    clock,
                    (first_bar + bar) * clock.steps_per_bar + hit,
                    5.0 if long else 1.2,
                    p,
                    0.7 + 0.28 * energy,
                    articulation=articulation,
                )
                for p in before
            ]
    return notes


def _walk(rng: np.random.Generator, harmony: Chord, root: int, target: int, n_beats: int) -> list[int]:
    ladder = [root + i + 12 * o for o in (-1, 0, 1) for i in harmony.intervals]
    line = [root]
    for beat in range(1, n_beats - 1):
        aim = root + (target - root) * beat / n_beats + rng.normal(0.0, 3.5)
        line.append(min((p for p in ladder if p != line[-1]), key=lambda p: abs(p - aim)))
    return [*line, target + (1 if rng.random() < 0.5 else -1)]


def _note(
    rng: np.random.Generator,
    clock: Clock,
    step: float,
    n_steps: float,
    pitch: float,
    velocity: float,
    *,
    late_s: float = 0.0,
    articulation: str = "normal",
) -> Note:
    begin_s = clock.time_s(step)
    return Note(
        begin_s=max(0.0, begin_s + late_s),
        length_s=max(0.04, n_steps * clock.step_s),
        pitch=pitch,
        velocity=float(np.clip(velocity * rng.uniform(0.88, 1.08), 0.05, 1.0)),
        articulation=articulation,
    )
