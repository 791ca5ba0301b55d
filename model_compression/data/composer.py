"""A seeded composer: tempo, metre, key, sections, chords and every part of a song, by the rules of its genre."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import GENRES, KEYS
from model_compression.data import composer_parts as play
from model_compression.data.composer_drums import drum_notes, timpani_notes
from model_compression.data.composer_melody import TuneNote, in_harmony, tune
from model_compression.data.composer_song import STEPS_PER_BEAT, Clock, Note, Part, Section, Song
from model_compression.data.composer_theory import Chord, chord

FORM = ("intro", "verse", "chorus", "verse", "chorus", "bridge", "solo", "chorus", "outro")
ENERGY = {"intro": 0.35, "verse": 0.5, "chorus": 0.9, "bridge": 0.55, "solo": 0.8, "outro": 0.4}
LEADERS = ("vocal", "rap", "melody", "riff", "arp", "comp", "pad")  # who carries the tune, if present
TUNE_FUNCTIONS = ("vocal", "melody", "solo", "rap")
STRUMMED_KINDS = (
    "steel_guitar",
    "nylon_guitar",
    "clean_guitar",
    "crunch_guitar",
    "mandolin",
    "banjo",
    "jazz_guitar",
    "harp",
)
CENTRES = {
    "singer": 62,
    "choir": 62,
    "rapper": 48,
    "elec_bass": 33,
    "slap_bass": 33,
    "upright_bass": 33,
    "synth_bass": 33,
    "sub_bass": 28,
}
CENTRES |= {
    "contrabass": 35,
    "cello": 48,
    "cello_section": 48,
    "tuba": 36,
    "viola": 60,
    "violin": 74,
    "violin_section": 72,
    "string_section": 62,
}
CENTRES |= {
    "flute": 79,
    "oboe": 74,
    "clarinet": 67,
    "bassoon": 50,
    "saxophone": 62,
    "whistle": 81,
    "trumpet": 69,
    "trombone": 54,
    "horn": 55,
}
CENTRES |= {
    "brass_section": 62,
    "piano": 62,
    "crunch_guitar": 52,
    "lead_guitar": 67,
    "mandolin": 69,
    "synth_lead": 70,
    "mallet": 72,
    "harmonica": 70,
}


@cache
def genre_rules() -> dict[str, Any]:
    """Tables of ``composer_genres.toml``."""
    return tomllib.loads((Path(__file__).parent / "composer_genres.toml").read_text())


def compose(rng: np.random.Generator, genre: str, *, seconds: float = 40.0) -> Song:
    """Write a song.

    Parameters
    ----------
    rng
        The only source of chance.
    genre
        A word of ``GENRES``; anything else raises ``ValueError``.
    seconds
        Length of the song, 8 or more.
    """
    if genre not in GENRES:
        raise ValueError(f"no genre {genre!r}; there are {', '.join(GENRES)}")
    if seconds < 8:
        raise ValueError(f"a song of {seconds} s is too short for sections; 8 s or more")
    rules = genre_rules()[genre]
    metre = str(rng.choice(list(rules["metres"]), p=list(rules["metres"].values())))
    clock = _clock(rng, rules, metre, seconds)
    sections = _sections(rng, clock, seconds)
    is_minor = bool(rng.random() < rules["minor_share"])
    tonic = int(rng.integers(12))
    writer = _Writer(rng, genre, rules, clock, sections, tonic, is_minor)
    parts = writer.parts(seconds)
    beats_s = _grid(clock, STEPS_PER_BEAT[metre], seconds)
    return Song(
        genre=genre,
        key=KEYS[tonic + 12 * is_minor],
        clock=clock,
        duration_s=seconds,
        sections=sections,
        parts=parts,
        beats_s=beats_s,
        downbeats_s=_grid(clock, clock.steps_per_bar, seconds),
    )


def _clock(rng: np.random.Generator, rules: dict[str, Any], metre: str, seconds: float) -> Clock:
    low, high = rules["tempo_bpm"]
    tempo_bpm = float(np.exp(rng.uniform(np.log(low), np.log(high)))) * (0.62 if metre == "6/8" else 1.0)
    n_beats = int(seconds * tempo_bpm / 60) + 16
    wander = np.cumsum(rng.normal(0.0, rules["tightness_ms"] / 4000, n_beats))
    wander -= np.linspace(0.0, wander[-1], n_beats)
    return Clock(
        tempo_bpm=tempo_bpm,
        metre=metre,
        begin_s=float(rng.uniform(0.05, 0.6)),
        swing=float(rng.uniform(*rules["swing"])),
        is_swung_in_16ths=bool(metre != "6/8" and rules["swing"][1] < 0.6),
        drift_s=wander,
    )


def _grid(clock: Clock, n_steps: int, seconds: float) -> NDArray[np.float64]:
    times = []
    step = 0
    while (at_s := clock.time_s(step)) < seconds:
        times.append(at_s)
        step += n_steps
    return np.asarray(times)


def _sections(rng: np.random.Generator, clock: Clock, seconds: float) -> tuple[Section, ...]:
    n_bars = int(np.ceil((seconds - clock.begin_s) / (clock.steps_per_bar * clock.step_s)))
    unit = 8 if n_bars >= 40 else 4 if n_bars >= 14 else 2
    from_the_start = rng.random() < 0.5
    at = 0 if from_the_start else int(rng.integers(1, len(FORM) - 2))
    sections: list[Section] = []
    bar = 0
    while bar < n_bars:
        word = FORM[at] if at < len(FORM) - 1 else FORM[1 + (at - 1) % (len(FORM) - 2)]
        if word in ("bridge", "solo") and rng.random() < 0.35:
            at += 1
            continue
        length = unit if word not in ("intro", "outro") else max(2, unit // 2)
        if n_bars - bar - length < 2:
            length = n_bars - bar
        if n_bars - bar <= length and sections and rng.random() < 0.5:
            word = "outro"
        energy = float(np.clip(ENERGY[word] + rng.normal(0.0, 0.1), 0.15, 1.0))
        sections.append(Section(word=word, begin_bar=bar, n_bars=length, energy=energy))
        bar += length
        at += 1
    return tuple(sections)


class _Writer:
    """Writes the parts of one song over its sections and chords."""

    def __init__(
        self,
        rng: np.random.Generator,
        genre: str,
        rules: dict[str, Any],
        clock: Clock,
        sections: tuple[Section, ...],
        tonic: int,
        is_minor: bool,
    ) -> None:
        self._rng, self._genre, self._rules, self._clock = rng, genre, rules, clock
        self._sections, self._tonic, self._is_minor = sections, tonic, is_minor
        self._scale = "minor" if is_minor else "major"
        self._chords = self._progressions()
        self._tunes: dict[tuple[str, str], list[TuneNote]] = {}

    def parts(self, seconds: float) -> tuple[Part, ...]:
        """All parts; a part that would be silent is left out."""
        parts = []
        lineup = [
            (f, str(self._rng.choice(k))) for f, k, chance in self._rules["lineup"] if self._rng.random() < chance
        ]
        leader = next((f for f in LEADERS if any(f == g for g, _ in lineup)), "")
        for function, kind in lineup:
            part = self._part(function, kind, is_first_lead=function == leader)
            leader = "" if function == leader else leader
            notes = tuple(n for n in sorted(part.notes, key=lambda n: n.begin_s) if n.begin_s < seconds - 0.1)
            if notes:
                spans = tuple((a, min(b, seconds)) for a, b in part.lead_spans_s if a < seconds)
                parts.append(Part(function=function, kind=kind, notes=notes, lead_spans_s=spans))
        return tuple(parts)

    def _progressions(self) -> dict[str, list[str]]:
        table = self._rules["minor" if self._is_minor else "major"]
        words = {s.word for s in self._sections}
        picks = {w: table[int(self._rng.integers(len(table)))].split() for w in sorted(words)}
        if "solo" in picks:
            picks["solo"] = picks.get("verse", picks["solo"])
        return picks

    def _harmony(self, section: Section) -> list[Chord]:
        numerals = self._chords[section.word]
        return [chord(numerals[b % len(numerals)], self._tonic) for b in range(section.n_bars)]

    def _grooves(self) -> list[dict[str, str]]:
        metre = self._clock.metre
        if not self._rules["drums"] or metre == "4/4":
            return list(self._rules["drums"])
        return list(genre_rules()["waltz" if metre == "3/4" else "compound"]["drums"])

    def _pattern(self, what: str) -> str:
        metre = self._clock.metre
        rules = self._rules if metre == "4/4" else genre_rules()["waltz" if metre == "3/4" else "compound"]
        if what == "bass" and self._rules["bass"][0] == "walk" and self._rng.random() < 0.8:
            return "walk"
        table = rules[what]
        return str(table[int(self._rng.integers(len(table)))])

    def _part(self, function: str, kind: str, *, is_first_lead: bool) -> Part:
        rng, clock, sections = self._rng, self._clock, self._sections
        if function == "percussion" and kind == "orchestral_percussion":
            return Part(function=function, kind=kind, notes=timpani_notes(rng, clock, sections, self._tonic))
        if function in ("drums", "percussion"):
            grooves = self._grooves() or [{}]
            hits = drum_notes(
                rng,
                clock,
                sections,
                grooves,
                tightness_ms=self._rules["tightness_ms"],
                is_percussion=function == "percussion",
            )
            return Part(function=function, kind=kind, notes=hits)
        if function == "effects":
            begins = [clock.time_s(s.begin_bar * clock.steps_per_bar) for s in sections[1:]]
            marks = tuple(Note(begin_s=max(0.0, b - 2.0), length_s=2.0, pitch=60, velocity=0.7) for b in begins)
            return Part(function=function, kind=kind, notes=marks)
        write = self._accompaniment(function, kind)
        notes: list[Note] = []
        spans = []
        for section in sections:
            if not self._plays(function, section):
                continue
            if function in (*TUNE_FUNCTIONS, "harmony", "counter", "rap_double"):
                written = self._tune_notes(function, kind, section)
            else:
                written = write(section)
            notes += written
            leads = (function == "solo") if section.word == "solo" else is_first_lead
            if leads and written:
                spans.append((written[0].begin_s, max(n.begin_s + n.length_s for n in written)))
        return Part(function=function, kind=kind, notes=tuple(notes), lead_spans_s=tuple(spans))

    def _plays(self, function: str, section: Section) -> bool:
        chance = {
            "vocal": {"intro": 0.05, "solo": 0.0, "outro": 0.4},
            "rap": {"intro": 0.1, "solo": 0.2, "outro": 0.3, "chorus": 0.6},
            "rap_double": {"intro": 0.0, "verse": 0.4, "solo": 0.0},
            "melody": {"solo": 0.3},
            "harmony": {"intro": 0.0, "verse": 0.25, "solo": 0.1, "outro": 0.3},
            "solo": {"solo": 1.0, "intro": 0.3, "verse": 0.0, "chorus": 0.0, "bridge": 0.25, "outro": 0.3},
            "stabs": {"intro": 0.5, "verse": 0.45, "outro": 0.6},
            "pad": {"verse": 0.65, "intro": 0.7},
            "riff": {"verse": 0.55, "intro": 0.85},
            "arp": {"chorus": 0.75},
            "bass": {"intro": 0.7},
            "comp": {"intro": 0.85},
        }.get(function, {})
        return bool(self._rng.random() < chance.get(section.word, 0.95))

    def _accompaniment(self, function: str, kind: str) -> Callable[[Section], list[Note]]:
        rng, clock = self._rng, self._clock
        centre = float(CENTRES.get(kind, 60) + rng.integers(-3, 4))
        n_voices = (
            1
            if kind in ("viola", "cello", "horn", "trombone", "trumpet", "saxophone", "tuba", "contrabass")
            else int(rng.integers(3, 5))
        )
        patterns = [self._pattern("comp") for _ in range(2)]
        basses = [self._pattern("bass") for _ in range(2)]
        figure = play.riff_figure(rng, clock.steps_per_bar)

        def write(section: Section) -> list[Note]:
            chords, first, energy = self._harmony(section), section.begin_bar, section.energy
            loud = int(energy > 0.65)
            if function == "bass":
                return play.bass_line(rng, clock, chords, first, basses[loud], round(centre - 7), energy)
            if function == "pad":
                return play.pad(rng, clock, chords, first, centre, n_voices, energy)
            if function == "arp":
                return play.arpeggio(rng, clock, chords, first, centre + 7, energy)
            if function == "riff":
                return play.riff(rng, clock, chords, first, figure, centre, energy)
            if function == "stabs":
                return play.stabs(rng, clock, chords, first, centre, n_voices, energy)
            strummed = kind in STRUMMED_KINDS
            voices = n_voices + 2 * strummed * (kind != "crunch_guitar")
            return play.comping(rng, clock, chords, first, patterns[loud], centre, voices, energy, is_strummed=strummed)

        return write

    def _tune_notes(self, function: str, kind: str, section: Section) -> list[Note]:
        rng, clock = self._rng, self._clock
        centre = CENTRES.get(kind, 67)
        source = "vocal" if function == "harmony" else "rap" if function == "rap_double" else function
        tunes_key = (source, section.word)
        if tunes_key not in self._tunes or (source == "solo"):
            density = {"solo": 0.85, "rap": 0.95, "counter": 0.2, "melody": 0.5}.get(
                source, 0.3 + 0.25 * section.energy
            )
            scale = (
                f"{self._scale} pentatonic"
                if source == "solo" and self._genre in ("rock", "funk", "folk")
                else self._scale
            )
            reach = 14 if source == "solo" else 8
            lift = 2 if section.word == "chorus" else 0
            low = (62 if source == "vocal" else centre) - reach + lift
            self._tunes[tunes_key] = tune(
                rng,
                self._harmony(section),
                clock.steps_per_bar,
                self._tonic,
                scale,
                low=low,
                high=low + 2 * reach,
                density=density,
            )
        notes = [n for n in self._tunes[tunes_key] if n.step < section.n_bars * clock.steps_per_bar]
        if function == "harmony":
            notes = in_harmony(notes, self._tonic, self._scale, int(rng.choice([2, -2, -3, 4, 2])))
        first = section.begin_bar * clock.steps_per_bar
        spread_s = self._rules["tightness_ms"] / 1000
        return [
            Note(
                begin_s=max(0.0, clock.time_s(first + n.step) + rng.normal(0.0, spread_s)),
                length_s=max(0.05, n.n_steps * clock.step_s * (0.97 if not n.is_phrase_end else 0.9)),
                pitch=n.pitch,
                velocity=float(
                    np.clip(0.5 + 0.35 * section.energy + 0.08 * (n.step % 4 == 0) + rng.normal(0, 0.05), 0.1, 1.0)
                ),
                articulation="legato" if n.n_steps >= 4 else "normal",
            )
            for n in notes
        ]
