"""Ways to sing: how high, bright and breathy, how notes begin and are held, and how near to talk they are.

``MANNERS`` are plain. Those of ``TRAINED_MANNERS`` go further, and the voices of the test split know none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from model_compression.data.composer_song import Note

SHARE_TRAINED = 0.5  # of singers outside the test split have such a manner
SHARE_AS_RECORDED = 0.65  # of people outside the test split sing with their recordings as they are, as they talk
LONG_NOTE_S = 0.55  # what may get an ornament
TURN_S = 0.11  # shortest note of an ornament
NEAR_SEMITONES = 4


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a singer does with a note.

    Attributes
    ----------
    scoop_share, scoop_semitones, scoop_s
        How many notes are begun from below, from how far, and how long it takes.
    vibrato_after_s
        When vibrato sets in.
    growl
        Depth, 0 to 1, by which every second period is weaker.
    spoken
        0 keeps the pitch of the notes, 1 falls and wanders as talk does.
    melisma
        Share of long notes that are turned into several on one vowel.
    is_legato
        Whether a note is held until the next begins.
    is_vowel
        Whether everything is on one vowel.
    is_as_recorded
        Whether a person's recording itself is moved to the notes, rather than a vocoder's picture of it.
    """

    scoop_share: float = 0.3
    scoop_semitones: tuple[float, float] = (0.3, 1.5)
    scoop_s: float = 0.12
    vibrato_after_s: float = 0.2
    growl: float = 0.0
    spoken: float = 0.0
    melisma: float = 0.0
    is_legato: bool = False
    is_vowel: bool = False
    is_as_recorded: bool = False


@dataclass(frozen=True, kw_only=True)
class Manner:
    """A way to sing.

    Attributes
    ----------
    lift
        Semitones above where the voice is at ease.
    tilt_db
        Between the lowest and the highest band: loud voices are bright, hummed ones dark.
    breathiness
        Lowest and highest share of the tone that is breath instead.
    vibrato
        Factor on its depth.
    is_tuned
        Pitch corrected by a machine: steps from note to note, nothing in between.
    glide_s
        Shortest and longest time from one pitch to the next.
    slur
        Share of notes without a syllable of their own; None draws it.
    is_for_leads
        Whether nobody sings so in the background.
    """

    odds: float
    lift: float
    tilt_db: float
    breathiness: tuple[float, float]
    vibrato: float
    is_tuned: bool = False
    glide_s: tuple[float, float] = (0.02, 0.09)
    slur: float | None = None
    is_for_leads: bool = False
    delivery: Delivery = field(default_factory=Delivery)


MANNERS = (
    Manner(odds=0.42, lift=0.0, tilt_db=0.0, breathiness=(0.0, 0.25), vibrato=1.0),
    Manner(odds=0.16, lift=4.0, tilt_db=9.0, breathiness=(0.0, 0.05), vibrato=1.2),  # belted, shouted
    Manner(odds=0.12, lift=-1.0, tilt_db=-4.0, breathiness=(0.3, 0.6), vibrato=0.4),  # whispered into the microphone
    Manner(odds=0.09, lift=11.0, tilt_db=-6.0, breathiness=(0.15, 0.5), vibrato=1.0),  # falsetto
    Manner(odds=0.05, lift=-2.0, tilt_db=-18.0, breathiness=(0.0, 0.2), vibrato=0.6),  # hummed
    Manner(odds=0.16, lift=1.0, tilt_db=4.0, breathiness=(0.0, 0.3), vibrato=0.0, is_tuned=True),
)

