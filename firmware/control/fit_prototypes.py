"""Fits ``prototypes.toml``: plays General MIDI instruments and synthetic speech through the engine and takes medians.

    apt-get install fluidsynth fluid-soundfont-gm timgm6mb-soundfont espeak-ng
    python -m firmware.control.fit_prototypes

Lead vocals have no such instrument: their row is set by hand (P), and speech half way between the synthetic voices and
what is known of real ones (P). Seeded; no recording of anybody takes part.
"""

from __future__ import annotations

import random
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from firmware.engine import Engine
from firmware.observation import TICK_MS, ChannelSetup

from .classify import MEASURES, measures_of
from .control import Control

RATE_HZ, CLIP_S, N_CLIPS = 48000, 12.0, 10
SOUND_FONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf2/TimGM6mb.sf2")
PROGRAMS = {  # GM programs, and the keys they are played in
    "piano": ((0, 1, 2, 4, 5, 6, 16, 18), (40, 80)), "ac_guitar": ((24, 25), (40, 72)),
    "elec_guitar": ((26, 27, 28, 29, 30), (40, 76)), "bass": ((32, 33, 34, 35, 36, 38), (28, 50)),
    "strings": ((40, 41, 42, 48, 49), (45, 84)), "brass": ((56, 57, 58, 60, 61), (45, 76)),
    "woodwind": ((64, 65, 66, 68, 71, 73), (50, 82)), "synth": ((80, 81, 88, 89, 90, 95), (45, 80)),
    "vocal_backing": ((52, 53), (50, 72)),
}  # fmt: skip
DRUM_KEYS = {  # keys of the drum channel, and sixteenths between two hits
    "kick": ((35, 36), (4, 8, 2)), "snare": ((38, 40), (8, 8, 4)), "hihat": ((42, 44, 46), (1, 2, 4)),
    "tom": ((41, 43, 45, 47, 48, 50), (1, 2, 8)), "cymbal": ((49, 51, 55, 57, 59), (16, 32, 4)),
    "percussion": ((54, 56, 60, 61, 62, 63, 64, 70, 75, 39), (1, 2, 4)),
}  # fmt: skip
KITS = (0, 8, 16, 24, 25, 40)
VOICES = (
    "en-gb",
    "en-us",
    "en-gb-scotland",
    "en-us+f2",
    "en-gb+f3",
    "en-us+m3",
    "en-gb+m5",
    "de",
    "en-us+f4",
    "en-gb+m1",
)
TEXT = (
    "The mixer listens to every microphone in the room. Good evening and welcome, tonight we talk about sound, about "
    "patience, and about the people who stand behind the desk. When somebody speaks, the others make room."
)
BY_HAND = {  # in the order of MEASURES
    "vocal_lead": (9.8, -28.0, -24.0, -6.5, 10.0, 6.6, 1.3, 0.27, 4.6, -2.8, 0.85),
    "speech": (10.0, -15.0, -18.0, -5.5, 12.5, 7.6, 2.1, 0.38, 5.1, -2.4, 0.9),
}
Event = tuple[float, bytes]  # seconds, MIDI message


def melody(rng: random.Random, program: int, low: int, high: int) -> list[Event]:
    """Return a wandering line or chords in one note value."""
    events: list[Event] = [(0.0, bytes([0xC0, program]))]
    time_s, note_s, is_chords = 0.05, rng.choice([0.15, 0.25, 0.5, 1.0, 2.0]), rng.random() < 1 / 3
    key = rng.randint(low, high)
    while time_s < CLIP_S:
        key = min(high, max(low, key + rng.randint(-5, 5)))
        length_s = note_s * rng.choice([1, 1, 2])
        for k in (key, key + rng.choice([3, 4]), key + 7) if is_chords else (key,):
            events += [
                (time_s, bytes([0x90, k, rng.randint(60, 115)])),
                (time_s + 0.92 * length_s, bytes([0x80, k, 0])),
            ]
        time_s += length_s if rng.random() < 0.9 else 2 * length_s
    return events


def hits(rng: random.Random, keys: tuple[int, ...], steps: tuple[int, ...]) -> list[Event]:
    """Return one drum in a steady pattern with gaps."""
    events: list[Event] = [(0.0, bytes([0xC9, rng.choice(KITS)]))]
    played, time_s = rng.sample(keys, 1 if rng.random() < 0.7 else 2), 0.05
    step_s = rng.choice(steps) * 15.0 / rng.uniform(80, 150)
    while time_s < CLIP_S:
        if rng.random() < 0.85:
            key = rng.choice(played)
            events += [(time_s, bytes([0x99, key, rng.randint(60, 120)])), (time_s + 0.05, bytes([0x89, key, 0]))]
        time_s += step_s
    return events


