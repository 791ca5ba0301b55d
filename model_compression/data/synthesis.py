"""Our own instruments, all drawn from patch numbers: plucked, struck, bowed, blown and electronic."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_compression.data import synthesis_electric as electric
from model_compression.data import synthesis_strings as strings
from model_compression.data import synthesis_tones as tones
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.tone_colour import amplified, shaped

Audio = NDArray[np.float32]
ToneMaker = Callable[[np.random.Generator], strings.Tone]
VELOCITY_STEPS, VARIANTS = 5, 2


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A way of making sound; each patch number of it is another instrument.

    ``amp_gain`` above 0 sends the whole part through a guitar amplifier of about that gain;
    ``width`` spreads it in stereo.
    """

    name: str
    kind: str
    role: str
    range: tuple[int, int]
    tone: ToneMaker
    has_breath: bool = False
    amp_gain: float = 0.0
    width: float = 0.0
    n_patches: int = 32


ENGINES = (
    Engine(name="pluck_steel", kind="steel_guitar", role="ac_guitar", range=(40, 84), tone=strings.steel_string),
    Engine(name="pluck_nylon", kind="nylon_guitar", role="ac_guitar", range=(40, 84), tone=strings.nylon_string),
    Engine(name="pluck_banjo", kind="banjo", role="ac_guitar", range=(48, 86), tone=strings.banjo_string, n_patches=16),
    Engine(
        name="pluck_mandolin",
        kind="mandolin",
        role="ac_guitar",
        range=(55, 93),
        tone=strings.steel_string,
        n_patches=16,
    ),
    Engine(
        name="amp_clean",
        kind="clean_guitar",
        role="elec_guitar",
        range=(40, 86),
        tone=strings.electric_string,
        amp_gain=1.2,
    ),
    Engine(
        name="amp_jazz",
        kind="jazz_guitar",
        role="elec_guitar",
        range=(40, 82),
        tone=strings.dark_string,
        amp_gain=0.8,
        n_patches=16,
    ),
    Engine(
        name="amp_crunch",
        kind="crunch_guitar",
        role="elec_guitar",
        range=(38, 84),
        tone=strings.electric_string,
        amp_gain=9.0,
    ),
    Engine(
        name="amp_lead",
        kind="lead_guitar",
        role="elec_guitar",
        range=(45, 90),
        tone=strings.electric_string,
        amp_gain=50.0,
    ),
    Engine(name="pluck_bass", kind="elec_bass", role="bass", range=(26, 62), tone=strings.bass_string),
    Engine(name="pluck_slap", kind="slap_bass", role="bass", range=(26, 62), tone=strings.slap_string, n_patches=16),
    Engine(
        name="pluck_upright",
        kind="upright_bass",
        role="bass",
        range=(28, 60),
        tone=strings.upright_string,
        n_patches=16,
    ),
    Engine(name="wave_bass", kind="synth_bass", role="bass", range=(24, 60), tone=tones.bass_wave),
    Engine(name="sub_bass", kind="sub_bass", role="bass", range=(24, 52), tone=tones.sub_wave, n_patches=16),
    Engine(
        name="wave_lead", kind="synth_lead", role="synth", range=(40, 96), tone=tones.lead_wave, width=0.2, n_patches=48
    ),
    Engine(
        name="wave_pad", kind="synth_pad", role="synth", range=(36, 92), tone=tones.pad_wave, width=0.8, n_patches=48
    ),
    Engine(
        name="wave_pluck",
        kind="synth_pluck",
        role="synth",
        range=(36, 96),
        tone=tones.pluck_wave,
        width=0.3,
        n_patches=48,
    ),
    Engine(name="acid_bass", kind="synth_bass", role="bass", range=(24, 60), tone=tones.acid_wave, n_patches=32),
    Engine(name="fm_bass", kind="synth_bass", role="bass", range=(24, 60), tone=electric.fm_bass, n_patches=32),
    Engine(
        name="fm_synth", kind="fm_synth", role="synth", range=(36, 92), tone=electric.fm_synth, width=0.3, n_patches=64
    ),
    Engine(
        name="wave_any", kind="any_synth", role="synth", range=(36, 92), tone=tones.sharp_wave, width=0.3, n_patches=96
    ),
    Engine(
        name="wave_chord", kind="stab", role="synth", range=(40, 72), tone=electric.chord_wave, width=0.4, n_patches=32
    ),
    Engine(
        name="bars_wood", kind="xylophone", role="percussion", range=(55, 96), tone=strings.wooden_bar, n_patches=32
    ),
    Engine(name="organ", kind="organ", role="synth", range=(36, 92), tone=tones.drawbar_wave, width=0.4),
    Engine(name="fm_piano", kind="elec_piano", role="piano", range=(30, 96), tone=tones.fm_piano, width=0.3),
    Engine(name="hammer_piano", kind="piano", role="piano", range=(26, 100), tone=strings.hammered_string, width=0.3),
    Engine(name="bars", kind="mallet", role="other", range=(48, 96), tone=strings.struck_bar, width=0.2),
    Engine(
        name="bowed_section",
        kind="string_section",
        role="strings",
        range=(36, 92),
        tone=tones.bowed_many,
        has_breath=True,
        width=0.6,
    ),
    Engine(name="bowed_violin", kind="violin", role="strings", range=(55, 98), tone=tones.bowed_one, has_breath=True),
    Engine(name="bowed_cello", kind="cello", role="strings", range=(36, 74), tone=tones.bowed_one, has_breath=True),
    Engine(name="blown_flute", kind="flute", role="woodwind", range=(60, 98), tone=tones.flute, has_breath=True),
    Engine(
        name="blown_clarinet", kind="clarinet", role="woodwind", range=(50, 90), tone=tones.clarinet, has_breath=True
    ),
    Engine(name="blown_sax", kind="saxophone", role="woodwind", range=(44, 84), tone=tones.saxophone, has_breath=True),
    Engine(name="blown_trumpet", kind="trumpet", role="brass", range=(54, 86), tone=tones.trumpet, has_breath=True),
    Engine(name="blown_trombone", kind="trombone", role="brass", range=(40, 72), tone=tones.trumpet, has_breath=True),
    Engine(
        name="blown_section",
        kind="brass_section",
        role="brass",
        range=(42, 84),
        tone=tones.brass_many,
        has_breath=True,
        width=0.5,
    ),
)
_BY_NAME = {engine.name: engine for engine in ENGINES}


