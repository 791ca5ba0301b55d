"""A little piece of ours for nine channels: composed here, played by fluidsynth (FluidR3), sung by festival."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

RATE_HZ = 48000
TEMPO_BPM = 96
BEAT_S = 60 / TEMPO_BPM
BAR_S = 4 * BEAT_S
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
TICKS = 480
FESTIVAL_MINUTE_S = 50.0  # festival 2.5 divides beats per minute by this, see its singing-mode.scm
HEAD = '<?xml version="1.0"?>\n<!DOCTYPE SINGING PUBLIC "-//SINGING//DTD SINGING mark up//EN" "Singing.v0_1.dtd" []>\n'

# Two bars of introduction, a verse of four, a chorus of four, one chord to end.
CHORDS = ["D", "G", "D", "Bm", "G", "A", "D", "Bm", "G", "A", "D"]
CHORUS_BAR, LAST_BAR = 6, 10
NOTES = {"D": (50, 57, 62, 66), "Bm": (47, 54, 62, 66), "G": (43, 55, 59, 67), "A": (45, 57, 61, 64)}
DRUM_KICK, DRUM_SNARE, DRUM_HAT, DRUM_CRASH = 36, 38, 42, 49

Note = tuple[float, float, int, int]  # beat, beats, key, velocity
Phrase = tuple[float, list[tuple[str, str, float | str]]]  # bar, counted from 0, then word, its notes, its beats

LEAD: list[Phrase] = [
    (2, [("bring", "A3", 1), ("the", "A3", 0.5), ("low", "B3", 0.5), ("lights", "A3", 1), ("down", "F#3", 2)]),
    (3.25, [("and", "D3", 0.5), ("let", "E3", 0.5), ("us", "F#3", 0.5), ("hear", "F#3", 1.5)]),
    (4, [("no", "B3", 1), ("hand", "B3", 0.5), ("is", "A3", 0.5), ("on", "G3", 1), ("the", "A3", 1)]),
    (5, [("board", "A3", 2), ("to", "G3", 0.5), ("night", "E3", 1.5)]),
    (6, [("hold", "D4", 1), ("us", "C#4", 0.5), ("in", "B3", 0.5), ("an", "A3", 1)]),
    (6.875, [("even", "B3,B3", "0.5,1"), ("hand", "F#3", 2)]),
    (8, [("till", "B3", 1), ("the", "B3", 0.5), ("whole", "D4", 1), ("band", "B3", 1)]),
    (9, [("sounds", "C#4", 1), ("like", "B3", 1), ("home", "A3", 2)]),
]
BACKING: list[Phrase] = [
    (6, [("hold", "A3", 1), ("us", "A3", 0.5), ("in", "G3", 0.5), ("an", "F#3", 1)]),
    (6.875, [("even", "G3,G3", "0.5,1"), ("hand", "D3", 2)]),
    (8, [("till", "G3", 1), ("the", "G3", 0.5), ("whole", "B3", 1), ("band", "G3", 1)]),
    (9, [("sounds", "A3", 1), ("like", "G3", 1), ("home", "E3", 2)]),
]


def _variable_length(value: int) -> bytes:
    data = [value & 0x7F]
    while value := value >> 7:
        data.append(value & 0x7F | 0x80)
    return bytes(reversed(data))


def midi_file(notes: list[Note], program: int, channel: int, tempo_bpm: float = TEMPO_BPM) -> bytes:
    """Return a standard MIDI file of one track."""
    events = [(0, bytes([0xFF, 0x51, 3]) + round(60e6 / tempo_bpm).to_bytes(3, "big"))]
    events.append((0, bytes([0xC0 | channel, program])))
    for beat, beats, key, velocity in notes:
        events.append((round(beat * TICKS), bytes([0x90 | channel, key, velocity])))
        events.append((round((beat + beats) * TICKS), bytes([0x80 | channel, key, 0])))
    track, before = b"", 0
    for tick, event in sorted(events, key=lambda e: (e[0], e[1][0] & 0xF0 == 0x90)):
        track += _variable_length(tick - before) + event
        before = tick
    track += _variable_length(TICKS * 2) + bytes([0xFF, 0x2F, 0])
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS) + b"MTrk" + struct.pack(">I", len(track)) + track


def play(
    notes: list[Note], program: int, folder: Path, *, is_drum: bool = False, tempo_bpm: float = TEMPO_BPM
) -> NDArray[np.float64]:
    """Return the notes as fluidsynth plays them, dry, shape ``(n_frames, 2)``."""
    score, sound = folder / "part.mid", folder / "part.wav"
    score.write_bytes(midi_file(notes, program, 9 if is_drum else 0, tempo_bpm))
    command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.6", "-r", str(RATE_HZ), "-O", "float"]
    subprocess.run([*command, "-F", str(sound), str(SOUNDFONT), str(score)], check=True, capture_output=True)
    return sf.read(sound, always_2d=True)[0]


def _octave_up(notes: str) -> str:
    """Return what festival must be asked for: its A4 sounds at 220 Hz."""
    return ",".join(f"{note[:-1]}{int(note[-1]) + 1}" for note in notes.split(","))


def sing(phrases: list[Phrase], voice: str, folder: Path) -> NDArray[np.float64]:
    """Return the phrases as festival sings them, each beginning on its beat."""
    out = np.zeros(round(RATE_HZ * BAR_S * len(CHORDS)))
    for bar, syllables in phrases:
        words = "\n".join(
            f'<PITCH NOTE="{_octave_up(note)}"><DURATION BEATS="{beats}">{word}</DURATION></PITCH>'
            for word, note, beats in syllables
        )
        text, sound = folder / "song.xml", folder / "song.wav"
        text.write_text(f'{HEAD}<SINGING BPM="{TEMPO_BPM * FESTIVAL_MINUTE_S / 60}">\n{words}\n</SINGING>\n')
        command = ["text2wave", "-eval", f"(voice_{voice}_diphone)", "-mode", "singing", str(text), "-o", str(sound)]
        subprocess.run(command, check=True, capture_output=True)
        x, rate_hz = sf.read(sound)
        x = soxr.resample(x, rate_hz, RATE_HZ)
        start = round(bar * BAR_S * RATE_HZ)
        out[start : start + len(x)] += x[: len(out) - start]
    return out


def parts(folder: Path, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Return every part on its own, mono, from the first bar on."""

    def human(notes: list[Note]) -> list[Note]:
        return [
            (max(0.0, b + rng.normal(0, 0.008)), d, k, int(np.clip(v + rng.normal(0, 5), 20, 127)))
            for b, d, k, v in notes
        ]

    scores: list[list[Note]] = [[] for _ in range(7)]
    kick, snare, hat, bass, electric, keys, acoustic = scores
    for bar, chord in enumerate(CHORDS):
        beat, (root, *upper) = 4.0 * bar, NOTES[chord]
        if bar == LAST_BAR:
            kick.append((beat, 1, DRUM_KICK, 110))
            hat.append((beat, 4, DRUM_CRASH, 95))
            bass.append((beat, 4, root - 12, 100))
            electric += [(beat, 4, k, 90) for k in (root, *upper[:2])]
            keys += [(beat, 4, k, 85) for k in upper]
            acoustic += [(beat + 0.03 * i, 4, k, 90) for i, k in enumerate((root, *upper))]
            continue
        is_chorus = bar >= CHORUS_BAR
        kick += [(beat + b, 0.5, DRUM_KICK, 108) for b in (0, 1.5, 2, *((3.5,) if is_chorus else ()))]
        snare += [(beat + b, 0.5, DRUM_SNARE, 104) for b in (1, 3)] + [(beat + 2.75, 0.25, DRUM_SNARE, 45)]
        hat += [(beat + b / 2, 0.25, DRUM_HAT, 92 if b % 2 == 0 else 66) for b in range(8)]
        if bar == CHORUS_BAR:
            hat.append((beat, 3, DRUM_CRASH, 100))
        bass += [
            (beat + b, d, root - 12 + up, 98) for b, d, up in ((0, 1.4, 0), (1.5, 0.5, 0), (2, 1.4, 0), (3.5, 0.5, 7))
        ]
        if bar > 1:
            keys += [(beat + b, d, k, 78) for b, d in ((0, 1.9), (2.5, 1.4)) for k in upper]
        riff = (root + 12, root + 19, root + 24) if is_chorus else (root + 12, root + 19)
        electric += [(beat + b, d, k, 92) for b, d in ((0, 1.4), (1.5, 0.9), (2.5, 1.4)) for k in riff]
        acoustic += [
            (beat + b / 2 + 0.015 * i, 0.45, k, 88 if b in (0, 4) else 64)
            for b in (0, 2, 3, 4, 5, 6, 7)
            for i, k in enumerate((root, *upper))
        ]
    sounds = {
        "kick": play(human(kick), 0, folder, is_drum=True),
        "snare": play(human(snare), 0, folder, is_drum=True),
        "hat": play(human(hat), 0, folder, is_drum=True),
        "bass": play(human(bass), 33, folder),
        "electric": play(human(electric), 29, folder),
        "keys": play(human(keys), 4, folder),
        "acoustic": play(human(acoustic), 25, folder),
    }
    mono = {name: x.mean(axis=1) for name, x in sounds.items()}
    mono |= {"lead": sing(LEAD, "kal", folder), "backing": sing(BACKING, "ked", folder)}
    return {name: _cut(x) for name, x in mono.items()}


