"""What makes the same instrument another one: amplifiers, pedals, articulation, tape and rooms, drawn by role."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_compression.data import effects_chain as fx
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.tone_colour import amplified, shaped

Audio = NDArray[np.float32]
SR = SAMPLE_RATE_HZ
SHARE_PLAIN = 0.2  # as recorded
LONG_NOTES = {"synth", "strings", "brass", "woodwind", "elec_guitar", "bass", "piano", "ac_guitar", "other"}
OCTAVES = {"synth": 0.25, "strings": 0.15, "brass": 0.15, "elec_guitar": 0.12, "piano": 0.12, "bass": 0.1}
OCTAVES |= {"other": 0.15, "ac_guitar": 0.08, "woodwind": 0.06}
PITCHED = tuple(OCTAVES)
BENDERS = {"elec_guitar": 0.4, "ac_guitar": 0.15, "bass": 0.15, "synth": 0.1}  # how many of who plays so bend notes
STROKE_S = 0.04  # strings that are struck within it after each other are one chord
HITS = ("kick", "snare", "hihat", "tom", "cymbal", "percussion", "drums")


def doubled(rng: np.random.Generator, notes: tuple[Note, ...], role: str) -> tuple[Note, ...]:
    """Play a part in octaves too, sometimes."""
    if rng.random() >= OCTAVES.get(role, 0.0):
        return notes
    by, softer = int(rng.choice([-12, 12])), rng.uniform(0.4, 0.9)
    more = (
        Note(
            begin_s=n.begin_s,
            length_s=n.length_s,
            pitch=n.pitch + by,
            velocity=n.velocity * softer,
            articulation=n.articulation,
        )
        for n in notes
    )
    return (*notes, *more)


def varied(rng: np.random.Generator, audio: Audio, role: str, begins_s: tuple[float, ...] = ()) -> Audio:
    """Send a stem through a chain drawn for its role.

    Parameters
    ----------
    audio
        ``(n_frames, n_channels)``; silence stays silence.
    begins_s
        When notes begin, for shapes that follow them; none for drums.

    Returns
    -------
    The same shape, finite, peak as it came.
    """
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < 1e-6 or rng.random() < SHARE_PLAIN or role not in (*PITCHED, *HITS):
        return audio
    sound = audio
    if role in LONG_NOTES and begins_s and rng.random() < 0.35:
        sound = _reshaped(rng, sound, begins_s, role)
    sound = CHAINS[role](rng, sound)
    sound = _finished(rng, sound, role)
    return (sound * np.float32(peak / fx.peak_of(sound))).astype(np.float32)


def bent(rng: np.random.Generator, audio: Audio, role: str, notes: tuple[Note, ...]) -> Audio:
    """Bend strings, slide into notes, let them shake and fall, as players of ``role`` do now and then.

    ``audio``: ``(n_frames, n_channels)``; what begins together moves together.
    """
    begins = np.unique([round(n.begin_s * SR) for n in notes if 0.0 <= n.begin_s * SR < len(audio) - 1]).astype(
        np.int64
    )
    if rng.random() >= BENDERS.get(role, 0.0) or not len(begins):
        return audio
    begins = begins[np.diff(begins, prepend=-SR) > STROKE_S * SR]
    ends = np.append(begins[1:], len(audio))
    share = rng.uniform(0.2, 0.8)
    semitones = np.zeros(len(audio))
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if rng.random() < share:
            semitones[begin:end] = _bend(rng, end - begin)
    return fx.bent(audio, semitones, begins)


def _bend(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Return what one note's pitch does, in semitones: a bend, a slide, a shake, or a fall at its end."""
    t_s, whole_s = np.arange(n) / SR, n / SR
    way = rng.random()
    if way < 0.35:  # the string is pushed
        up, after_s, in_s = float(rng.choice([-1.0, -2.0, -2.0, -3.0])), rng.uniform(0.0, 0.15), rng.uniform(0.05, 0.25)
        after_s, in_s = min(after_s, 0.2 * whole_s), min(in_s, 0.3 * whole_s)
        return up * (1.0 - np.clip((t_s - after_s) / in_s, 0.0, 1.0))
    if way < 0.6:  # a finger or a bottleneck slides along it
        in_s = min(fx.log_uniform(rng, 0.03, 0.2), 0.4 * whole_s)
        return float(rng.uniform(-7.0, 5.0)) * (1.0 - np.clip(t_s / in_s, 0.0, 1.0))
    if way < 0.9:
        depth, rate_hz = fx.log_uniform(rng, 0.1, 0.7), rng.uniform(4.0, 7.5)
        return depth * np.clip((t_s - rng.uniform(0.0, 0.3)) / 0.2, 0.0, 1.0) * np.sin(2.0 * np.pi * rate_hz * t_s)
    out_s = min(rng.uniform(0.1, 0.3), 0.4 * whole_s)
    return -float(rng.uniform(2.0, 9.0)) * np.clip((t_s - (whole_s - out_s)) / 0.2, 0.0, 1.0)