def beat(rng: random.Random) -> list[Event]:
    """Return a whole kit."""
    events: list[Event] = [(0.0, bytes([0xC9, rng.choice(KITS)]))]
    step_s = 15.0 / rng.uniform(80, 150)
    for n in range(int(CLIP_S / step_s)):
        keys = [36] if n % 8 == 0 or rng.random() < 0.1 else []
        keys += [38] * (n % 8 == 4) + [42] * (n % 2 == 0) + [49] * (n % 64 == 0)
        for key in keys:
            on_s = 0.05 + n * step_s
            events += [(on_s, bytes([0x99, key, rng.randint(70, 120)])), (on_s + 0.05, bytes([0x89, key, 0]))]
    return events


def midi_file(events: list[Event]) -> bytes:
    """Return a format 0 file, 960 ticks a second."""
    track, last = b"", 0
    for time_s, message in sorted(events, key=lambda e: e[0]):
        tick = int(time_s * 960)
        wait, delta = bytes([(tick - last) & 127]), (tick - last) >> 7
        while delta:
            wait, delta = bytes([(delta & 127) | 128]) + wait, delta >> 7
        track, last = track + wait + message, tick
    track += b"\x83\x60\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + track


def played(events: list[Event], font: str, folder: Path) -> NDArray[np.float32]:
    """Return mono sound of ``events``."""
    (folder / "clip.mid").write_bytes(midi_file(events))
    options = ["-ni", "-R", "0", "-C", "0", "-g", "0.6", "-r", str(RATE_HZ), "-F", str(folder / "clip.wav")]
    subprocess.run(["fluidsynth", *options, font, str(folder / "clip.mid")], check=True, capture_output=True)
    return soundfile.read(folder / "clip.wav", dtype="float32", always_2d=True)[0].mean(axis=1)


def spoken(number: int, folder: Path) -> NDArray[np.float32]:
    """Return one synthetic voice."""
    speed, pitch, path = str(130 + 7 * number), str(30 + 5 * number), str(folder / "clip.wav")
    subprocess.run(["espeak-ng", "-v", VOICES[number], "-s", speed, "-p", pitch, "-w", path, TEXT], check=True)
    sound, rate_hz = soundfile.read(path, dtype="float32")
    return soxr.resample(sound, rate_hz, RATE_HZ)


def measured(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the measures of one clip, as the box would take them."""
    setup = [ChannelSetup(name="mic")]
    control = Control(setup, sample_rate_hz=RATE_HZ, amount_percent=0.0)
    tick_frames = RATE_HZ * TICK_MS // 1000
    with Engine(sample_rate_hz=float(RATE_HZ), channels=setup) as engine:
        for start in range(0, min(len(sound), int(CLIP_S * RATE_HZ)), tick_frames):
            engine.process(sound[start : start + tick_frames, None])
            control.tick(engine.observe(start / RATE_HZ))
    return measures_of(control.listening)[0]


def main() -> None:
    """Write ``prototypes.toml``."""
    rng = random.Random(5)
    rows: dict[str, NDArray[np.float64]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fonts = [SOUND_FONTS[n % len(SOUND_FONTS)] for n in range(N_CLIPS)]
        for role, (programs, (low, high)) in PROGRAMS.items():
            clips = [melody(rng, rng.choice(programs), low, high) for _ in fonts]
            rows[role] = np.array([measured(played(c, f, folder)) for c, f in zip(clips, fonts, strict=True)])
        for role, (keys, steps) in DRUM_KEYS.items():
            clips = [hits(rng, keys, steps) for _ in fonts]
            rows[role] = np.array([measured(played(c, f, folder)) for c, f in zip(clips, fonts, strict=True)])
        rows["drums"] = np.array([measured(played(beat(rng), f, folder)) for f in fonts])
        rows["speech"] = np.array([measured(spoken(n, folder)) for n in range(N_CLIPS)])
    sigma = np.sqrt(np.mean([row.var(axis=0) for row in rows.values()], axis=0))
    centres = {role: tuple(np.median(row, axis=0)) for role, row in rows.items()} | BY_HAND
    lines = ["# Fitted by fit_prototypes.py; do not edit. Order: " + ", ".join(MEASURES[:4]) + ",",
             "# " + ", ".join(MEASURES[4:]), f"sigma = {_numbers(sigma)}"]  # fmt: skip
    for role, centre in centres.items():
        lines += ["", f"[role.{role}]", f"centre = {_numbers(centre)}"]
    (Path(__file__).parent / "prototypes.toml").write_text("\n".join(lines) + "\n")


def _numbers(values: tuple[float, ...] | NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{v:.2f}" for v in values) + "]"


if __name__ == "__main__":
    main()
