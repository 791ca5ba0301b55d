"""Tunes: motifs with a rhythm and a contour, repeated, answered and varied over the chords, with breaths between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model_compression.data.composer_theory import Chord, scale_pitches

# Two-bar rhythms of sixteenths in 4/4 (x begins a note, - holds it, . is silent), from calm to busy.
RHYTHMS_16 = (
    "x-------x-------x-----------....",
    "x---x---x-------x---x---x---....",
    "....x---x---x---x-------x---....",
    "x-x-x---x-x-x---x-------....x-x-",
    "..x-x-x-x---x-x-x-------x-x-....",
    "x--x--x-x--x--x-x---x---x---....",
    "x-x-x-x-x---x-x-x-x-x---x---....",
    "xxx-x-xxx-x-x---xxx-x-x-x---....",
)
RHYTHMS_12 = (
    "x-------x---x-------....",
    "x---x---x---x-----------",
    "x-----x---x-x-------....",
    "x---x-x---x-x-----......",
    "x-x-x-x---x-x---x---....",
    "x-x-x-x-x-x-x-x-x---....",
)


@dataclass(frozen=True, kw_only=True)
class TuneNote:
    """A note of a tune on the grid of steps."""

    step: int
    n_steps: int
    pitch: int
    is_phrase_end: bool = False


def rhythm(rng: np.random.Generator, steps_per_bar: int, density: float) -> str:
    """Draw a two-bar rhythm; ``density`` 0 calm to 1 busy."""
    table = RHYTHMS_16 if steps_per_bar == 16 else RHYTHMS_12
    place = np.clip(density + rng.normal(0.0, 0.2), 0.0, 0.999)
    return table[int(place * len(table))]


def tune(
    rng: np.random.Generator,
    chords: list[Chord],
    steps_per_bar: int,
    tonic: int,
    scale: str,
    *,
    low: int,
    high: int,
    density: float,
) -> list[TuneNote]:
    """Write a tune over one chord per bar, in phrases of two bars: statement, answer, statement, cadence."""
    pitches = scale_pitches(tonic, scale, low, high)
    motifs = [rhythm(rng, steps_per_bar, density) for _ in range(2)]
    contour = rng.integers(-2, 3, size=64)
    place = len(pitches) // 2 + int(rng.integers(-2, 3))
    notes: list[TuneNote] = []
    for phrase in range(0, len(chords), 2):
        kind = (phrase // 2) % 4
        if kind != 3 and density < 0.7 and phrase > 2 and rng.random() < 0.12:
            continue
        pattern = motifs[1] if kind in (1, 3) else motifs[0]
        n_steps = steps_per_bar * min(2, len(chords) - phrase)
        onsets = [i for i, mark in enumerate(pattern[:n_steps]) if mark == "x"]
        if kind == 0:
            place = int(np.clip(place, len(pitches) // 4, 3 * len(pitches) // 4))
        for k, onset in enumerate(onsets):
            held = len(pattern[onset + 1 : n_steps]) - len(pattern[onset + 1 : n_steps].lstrip("-"))
            move = (
                int(contour[(k + 7 * (kind == 1)) % 64])
                if kind != 2 or rng.random() < 0.8
                else int(rng.integers(-2, 3))
            )
            place += move
            if not 0 <= place < len(pitches):
                place = int(np.clip(place - 2 * move, 0, len(pitches) - 1))
            is_last = k == len(onsets) - 1
            if onset % 4 == 0 or is_last:
                place = _on_chord(pitches, place, chords[phrase + onset // steps_per_bar])
            notes.append(
                TuneNote(
                    step=phrase * steps_per_bar + onset, n_steps=held + 1, pitch=pitches[place], is_phrase_end=is_last
                )
            )
    return notes


def in_harmony(notes: list[TuneNote], tonic: int, scale: str, steps_of_scale: int) -> list[TuneNote]:
    """Move a tune a number of scale steps (2 up is a third above, -3 a fourth below)."""
    ladder = scale_pitches(tonic, scale, 0, 127)
    return [
        TuneNote(
            step=n.step,
            n_steps=n.n_steps,
            pitch=scale_step(ladder, n.pitch, steps_of_scale),
            is_phrase_end=n.is_phrase_end,
        )
        for n in notes
    ]


def scale_step(ladder: list[int], pitch: float, steps_of_scale: int) -> int:
    """Move a pitch along the pitches of a scale, from the one that is nearest to it."""
    at = min(range(len(ladder)), key=lambda i: abs(ladder[i] - pitch))
    return ladder[int(np.clip(at + steps_of_scale, 0, len(ladder) - 1))]


def _on_chord(pitches: list[int], place: int, harmony: Chord) -> int:
    fits = [i for i, p in enumerate(pitches) if p % 12 in harmony.pitch_classes]
    return min(fits, key=lambda i: (abs(i - place), i)) if fits else place
