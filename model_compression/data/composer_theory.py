"""Notes, scales and chords: the words of harmony that the composer reads."""

from __future__ import annotations

from dataclasses import dataclass

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
}
QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7b5": (0, 3, 6, 10),
    "o": (0, 3, 6),
    "sus4": (0, 5, 7),
}
DEGREES = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}


@dataclass(frozen=True, kw_only=True)
class Chord:
    """A chord as pitch classes: its root and the semitones above it."""

    root: int
    intervals: tuple[int, ...]

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Root first."""
        return tuple((self.root + i) % 12 for i in self.intervals)


def chord(numeral: str, tonic: int) -> Chord:
    """Read a Roman numeral such as ``bVII7`` or ``iim7b5`` in the key whose tonic is a pitch class.

    Degrees count in the major scale of the tonic, so a minor key writes ``bVI``. Lower case is minor.
    """
    flat = numeral.startswith("b")
    body = numeral[1:] if flat else numeral
    stem = max((d for d in DEGREES if body.lower().startswith(d)), key=len)
    letters, suffix = body[: len(stem)], body[len(stem) :]
    quality = suffix if suffix or letters.isupper() else "m"
    return Chord(root=(tonic + DEGREES[stem] - flat) % 12, intervals=QUALITIES[quality])


def nearest(pitch_class: int, around: float) -> int:
    """MIDI pitch of a pitch class closest to another pitch."""
    return round((around - pitch_class) / 12) * 12 + pitch_class


def scale_pitches(tonic: int, scale: str, low: int, high: int) -> list[int]:
    """All MIDI pitches of a scale from ``low`` to ``high``."""
    members = {(tonic + s) % 12 for s in SCALES[scale]}
    return [p for p in range(low, high + 1) if p % 12 in members]


def voicing(harmony: Chord, centre: float, n_voices: int, before: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Pitches of a chord near ``centre``, each voice close to where it was (no leaps when chords change)."""
    spread = tuple(centre + 4 * (v - n_voices / 2) for v in range(n_voices))
    around: tuple[float, ...] = before or spread
    left = list(harmony.pitch_classes)
    pitches: list[int] = []
    for place in sorted(around):
        options = left or list(harmony.pitch_classes)
        best = min(options, key=lambda pc: abs(nearest(pc, place) - place))
        pitch = nearest(best, place)
        while pitch in pitches:
            pitch += 12
        pitches.append(pitch)
        if best in left:
            left.remove(best)
    drift = round((sum(pitches) / len(pitches) - centre) / 12) * 12
    return tuple(sorted(p - drift for p in pitches))
