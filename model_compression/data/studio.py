"""What a studio makes of a voice: doubled, tuned to harmonies, compressed, driven, brightened, echoed, on a plate.

Most vocals that reach a mixer from a record or a backing track have been through this; those of a live microphone have
not. Everything is drawn from the generator of chance that is passed in, and what is added ends soon enough that a voice
is not heard as going on where it has ended.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.signal import butter, oaconvolve, sosfilt

from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.tone_colour import shaped

Audio = NDArray[np.float32]
SHARE_PRODUCED = 0.6  # of vocals; the others are a live microphone's
HOP = 48  # frames between two looks at the level: 1 ms
GRAIN_FRAMES = 2880  # of the pitch shifter: 60 ms
LONGEST_TAIL_S = 1.4
HARMONIES = (-12, -5, 3, 4, 7, 12)  # semitones of those who sing along


class Chain(Protocol):
    """Puts a vocal of peak 1 through what is drawn; peak 1 again."""

    def __call__(self, rng: np.random.Generator, audio: Audio, /, *, is_backing: bool, tempo_bpm: float) -> Audio:
        """Take and give ``(n_frames, n_lanes)`` float32."""


def produced(
    rng: np.random.Generator, audio: Audio, *, is_backing: bool, tempo_bpm: float, chain: Chain | None = None
) -> Audio:
    """Produce a vocal, or leave it dry; same length ``(n_frames, n_lanes)`` float32 and same peak."""
    peak = float(np.abs(audio).max(initial=0.0))
    if rng.random() >= SHARE_PRODUCED or peak < 1e-6:
        return audio
    made_by = chain or studio
    return made_by(rng, audio / np.float32(peak), is_backing=is_backing, tempo_bpm=tempo_bpm) * np.float32(peak)


def studio(rng: np.random.Generator, audio: Audio, *, is_backing: bool, tempo_bpm: float) -> Audio:
    """Put a vocal of peak 1 through a chain that is drawn; peak 1 again."""
    wetter = 1.6 if is_backing else 1.0
    sound = audio
    if is_backing and rng.random() < 0.18:
        sound = chopped(rng, sound, tempo_bpm)
    sound = compressed(sound, ratio=float(rng.uniform(2.0, 12.0)), under_peak_db=float(rng.uniform(8.0, 22.0)))
    if rng.random() < 0.4:
        drive = float(np.exp(rng.uniform(np.log(0.7), np.log(6.0))))
        sound = np.tanh(sound * (drive / _peak(sound))) + np.float32(rng.uniform(0.0, 0.06)) * sound**2
    sound = shaped(sound.astype(np.float32), _clean_curve(rng))
    if rng.random() < (0.6 if is_backing else 0.35):
        sound = stacked(rng, sound, is_backing=is_backing)
    if rng.random() < 0.25:
        sound = _chorused(rng, sound)
    if rng.random() < 0.05:
        sound = shaped(sound, [(150, -40), (380, 0), (1800, 4), (3000, 0), (4500, -34), (20000, -60)])
    dry = sound
    if rng.random() < 0.35 * wetter:
        sound = sound + echoed(rng, dry, tempo_bpm)
    if rng.random() < 0.75:
        sound = sound + np.float32(min(0.4, wetter * rng.uniform(0.05, 0.28))) * _peak(dry) * plate(rng, dry)
    return (sound / _peak(sound)).astype(np.float32)


def compressed(
    audio: Audio, *, ratio: float, under_peak_db: float, hold_ms: int = 30, smooth_ms: float = 12.0
) -> Audio:
    """Bring down what is louder than a threshold under the peak; looks ahead, so that nothing overshoots."""
    level = np.abs(audio).max(axis=1)
    hops = np.pad(level, (0, -len(level) % HOP)).reshape(-1, HOP).max(axis=1)
    over_db = 20 * np.log10(hops / _peak(audio) + 1e-6) + under_peak_db
    held = maximum_filter1d(np.maximum(over_db, 0.0), hold_ms)
    gain_db = -(1 - 1 / ratio) * gaussian_filter1d(held, smooth_ms)
    at = np.arange(len(audio)) / HOP
    gain = np.interp(at, np.arange(len(hops)), 10 ** (gain_db / 20))
    return (audio * gain[:, None]).astype(np.float32)


def stacked(rng: np.random.Generator, audio: Audio, *, is_backing: bool) -> Audio:
    """Add doubles: late by some ms, out of tune by some cents; behind a lead also octaves, in backing whole chords."""
    out = audio.copy()
    for _ in range(int(rng.integers(1, 5 if is_backing else 3))):
        semitones = float(rng.choice(HARMONIES)) if rng.random() < (0.55 if is_backing else 0.12) else 0.0
        if not is_backing and semitones:
            semitones = float(np.sign(semitones) * 12)
        late = int(rng.uniform(0.008, 0.04) * SAMPLE_RATE_HZ)
        copy = shifted(audio, semitones + rng.normal(0, 0.14))
        out[late:] += np.float32(rng.uniform(0.25, 0.9)) * copy[: len(copy) - late]
    return out


def shifted(audio: Audio, semitones: float) -> Audio:
    """Shift the pitch as a harmoniser does: two heads run over a short loop, one fades in while the other jumps."""
    n = len(audio)
    at = np.arange(n)
    out = np.zeros_like(audio)
    slip = 1 - 2 ** (semitones / 12)
    for head in (0.0, 0.5):
        phase = (slip * at / GRAIN_FRAMES + head) % 1.0
        weight = np.sin(np.pi * phase) ** 2
        where = at - phase * GRAIN_FRAMES
        for lane in range(audio.shape[1]):
            out[:, lane] += (weight * np.interp(where, at, audio[:, lane])).astype(np.float32)
    return out


def chopped(rng: np.random.Generator, audio: Audio, tempo_bpm: float) -> Audio:
    """Cut in steps of a sixteenth: some repeat what was sung just before, some are silent."""
    step = max(480, round(15.0 / tempo_bpm * SAMPLE_RATE_HZ))
    out = audio.copy()
    fade = np.minimum(1.0, np.minimum(np.arange(step), np.arange(step)[::-1]) / 120).astype(np.float32)[:, None]
    source = 0
    for i in range(len(audio) // step):
        draw = rng.random()
        source = source if draw < 0.35 else i
        piece = audio[source * step : (source + 1) * step]
        out[i * step : (i + 1) * step] = piece * fade if draw < 0.9 else 0.0
    return out


def echoed(rng: np.random.Generator, audio: Audio, tempo_bpm: float) -> Audio:
    """Return the echoes alone: a slap, or repeats in the tempo that get softer and duller."""
    is_slap = rng.random() < 0.4
    beat_s = 60.0 / tempo_bpm
    gap_s = rng.uniform(0.07, 0.14) if is_slap else beat_s * float(rng.choice([0.25, 0.5, 0.75]))
    level, again = 10 ** (rng.uniform(-17, -8) / 20), rng.uniform(0.1, 0.4)
    gap = int(min(gap_s, 0.45) * SAMPLE_RATE_HZ)
    dull = sosfilt(butter(1, float(rng.uniform(2000, 7000)), "lowpass", fs=SAMPLE_RATE_HZ, output="sos"), audio, axis=0)
    out = np.zeros_like(audio)
    for i in range(1, 2 if is_slap else 4):
        if i * gap < len(audio) and i * gap_s < LONGEST_TAIL_S:
            out[i * gap :] += np.float32(level * again ** (i - 1)) * dull[: len(audio) - i * gap].astype(np.float32)
    return out


def plate(
    rng: np.random.Generator,
    audio: Audio,
    *,
    rt60_s: tuple[float, float] = (0.5, 2.4),
    longest_tail_s: float = LONGEST_TAIL_S,
) -> Audio:
    """Return the reverberation alone, peak 1: noise that dies away, the highs first, as of a plate (Moorer 1979)."""
    decay_s = float(rng.uniform(*rt60_s))
    n_taps = int(min(decay_s * 0.6, longest_tail_s) * SAMPLE_RATE_HZ)
    t = np.arange(n_taps) / SAMPLE_RATE_HZ
    noise = rng.normal(size=(n_taps, audio.shape[1]))
    low, high = np.exp(-6.9 * t / decay_s), np.exp(-6.9 * t / (decay_s * rng.uniform(0.3, 0.7)))
    soft = sosfilt(butter(1, 2500, "lowpass", fs=SAMPLE_RATE_HZ, output="sos"), noise, axis=0)
    taps = soft * low[:, None] + (noise - soft) * high[:, None]
    edges_hz = [float(rng.uniform(150, 500)), float(rng.uniform(4000, 12000))]
    taps = sosfilt(butter(1, edges_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos"), taps, axis=0)
    taps = np.pad(taps, ((int(rng.uniform(0.0, 0.06) * SAMPLE_RATE_HZ), 0), (0, 0)))
    wet = oaconvolve(audio, taps.astype(np.float32), axes=0)[: len(audio)]
    return (wet / (np.abs(wet).max() + 1e-9)).astype(np.float32)


def _chorused(rng: np.random.Generator, audio: Audio) -> Audio:
    at = np.arange(len(audio))
    depth, rate_hz = rng.uniform(0.001, 0.004), rng.uniform(0.3, 1.6)
    delay = (rng.uniform(0.012, 0.022) + depth * np.sin(2 * np.pi * rate_hz * at / SAMPLE_RATE_HZ)) * SAMPLE_RATE_HZ
    share = np.float32(rng.uniform(0.3, 0.9))
    copies = [np.interp(at - delay, at, lane) for lane in audio.T]
    return audio + share * np.stack(copies, axis=1).astype(np.float32)


def _clean_curve(rng: np.random.Generator) -> list[tuple[float, float]]:
    """High-pass, mud cut, presence, a de-esser's dip, air."""
    low_hz = float(rng.uniform(60, 180))
    return [
        (20.0, -30.0),
        (low_hz / 2, -14.0),
        (low_hz, 0.0),
        (320.0, float(rng.uniform(-6, 1))),
        (1000.0, 0.0),
        (3200.0, float(rng.uniform(-1, 7))),
        (6500.0, float(rng.uniform(-6, 4))),
        (12000.0, float(rng.uniform(-2, 9))),
        (20000.0, float(rng.uniform(-6, 6))),
    ]


def _peak(audio: Audio) -> np.float32:
    return np.float32(np.abs(audio).max() + 1e-9)