def render(rng: np.random.Generator, family: str, notes: tuple[Note, ...], n_frames: int) -> Audio:
    """Play a part on a patch such as ``wave_lead.07``; returns ``(n_frames, 2)`` float32."""
    engine = _BY_NAME[family.rsplit(".", 1)[0]]
    patch = np.random.default_rng(zlib.crc32(family.encode()))
    tone = engine.tone(patch)
    made: dict[tuple[int, int, int, bool, int], Audio] = {}
    out = np.zeros(n_frames, np.float32)
    for note in notes:
        is_muted = note.articulation == "muted"
        length_s = note.length_s * (0.45 if note.articulation == "staccato" else 1.0)
        at = round(note.begin_s * SAMPLE_RATE_HZ)
        loud = min(VELOCITY_STEPS - 1, int(note.velocity * VELOCITY_STEPS))
        key = (round(note.pitch), loud, round(length_s * 50), is_muted, int(rng.integers(VARIANTS)))
        if key not in made:
            hz = 440.0 * 2 ** ((key[0] - 69 + rng.normal(0.0, 0.03)) / 12)
            made[key] = tone(rng, hz, max(0.04, key[2] / 50), (loud + 0.5) / VELOCITY_STEPS, is_muted)
        sound = made[key][: max(0, n_frames - at)]
        out[at : at + len(sound)] += sound * np.float32(note.velocity)
    mono = out[:, None]
    if engine.amp_gain > 0:
        mono = amplified(patch, mono, engine.amp_gain * float(np.exp(patch.normal(0.0, 0.35))))
    else:
        mono = shaped(mono, _body(patch))
    return _widened(patch, mono[:, 0], engine.width)


def _body(patch: np.random.Generator) -> list[tuple[float, float]]:
    """Resonances of a body or of a filter: fixed for a patch."""
    hz = np.geomspace(60.0, 16000.0, 18)
    return [(20.0, -6.0), *((float(f), float(patch.normal(0.0, 3.0))) for f in hz), (22000.0, -6.0)]


def _widened(patch: np.random.Generator, mono: Audio, width: float) -> Audio:
    if width == 0.0:
        return np.stack([mono, mono], axis=1)
    n = np.arange(len(mono))
    sides = []
    for _ in range(2):
        depth, rate_hz = patch.uniform(40.0, 160.0), patch.uniform(0.15, 0.9)
        place = n - depth * (1.2 + np.sin(2 * np.pi * (rate_hz * n / SAMPLE_RATE_HZ + patch.random())))
        sides.append(np.interp(place, n, mono))
    wet = np.stack(sides, axis=1).astype(np.float32)
    return np.float32(1 - width / 2) * mono[:, None] + np.float32(width / 2) * wet
