"""Singers and rappers: words of a synthetic voice stretched over a tune, with glides, vibrato and breaths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter1d
from scipy.signal import butter, sosfilt

from model_compression.data import vocoder
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.vocoder import FRAME_MS, Analysis
from model_compression.data.voices import Voice, choose, texts_of, utterance

Audio = NDArray[np.float32]
PER_S = 1000 / FRAME_MS
BREATH_GAP_S = 0.45
MARGIN_FRAMES = 12
_BREATH_BAND = butter(2, [900, 7000], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")


@dataclass(frozen=True, kw_only=True)
class Singer:
    """A voice with a body and habits; pitches in MIDI, times in s."""

    voice: Voice
    size: float
    centre_pitch: float
    vibrato_cents: float
    vibrato_hz: float
    glide_s: float
    looseness_cents: float
    air_db: float
    breathiness: float


def draw_singer(rng: np.random.Generator, split: str) -> Singer:
    """Draw a singer of a split."""
    size = float(rng.uniform(0.88, 1.2))
    return Singer(
        voice=choose(rng, split, sings=True),
        size=size,
        centre_pitch=float(55 + (size - 0.88) * 38 + rng.normal(0, 2)),
        vibrato_cents=float(rng.uniform(8, 55)),
        vibrato_hz=float(rng.uniform(4.8, 6.6)),
        glide_s=float(rng.uniform(0.02, 0.09)),
        looseness_cents=float(rng.uniform(4, 14)),
        air_db=float(rng.uniform(-6, 6)),
        breathiness=float(rng.uniform(0.0, 0.25)),
    )


def sing(
    rng: np.random.Generator,
    singer: Singer,
    notes: tuple[Note, ...],
    n_frames: int,
    *,
    vowels_only: bool = False,
    cache_dir: Path | None = None,
) -> Audio:
    """Sing a tune, moved by octaves to the singer; returns ``(n_frames, 1)`` float32."""
    octaves = 12 * round((singer.centre_pitch - float(np.median([n.pitch for n in notes]))) / 12)
    f0_of = _melodic(rng, singer, notes, octaves, int(n_frames / SAMPLE_RATE_HZ * PER_S) + 1)
    return _voiced(rng, singer, notes, n_frames, f0_of, vowels_only=vowels_only, cache_dir=cache_dir)


def rap(
    rng: np.random.Generator, singer: Singer, notes: tuple[Note, ...], n_frames: int, *, cache_dir: Path | None = None
) -> Audio:
    """Speak words in the rhythm of the notes; returns ``(n_frames, 1)`` float32."""
    n = int(n_frames / SAMPLE_RATE_HZ * PER_S) + 1
    base_hz = 440 * 2 ** ((singer.centre_pitch - 74) / 12)
    line = gaussian_filter1d(rng.normal(0, 1, n), 25) * 14 + gaussian_filter1d(rng.normal(0, 1, n), 8) * 2
    for note in notes:
        line[int(note.begin_s * PER_S) :][: int(0.15 * PER_S)] += 4 * (note.velocity - 0.5)
    return _voiced(
        rng,
        singer,
        notes,
        n_frames,
        base_hz * 2 ** (gaussian_filter1d(line, 6) / 12),
        vowels_only=False,
        cache_dir=cache_dir,
    )


def _melodic(
    rng: np.random.Generator, singer: Singer, notes: tuple[Note, ...], octaves: int, n: int
) -> NDArray[np.float64]:
    pitch = np.full(n, notes[0].pitch + octaves, float)
    vibrato = np.zeros(n)
    for note in notes:
        a, b = int(note.begin_s * PER_S), min(n, int((note.begin_s + note.length_s) * PER_S))
        if a >= n:
            break
        pitch[a:] = note.pitch + octaves
        t = np.arange(max(0, b - a)) / PER_S
        depth = np.clip((t - 0.2) / 0.3, 0, 1) * rng.uniform(0.5, 1.2) * singer.vibrato_cents / 100
        vibrato[a:b] = depth * np.sin(2 * np.pi * singer.vibrato_hz * rng.uniform(0.95, 1.05) * t)
        if rng.random() < 0.3:
            scoop = int(0.12 * PER_S)
            pitch[a : a + scoop] -= np.linspace(rng.uniform(0.3, 1.5), 0, scoop)[: max(0, n - a)]
    drift = gaussian_filter1d(rng.normal(0, 1, n), 40) * 9 * singer.looseness_cents / 100
    jitter = gaussian_filter1d(rng.normal(0, 1, n), 2) * 0.05
    return 440 * 2 ** ((gaussian_filter1d(pitch, singer.glide_s * PER_S) + vibrato + drift + jitter - 69) / 12)


def _voiced(
    rng: np.random.Generator,
    singer: Singer,
    notes: tuple[Note, ...],
    n_frames: int,
    f0_of: NDArray[np.float64],
    *,
    vowels_only: bool,
    cache_dir: Path | None,
) -> Audio:
    n = len(f0_of)
    words = texts_of(singer.voice, "words")
    lyrics = [words[int(i)] for i in rng.integers(len(words), size=8 if vowels_only else 16)]
    if vowels_only:
        lyrics = lyrics[:1]
    envelope = np.zeros((n, vocoder.N_CODED))
    envelope[:, 0] = vocoder.SILENCE_DB / 8.686 * 2 * np.sqrt(vocoder.N_CODED)
    breath, f0, gain = np.zeros((n, 1)), np.zeros(n), np.zeros(n)
    breaths = np.zeros(n)
    last_end = -BREATH_GAP_S
    for i, note in enumerate(notes):
        a, b = int(note.begin_s * PER_S), min(n, int((note.begin_s + note.length_s) * PER_S))
        if b - a < 6:
            continue
        word = utterance(singer.voice, lyrics[i % len(lyrics)], cache_dir)
        path, voiced = _stretched(word, b - a, vowels_only=vowels_only)
        low = np.minimum(path.astype(int), len(word.f0_hz) - 2)
        share = (path - low)[:, None]
        frames = word.envelope[low] * (1 - share) + word.envelope[low + 1] * share
        frames[:, 0] -= np.percentile(word.envelope[:, 0], 90)
        envelope[a:b], breath[a:b] = frames, word.breath[low] * (1 - singer.breathiness)
        f0[a:b] = np.where(voiced, f0_of[a:b], 0.0)
        edge = np.minimum(1, np.minimum(np.arange(b - a) + 1, (b - a) - np.arange(b - a)) / 5)
        shape = 1 - rng.uniform(0, 0.35) * np.linspace(0, 1, b - a) ** 2
        gain[a:b] = edge * shape * (0.35 + 0.65 * note.velocity)
        if note.begin_s - last_end > BREATH_GAP_S and rng.random() < 0.7:
            breaths[max(0, a - int(0.35 * PER_S)) : max(0, a - 4)] = rng.uniform(0.01, 0.05)
        last_end = note.begin_s + note.length_s
    smooth = gaussian_filter1d(envelope, 1.5, axis=0)
    sings = binary_dilation(gain > 0, iterations=MARGIN_FRAMES)
    kept = vocoder.synthesise(rng, f0[sings], smooth[sings], breath[sings], size=singer.size, air_db=singer.air_db)
    sound = _spread(kept, sings)
    peak = float(np.percentile(np.abs(sound), 99.8)) + 1e-9
    at = np.arange(n_frames) / SAMPLE_RATE_HZ * PER_S
    sound = np.pad(sound, (0, max(0, n_frames - len(sound))))[:n_frames] / peak * np.interp(at, np.arange(n), gain)
    inhaled = sosfilt(_BREATH_BAND, rng.normal(size=n_frames)) * np.interp(
        at, np.arange(n), gaussian_filter1d(breaths, 12)
    )
    return (0.5 * (sound + inhaled)).astype(np.float32)[:, None]


def _spread(kept: Audio, sings: NDArray[np.bool_]) -> Audio:
    """Put the sung stretches back where they belong; nothing is synthesised for the rests between them."""
    per_frame = int(SAMPLE_RATE_HZ / PER_S)
    sound = np.zeros(len(sings) * per_frame, np.float32)
    borders = np.flatnonzero(np.diff(np.concatenate([[0], sings.astype(int), [0]])))
    at = 0
    for first, end in borders.reshape(-1, 2):
        piece = kept[at : at + (end - first) * per_frame]
        sound[first * per_frame : first * per_frame + len(piece)] = piece
        at += (end - first) * per_frame
    return sound


def _stretched(word: Analysis, n: int, *, vowels_only: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Map frames of the note to frames of the word: consonants keep their pace, the loudest vowel is held."""
    is_voiced = word.f0_hz > 0
    level = vocoder.loudness_of(word.envelope) + np.where(is_voiced, 0.0, -50.0)
    peak = int(np.argmax(gaussian_filter1d(level, 3)))
    near = level > level[peak] - 0.9
    first = peak
    while first > 0 and near[first - 1]:
        first -= 1
    last = peak
    while last < len(near) - 1 and near[last + 1]:
        last += 1
    total = len(level)
    if vowels_only:
        onset, coda = np.zeros(0), np.zeros(0)
    else:
        n_onset, n_coda = min(first, int(0.35 * n)), min(total - 1 - last, int(0.25 * n))
        onset = np.linspace(max(0, first - 1.4 * n_onset), first, n_onset, endpoint=False) if n_onset else np.zeros(0)
        coda = np.linspace(last, min(total - 1, last + 1.4 * n_coda), n_coda) if n_coda else np.zeros(0)
    n_held = n - len(onset) - len(coda)
    path = np.concatenate([onset, np.linspace(first, max(first + 1, last), n_held), coda])
    path = np.clip(path, 0, total - 2)
    return path, is_voiced[np.round(path).astype(int)] | ((path >= first) & (path <= last))