def _cut(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the piece's length of ``x``; its last chord dies away."""
    n_frames, n_fade = round(BAR_S * len(CHORDS) * RATE_HZ), round(BEAT_S * RATE_HZ)
    x = np.pad(x[:n_frames], (0, max(0, n_frames - len(x))))
    x[-n_fade:] *= np.cos(np.linspace(0, np.pi / 2, n_fade)) ** 2
    return x


def bed(folder: Path, rng: np.random.Generator, n_bars: int = 8) -> NDArray[np.float64]:
    """Return the quiet music under the panel, stereo."""
    tempo_bpm = 104
    chords = [(57, 60, 64, 67), (53, 60, 64, 69), (50, 57, 60, 65), (55, 59, 62, 65)]
    scores: list[list[Note]] = [[], [], []]
    pad, low, plucked = scores
    for bar in range(n_bars):
        chord = chords[bar % 4]
        pad += [(4.0 * bar, 3.9, k, 70) for k in chord]
        low += [(4.0 * bar + b, 1.4, chord[0] - 24, 80) for b in (0, 2.5)]
        plucked += [(4.0 * bar + b / 2, 0.4, chord[rng.integers(4)] + 12, int(rng.integers(45, 80))) for b in range(8)]
    rendered = [play(n, p, folder, tempo_bpm=tempo_bpm) for n, p in ((pad, 89), (low, 32), (plucked, 11))]
    length = max(len(x) for x in rendered)
    mix = sum(np.pad(x, ((0, length - len(x)), (0, 0))) * g for x, g in zip(rendered, (0.6, 0.9, 0.5), strict=True))
    return np.asarray(mix)