TRAINED_MANNERS = {
    "half spoken": Manner(
        odds=0.08, lift=-2.0, tilt_db=1.0, breathiness=(0.0, 0.25), vibrato=0.0, is_for_leads=True,
        delivery=Delivery(spoken=0.5, scoop_share=0.6, scoop_semitones=(1.0, 4.0)),
    ),
    "breathy": Manner(
        odds=0.13, lift=-1.0, tilt_db=-5.0, breathiness=(0.4, 0.8), vibrato=0.3,
        delivery=Delivery(scoop_share=0.5, is_legato=True),
    ),
    "belted": Manner(
        odds=0.15, lift=6.0, tilt_db=14.0, breathiness=(0.0, 0.04), vibrato=1.3,
        delivery=Delivery(vibrato_after_s=0.4, scoop_share=0.4),
    ),
    "falsetto": Manner(
        odds=0.12, lift=12.0, tilt_db=-22.0, breathiness=(0.1, 0.45), vibrato=0.8, delivery=Delivery(is_legato=True),
    ),
    "growled": Manner(
        odds=0.09, lift=3.0, tilt_db=10.0, breathiness=(0.1, 0.5), vibrato=0.4,
        delivery=Delivery(growl=0.55, scoop_share=0.5, scoop_semitones=(0.5, 3.0)),
    ),
    "gliding": Manner(
        odds=0.13, lift=0.0, tilt_db=2.0, breathiness=(0.0, 0.3), vibrato=0.8, glide_s=(0.08, 0.2),
        delivery=Delivery(scoop_share=0.85, scoop_semitones=(1.0, 4.0), scoop_s=0.2, is_legato=True),
    ),
    "late vibrato": Manner(
        odds=0.11, lift=1.0, tilt_db=3.0, breathiness=(0.0, 0.2), vibrato=1.8,
        delivery=Delivery(vibrato_after_s=0.6, is_legato=True),
    ),
    "hard tuned": Manner(
        odds=0.12, lift=1.0, tilt_db=5.0, breathiness=(0.0, 0.15), vibrato=0.0, is_tuned=True,
        delivery=Delivery(is_legato=True),
    ),
    "melismatic": Manner(
        odds=0.07, lift=2.0, tilt_db=3.0, breathiness=(0.0, 0.2), vibrato=1.2, slur=0.8,
        delivery=Delivery(melisma=0.8, is_legato=True, vibrato_after_s=0.35),
    ),
}  # fmt: skip


def draw_manner(rng: np.random.Generator, split: str, *, is_backing: bool = False) -> Manner:
    """Draw a way to sing of a split."""
    if split == "test" or rng.random() >= SHARE_TRAINED:
        return MANNERS[int(rng.choice(len(MANNERS), p=[m.odds for m in MANNERS]))]
    fits = [m for m in TRAINED_MANNERS.values() if not (is_backing and m.is_for_leads)]
    odds = np.array([m.odds for m in fits])
    manner = fits[int(rng.choice(len(fits), p=odds / odds.sum()))]
    drawn = manner.delivery
    return replace(
        manner,
        delivery=replace(
            drawn,
            vibrato_after_s=drawn.vibrato_after_s * float(rng.uniform(0.7, 1.4)),
            growl=drawn.growl * float(rng.uniform(0.5, 1.4)),
            spoken=drawn.spoken * float(rng.uniform(0.6, 1.6)),
            scoop_s=drawn.scoop_s * float(rng.uniform(0.7, 1.4)),
            is_vowel=bool(rng.random() < (0.4 if drawn.melisma else 0.05)),
        ),
    )


def delivered(rng: np.random.Generator, notes: tuple[Note, ...], delivery: Delivery) -> tuple[Note, ...]:
    """Write down what a singer makes of a tune: notes held until the next, ornaments from the tune's own pitches."""
    held = notes
    if delivery.is_legato:
        ends_s = [n.begin_s for n in notes[1:]]
        held = tuple(
            replace(n, length_s=e - n.begin_s) if 0 < e - n.begin_s - n.length_s < LONG_NOTE_S else n
            for n, e in zip(notes, ends_s, strict=False)
        ) + notes[-1:]  # fmt: skip
    if not delivery.melisma:
        return held
    pitches = sorted({n.pitch for n in notes})
    sung: list[Note] = []
    for note in held:
        near = [p for p in pitches if 0 < abs(p - note.pitch) <= NEAR_SEMITONES]
        if note.length_s < LONG_NOTE_S or not near or rng.random() >= delivery.melisma:
            sung.append(note)
            continue
        n_turns = int(rng.integers(2, max(3, min(7, int(0.6 * note.length_s / TURN_S)))))
        turn_s = float(rng.uniform(TURN_S, max(1.01 * TURN_S, 0.6 * note.length_s / n_turns)))
        steps = [note.pitch if i % 2 == 0 else float(rng.choice(near)) for i in range(n_turns)]
        edges_s = [note.begin_s + i * turn_s for i in range(n_turns + 1)]
        sung += [
            replace(note, begin_s=a, length_s=b - a, pitch=p)
            for (a, b), p in zip(pairwise(edges_s), steps, strict=True)
        ]
        sung.append(replace(note, begin_s=edges_s[-1], length_s=note.begin_s + note.length_s - edges_s[-1]))
    return tuple(sung)
