"""Drum parts: the groove of the genre, thinned or driven by the section, with fills before changes."""

from __future__ import annotations

import numpy as np

from model_compression.data.composer_song import Clock, Note, Section

KEYS_OF = {"K": 36, "S": 38, "C": 37, "H": 42, "O": 46, "P": 44, "R": 51, "G": 70, "T": 54, "Q": 63}
CRASH, CLAP, LOW_CONGA = 49, 39, 64
TOMS = (50, 47, 43)
PERCUSSION = "GTQ"
VELOCITY = {"X": 0.95, "x": 0.72, "o": 0.38}
FILLS = (
    "S.S.SSSS",
    "S.Shhmml",
    "h.h.m.l.",
    "hhmmllSS",
    "..S.S.Sl",
    "hml.hml.",
    "S...S.SS",
)
FILL_KEYS = {"S": 38, "h": TOMS[0], "m": TOMS[1], "l": TOMS[2]}


def drum_notes(
    rng: np.random.Generator,
    clock: Clock,
    sections: tuple[Section, ...],
    grooves: list[dict[str, str]],
    *,
    tightness_ms: float,
    is_percussion: bool,
) -> tuple[Note, ...]:
    """Hits of the kit, or of the percussionist, over the whole song."""
    voices = [v for v in KEYS_OF if (v in PERCUSSION) == is_percussion]
    verse, chorus = (dict(grooves[int(i)]) for i in rng.integers(len(grooves), size=2))
    if is_percussion and not any(v in verse for v in voices):
        verse = chorus = _percussion_groove(rng, clock.steps_per_bar)
    clap = CLAP if rng.random() < 0.5 else KEYS_OF["C"]
    hits: list[tuple[float, int, float]] = []
    for section in sections:
        groove = chorus if section.word in ("chorus", "solo") else verse
        if section.energy > 0.75 and "H" in groove and rng.random() < 0.5:
            groove = {**{k: v for k, v in groove.items() if k != "H"}, "R" if rng.random() < 0.6 else "O": groove["H"]}
        silent = {v for v in voices if section.energy < 0.4 and rng.random() < 0.6}
        for bar in range(section.n_bars):
            first = (section.begin_bar + bar) * clock.steps_per_bar
            is_last = bar == section.n_bars - 1
            fill = FILLS[int(rng.integers(len(FILLS)))] if is_last and not is_percussion and rng.random() < 0.75 else ""
            fill_from = clock.steps_per_bar - len(fill)
            for voice in voices:
                if voice in silent or voice not in groove:
                    continue
                key = clap if voice == "C" else KEYS_OF[voice]
                for step, mark in enumerate(groove[voice]):
                    if mark == "." or (fill and step >= fill_from and voice in "SCHORP"):
                        continue
                    if mark == "o" and rng.random() < 0.3:
                        continue
                    low = voice == "Q" and step % 3 == 0
                    hits.append(
                        (first + step, LOW_CONGA if low else key, VELOCITY[mark] * (0.7 + 0.3 * section.energy))
                    )
            hits += [
                (first + fill_from + i, FILL_KEYS[m], 0.6 + 0.05 * i) for i, m in enumerate(fill) if m in FILL_KEYS
            ]
            if bar == 0 and not is_percussion and section.energy > 0.45 and rng.random() < 0.85:
                hits.append((first, CRASH, 0.95))
    return _played(rng, clock, hits, tightness_ms)


def timpani_notes(
    rng: np.random.Generator, clock: Clock, sections: tuple[Section, ...], tonic: int
) -> tuple[Note, ...]:
    """Kettledrum strokes and rolls on tonic and dominant, and a cymbal at a loud beginning."""
    root = 36 + (tonic - 36 % 12) % 12
    notes: list[Note] = []
    for section in sections:
        for bar in range(section.n_bars):
            if rng.random() > 0.3 + 0.5 * section.energy:
                continue
            first = (section.begin_bar + bar) * clock.steps_per_bar
            pitch = root if rng.random() < 0.6 else root - 5
            roll = bar == section.n_bars - 1 and rng.random() < 0.6
            steps = (
                np.arange(0, clock.steps_per_bar, 0.5) if roll else np.array([0.0, 4.0])[: 1 + int(rng.random() < 0.4)]
            )
            for i, step in enumerate(steps):
                level = 0.35 + 0.5 * section.energy * (i + 1) / len(steps)
                notes.append(_note(clock.time_s(first + float(step)), 0.4, pitch, level))
    return tuple(notes)


def _percussion_groove(rng: np.random.Generator, n_steps: int) -> dict[str, str]:
    shaker = "".join("x" if s % 4 == 0 else "o" if rng.random() < 0.9 else "." for s in range(n_steps))
    tambourine = "".join("X" if s % 8 == 4 else "." for s in range(n_steps))
    conga = "".join("x" if rng.random() < (0.7 if s % 4 == 0 else 0.35) else "." for s in range(n_steps))
    choices = (
        {"G": shaker},
        {"T": tambourine},
        {"Q": conga},
        {"G": shaker, "T": tambourine},
        {"Q": conga, "G": shaker},
    )
    return dict(choices[int(rng.integers(len(choices)))])


def _played(
    rng: np.random.Generator, clock: Clock, hits: list[tuple[float, int, float]], tightness_ms: float
) -> tuple[Note, ...]:
    notes = []
    for step, key, velocity in sorted(hits):
        late_s = rng.normal(0.0, tightness_ms / 1000)
        notes.append(_note(clock.time_s(step) + late_s, 0.1, key, velocity * rng.uniform(0.88, 1.06)))
    return tuple(sorted(notes, key=lambda n: n.begin_s))


def _note(begin_s: float, length_s: float, pitch: int, velocity: float) -> Note:
    return Note(begin_s=max(0.0, begin_s), length_s=length_s, pitch=pitch, velocity=float(np.clip(velocity, 0.05, 1.0)))