def _reshaped(rng: np.random.Generator, audio: Audio, begins_s: tuple[float, ...], role: str) -> Audio:
    """Give each note another contour: faster decay, a swell, or a gap before the next."""
    begins = np.unique(np.round(np.asarray(begins_s) / 0.04)) * 0.04
    t = np.arange(len(audio)) / SR
    which = np.searchsorted(begins, t, side="right") - 1
    since = t - begins[np.maximum(which, 0)]
    style = rng.random()
    if style < 0.55 or role in ("piano", "ac_guitar"):
        gain = np.exp(-np.maximum(0.0, since - 0.02) / fx.log_uniform(rng, 0.06, 1.2))
    elif style < 0.8:
        gain = np.minimum(1.0, 0.05 + since / fx.log_uniform(rng, 0.05, 0.5))
    else:
        gain = (since < fx.log_uniform(rng, 0.08, 0.5)).astype(float)
    gain = np.where(which < 0, 1.0, gain)
    n_smooth = 192
    gain = np.convolve(
        np.pad(gain, n_smooth // 2, mode="edge"), np.hanning(n_smooth) / np.hanning(n_smooth).sum(), "same"
    )
    return (audio * gain[n_smooth // 2 : n_smooth // 2 + len(audio)].astype(np.float32)[:, None]).astype(np.float32)


def _wandering(rng: np.random.Generator, audio: Audio) -> NDArray[np.float64]:
    """Where a moving filter stands: by an oscillator, by loudness, or along the clip."""
    style, n = int(rng.integers(3)), np.arange(len(audio))
    if style == 0:
        return 0.5 + 0.5 * np.sin(2 * np.pi * (fx.log_uniform(rng, 0.05, 3.0) * n / SR + rng.random()))
    if style == 1:
        return rng.uniform(0.5, 1.2) * fx.envelope(audio, rng.uniform(0.05, 0.4)) / fx.peak_of(audio)
    path = np.linspace(0, 1, len(audio))
    return path if rng.random() < 0.5 else 1 - path


def _electric_guitar(rng: np.random.Generator, sound: Audio) -> Audio:
    if rng.random() < 0.3:
        sound = fx.compressed(sound, rng.uniform(-30, -12), rng.uniform(2, 8), 0.15)
    if rng.random() < 0.15:
        sound = fx.swept(
            sound, _wandering(rng, sound), 350.0, rng.uniform(1500, 2800), rng.uniform(1.2, 3.0), "bandpass"
        )
    if rng.random() < 0.5:
        sound = fx.filtered(sound, "highpass", fx.log_uniform(rng, 60, 500), 1)
    route = rng.random()
    if route < 0.6:
        sound = amplified(rng, sound, fx.log_uniform(rng, 0.6, 120.0))
    elif route < 0.75:
        sound = fx.driven(rng, sound, fx.log_uniform(rng, 2, 40))
        sound = fx.resonant(sound, rng.uniform(2500, 6500), rng.uniform(0.6, 1.8))
    elif route < 0.9:
        sound = fx.resonant(sound, rng.uniform(2200, 7000), rng.uniform(0.8, 3.0))  # a pickup straight into the desk
    if rng.random() < 0.2:
        sound = fx.trembling(rng, sound, rng.uniform(0.3, 0.9), rng.uniform(2, 9))
    if rng.random() < 0.25:
        sound = fx.chorused(rng, sound, rng.uniform(0.2, 0.8))
    if rng.random() < 0.25:
        sound = fx.reverberant(rng, sound, rng.uniform(0.8, 2.5), rng.uniform(0.1, 0.6), is_spring=True)
    return sound


def _acoustic_guitar(rng: np.random.Generator, sound: Audio) -> Audio:
    if rng.random() < 0.6:
        body_hz, top_hz = rng.uniform(85, 130), rng.uniform(170, 260)
        curve = [(40.0, -12.0), (body_hz, rng.uniform(0, 8)), (top_hz, rng.uniform(0, 7)), (450.0, rng.uniform(-5, 3))]
        curve += [
            (1500.0, rng.uniform(-4, 4)),
            (3500.0, rng.uniform(-5, 6)),
            (9000.0, rng.uniform(-12, 7)),
            (20000.0, -6.0),
        ]
        sound = shaped(sound, curve)
    if rng.random() < 0.25:  # a piezo: hard, honking, compressed
        sound = shaped(
            sound, [(60.0, -9.0), (250.0, -3.0), (1200.0, 5.0), (3000.0, 6.0), (9000.0, 2.0), (18000.0, -9.0)]
        )
        sound = fx.compressed(sound, -24, 3, 0.1)
    if rng.random() < 0.3:
        sound = fx.transient_shaped(sound, rng.uniform(-0.2, 0.5))
    if rng.random() < 0.15:
        sound = fx.chorused(rng, sound, rng.uniform(0.1, 0.5))
    return sound


def _bass(rng: np.random.Generator, sound: Audio) -> Audio:
    route = rng.random()
    if route < 0.3:
        sound = fx.filtered(sound, "lowpass", fx.log_uniform(rng, 150, 2500))
    elif route < 0.55:
        clean = sound
        dirty = fx.resonant(
            fx.driven(rng, sound, fx.log_uniform(rng, 1.5, 25)), rng.uniform(1200, 5000), rng.uniform(0.6, 1.4)
        )
        share = np.float32(rng.uniform(0.3, 1.0))
        sound = (1 - share) * clean + share * dirty
    elif route < 0.75:
        sound = fx.swept(sound, _wandering(rng, sound), 120.0, rng.uniform(700, 4000), rng.uniform(0.8, 5.0), "lowpass")
    if rng.random() < 0.4:
        sound = fx.compressed(sound, rng.uniform(-30, -10), rng.uniform(2, 10), rng.uniform(0.05, 0.3))
    if rng.random() < 0.12:
        sound = fx.chorused(rng, sound, rng.uniform(0.1, 0.5))
    return sound


def _piano(rng: np.random.Generator, sound: Audio) -> Audio:
    route = rng.random()
    if route < 0.25:  # felt, or an upright behind its door
        sound = fx.filtered(sound, "lowpass", fx.log_uniform(rng, 700, 4000), 1)
    elif route < 0.4:
        sound = fx.filtered(sound, "highpass", fx.log_uniform(rng, 100, 400), 1)
    if rng.random() < 0.2:
        sound = fx.wavering(rng, sound, rng.uniform(0.0005, 0.003), rng.uniform(0.4, 1.5))
    if rng.random() < 0.2:
        sound = fx.chorused(rng, sound, rng.uniform(0.2, 0.6))
    if rng.random() < 0.3:
        sound = fx.transient_shaped(sound, rng.uniform(-0.3, 0.5))
    if rng.random() < 0.3:
        sound = fx.compressed(sound, rng.uniform(-32, -12), rng.uniform(2, 6), 0.2)
    return sound


def _synth(rng: np.random.Generator, sound: Audio) -> Audio:
    if rng.random() < 0.45:
        low, kind = fx.log_uniform(rng, 150, 900), "lowpass" if rng.random() < 0.75 else "bandpass"
        sound = fx.swept(sound, _wandering(rng, sound), low, low * rng.uniform(4, 20), rng.uniform(0.7, 5), kind)
    if rng.random() < 0.25:
        sound = fx.driven(rng, sound, fx.log_uniform(rng, 1.5, 15))
    if rng.random() < 0.2:
        sound = fx.gated(rng, sound, 60 / rng.uniform(90, 150) / float(rng.choice([2, 4])))
    if rng.random() < 0.05:
        sound = fx.rung(sound, fx.log_uniform(rng, 30, 900), rng.uniform(0.2, 0.7))
    if rng.random() < 0.35:
        sound = fx.chorused(rng, sound, rng.uniform(0.2, 0.9))
    if rng.random() < 0.25:
        sound = fx.trembling(rng, sound, rng.uniform(0.2, 0.9), fx.log_uniform(rng, 0.5, 12))
    return sound


def _blown_or_bowed(rng: np.random.Generator, sound: Audio) -> Audio:
    if rng.random() < 0.35:
        breath = fx.filtered(
            rng.normal(size=(len(sound), 1)).astype(np.float32), "bandpass", (rng.uniform(700, 2500), 9000), 1
        )
        level = np.float32(10 ** (rng.uniform(-42, -22) / 20))
        sound = sound + level * breath * fx.envelope(sound, 0.06).astype(np.float32)[:, None]
    if rng.random() < 0.25:
        sound = fx.wavering(rng, sound, rng.uniform(0.0001, 0.0006), rng.uniform(4, 6.5))
    if rng.random() < 0.25:
        sound = fx.chorused(rng, sound, rng.uniform(0.2, 0.9))  # one player becomes a section
    if rng.random() < 0.25:
        sound = fx.resonant(sound, fx.log_uniform(rng, 900, 6000), rng.uniform(0.6, 1.5))  # a mute, a distance
    if rng.random() < 0.2:
        sound = fx.compressed(sound, rng.uniform(-28, -12), rng.uniform(2, 5), 0.2)
    return sound


def _other(rng: np.random.Generator, sound: Audio) -> Audio:
    if rng.random() < 0.4:
        sound = fx.swept(sound, _wandering(rng, sound), 250.0, rng.uniform(2500, 9000), rng.uniform(0.7, 4), "lowpass")
    if rng.random() < 0.15:
        sound = fx.rung(sound, fx.log_uniform(rng, 20, 1500), rng.uniform(0.2, 0.8))
    if rng.random() < 0.3:
        sound = fx.delayed(rng, sound, rng.uniform(0.08, 0.6), rng.uniform(0.2, 0.7))
    return sound


def _hits(rng: np.random.Generator, sound: Audio) -> Audio:
    if rng.random() < 0.4:
        sound = fx.transient_shaped(sound, rng.uniform(-0.35, 0.9))
    if rng.random() < 0.35:
        sound = fx.compressed(sound, rng.uniform(-32, -10), rng.uniform(2, 12), rng.uniform(0.04, 0.25))
    if rng.random() < 0.25:
        sound = fx.driven(rng, sound, fx.log_uniform(rng, 1.5, 12))
    if rng.random() < 0.25:
        sound = fx.reverberant(rng, sound, fx.log_uniform(rng, 0.12, 1.6), rng.uniform(0.1, 0.7))
    return sound


def _metal(rng: np.random.Generator, sound: Audio) -> Audio:
    if rng.random() < 0.6:
        sound = fx.filtered(sound, "highpass", fx.log_uniform(rng, 120, 1500))
    return _hits(rng, sound)


def _whole_kit(rng: np.random.Generator, sound: Audio) -> Audio:
    if rng.random() < 0.5:
        sound = fx.compressed(sound, rng.uniform(-36, -14), rng.uniform(3, 20), rng.uniform(0.05, 0.3))
    if rng.random() < 0.2:
        sound = fx.filtered(sound, "lowpass", fx.log_uniform(rng, 1800, 9000))
    elif rng.random() < 0.15:
        sound = fx.filtered(sound, "highpass", fx.log_uniform(rng, 80, 350))
    elif rng.random() < 0.1:
        sound = fx.swept(sound, _wandering(rng, sound), 500.0, 9000.0, rng.uniform(0.7, 3), "lowpass")
    return _hits(rng, sound)


CHAINS = {
    "elec_guitar": _electric_guitar, "ac_guitar": _acoustic_guitar, "bass": _bass, "piano": _piano, "synth": _synth,
    "strings": _blown_or_bowed, "brass": _blown_or_bowed, "woodwind": _blown_or_bowed, "other": _other,
    "kick": _hits, "snare": _hits, "tom": _hits, "percussion": _hits, "hihat": _metal, "cymbal": _metal,
    "drums": _whole_kit,
}  # fmt: skip


def _finished(rng: np.random.Generator, sound: Audio, role: str) -> Audio:
    """Add what a producer or a cheap recorder leaves on any source."""
    is_hit = role in HITS
    if rng.random() < 0.15:
        sound = fx.crushed(sound, int(rng.integers(6, 13)), int(rng.integers(1, 6)))
        sound = fx.filtered(sound, "lowpass", rng.uniform(4500, 16000), 1)
    if not is_hit and rng.random() < 0.12:
        sound = fx.wavering(rng, sound, rng.uniform(0.0002, 0.0015), rng.uniform(0.3, 2.0))
    if rng.random() < (0.06 if is_hit else 0.2):
        sound = fx.delayed(rng, sound, rng.uniform(0.06, 0.5), rng.uniform(0.1, 0.5))
    if not is_hit and rng.random() < 0.35:
        sound = fx.reverberant(rng, sound, fx.log_uniform(rng, 0.2, 3.0), rng.uniform(0.05, 0.5))
    if rng.random() < 0.12:
        sound = fx.dusty(rng, sound, rng.uniform(-62, -40))
    return sound
