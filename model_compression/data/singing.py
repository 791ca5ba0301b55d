"""Singers and rappers: words of a voice stretched over a tune, with glides, vibrato, breaths and ways to sing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter1d
from scipy.signal import butter, find_peaks, sosfilt

from model_compression.data import recorded_takes, vocoder
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.singing_manners import SHARE_AS_RECORDED, Delivery, delivered, draw_manner
from model_compression.data.vocoder import FRAME_MS, Analysis
from model_compression.data.voices import RECORDED, Voice, choose, texts_of, utterance

Audio = NDArray[np.float32]
PER_S = 1000 / FRAME_MS
BREATH_GAP_S = 0.45
PAD_NOTE_S = 1.5
SLUR_GAP_S = 0.15  # notes of one syllable may be this far apart
LEAST_VOICED = 0.15  # of a recording that is sung; others are mostly noise
HELD_NEPERS, HELD_FRAMES = 0.4, 18  # what is held of a vowel: as loud as its peak, and near to it
NUCLEUS_NEPERS = 0.7  # vowels this near to the loudest of a recording are as good to hold
MARGIN_FRAMES = 12
SUNG_ABOVE_TALK = 4.0  # semitones
_BREATH_BAND = butter(2, [900, 7000], "bandpass", fs=SAMPLE_RATE_HZ, output="sos")


@dataclass(frozen=True, kw_only=True)
class Singer:
    """A voice with a body and habits; pitches in MIDI, times in s; ``slur`` is the share of notes without syllable."""

    voice: Voice
    size: float
    centre_pitch: float
    vibrato_cents: float
    vibrato_hz: float
    glide_s: float
    looseness_cents: float
    air_db: float
    breathiness: float
    tilt_db: float
    slur: float
    is_tuned: bool
    delivery: Delivery = field(default_factory=Delivery)


@dataclass(frozen=True, kw_only=True)
class Sung:
    """What was sung: ``audio`` ``(n_frames,)`` float32 and ``f0_hz``, its pitch per 5 ms, 0 where it has none."""

    audio: Audio
    f0_hz: NDArray[np.float64]


def draw_singer(rng: np.random.Generator, split: str, *, is_backing: bool = False) -> Singer:
    """Draw a singer of a split."""
    size = float(rng.uniform(0.88, 1.2))
    manner = draw_manner(rng, split, is_backing=is_backing)
    singer = Singer(
        voice=choose(rng, split, sings=True),
        size=size,
        centre_pitch=float(55 + (size - 0.88) * 38 + rng.normal(0, 2) + manner.lift),
        vibrato_cents=float(rng.uniform(8, 55)) * manner.vibrato,
        vibrato_hz=float(rng.uniform(4.8, 6.6)),
        glide_s=0.002 if manner.is_tuned else float(rng.uniform(*manner.glide_s)),
        looseness_cents=0.0 if manner.is_tuned else float(rng.uniform(4, 14)),
        air_db=float(rng.uniform(-6, 6)),
        breathiness=float(rng.uniform(*manner.breathiness)),
        tilt_db=manner.tilt_db + float(rng.normal(0, 2)),
        slur=float(rng.choice([0.0, 0.0, 0.2, 0.5])) if manner.slur is None else manner.slur,
        is_tuned=manner.is_tuned,
        delivery=manner.delivery,
    )
    if split != "test" and singer.voice.engine == RECORDED and rng.random() < SHARE_AS_RECORDED:
        return replace(singer, delivery=replace(singer.delivery, is_as_recorded=True))
    return singer


def n_ticks_of(n_frames: int) -> int:
    """Say for how many ticks of 5 ms there is a pitch."""
    return int(n_frames / SAMPLE_RATE_HZ * PER_S) + 1


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
    return sung(rng, singer, notes, n_frames, vowels_only=vowels_only, cache_dir=cache_dir).audio[:, None]


def sung(
    rng: np.random.Generator,
    singer: Singer,
    notes: tuple[Note, ...],
    n_frames: int,
    *,
    vowels_only: bool = False,
    cache_dir: Path | None = None,
) -> Sung:
    """Sing a tune, and say at what pitch."""
    centre_pitch = singer.centre_pitch
    if singer.delivery.is_as_recorded:  # grains bear to be moved by an octave, hardly by more
        centre_pitch = (centre_pitch + recorded_takes.own_pitch(singer.voice, cache_dir) + SUNG_ABOVE_TALK) / 2
    octaves = 12 * round((centre_pitch - float(np.median([n.pitch for n in notes]))) / 12)
    notes = delivered(rng, notes, singer.delivery)
    f0_of = _melodic(rng, singer, notes, octaves, n_ticks_of(n_frames))
    on_vowels = vowels_only or singer.delivery.is_vowel
    return _voiced(rng, singer, notes, n_frames, f0_of, vowels_only=on_vowels, cache_dir=cache_dir)


def drawn_out(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """Keep the notes that begin 1.5 s apart or more, each held until the next: a pad of voices."""
    kept: list[Note] = []
    for note in notes:
        if not kept or note.begin_s - kept[-1].begin_s >= PAD_NOTE_S:
            kept.append(note)
    ends_s = [n.begin_s for n in kept[1:]] + [notes[-1].begin_s + notes[-1].length_s]
    return tuple(
        replace(n, length_s=max(n.length_s, 0.98 * (e - n.begin_s))) for n, e in zip(kept, ends_s, strict=True)
    )


def rap(
    rng: np.random.Generator, singer: Singer, notes: tuple[Note, ...], n_frames: int, *, cache_dir: Path | None = None
) -> Audio:
    """Speak or shout words in the rhythm of the notes, more or less near to their pitch; ``(n_frames, 1)`` float32."""
    return rapped(rng, singer, notes, n_frames, cache_dir=cache_dir).audio[:, None]


def rapped(
    rng: np.random.Generator, singer: Singer, notes: tuple[Note, ...], n_frames: int, *, cache_dir: Path | None = None
) -> Sung:
    """Rap, and say at what pitch."""
    n = n_ticks_of(n_frames)
    base_hz = 440 * 2 ** ((singer.centre_pitch - 74) / 12)
    line = gaussian_filter1d(rng.normal(0, 1, n), 25) * 14 + gaussian_filter1d(rng.normal(0, 1, n), 8) * 2
    middle, sung = float(np.median([n.pitch for n in notes])), float(rng.choice([0.0, 0.0, 0.4, 0.9]))
    for note in notes:
        line[int(note.begin_s * PER_S) :][: int(0.15 * PER_S)] += 4 * (note.velocity - 0.5)
        spoken = slice(int(note.begin_s * PER_S), int((note.begin_s + note.length_s) * PER_S))
        line[spoken] += sung * np.clip(note.pitch - middle, -9, 9)
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
    delivery, middle = singer.delivery, float(np.median([n.pitch for n in notes])) + octaves
    for note in notes:
        a, b = int(note.begin_s * PER_S), min(n, int((note.begin_s + note.length_s) * PER_S))
        if a >= n:
            break
        pitch[a:] = note.pitch + octaves
        t = np.arange(max(0, b - a)) / PER_S
        depth = np.clip((t - delivery.vibrato_after_s) / 0.3, 0, 1) * rng.uniform(0.5, 1.2) * singer.vibrato_cents / 100
        vibrato[a:b] = depth * np.sin(2 * np.pi * singer.vibrato_hz * rng.uniform(0.95, 1.05) * t)
        if not singer.is_tuned and rng.random() < delivery.scoop_share:
            scoop = int(delivery.scoop_s * PER_S)
            pitch[a : a + scoop] -= np.linspace(rng.uniform(*delivery.scoop_semitones), 0, scoop)[: max(0, n - a)]
        if delivery.spoken:
            pitch[a:] -= delivery.spoken * 0.8 * (pitch[a] - middle)
            pitch[a:b] -= delivery.spoken * rng.uniform(0, 7) * np.linspace(-0.4, 1, max(0, b - a))
    drift = gaussian_filter1d(rng.normal(0, 1, n), 40) * 9 * singer.looseness_cents / 100
    jitter = gaussian_filter1d(rng.normal(0, 1, n), 2) * (0.005 if singer.is_tuned else 0.05)
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
) -> Sung:
    n = len(f0_of)
    words = texts_of(singer.voice, "words")
    lyrics = [words[int(i)] for i in rng.integers(len(words), size=8 if vowels_only else 16)]
    sung = (t for t in lyrics if np.mean(utterance(singer.voice, t, cache_dir).f0_hz > 0) > LEAST_VOICED)
    lyrics = list(islice(sung, 1 if vowels_only else None)) or lyrics[:1]
    envelope = np.zeros((n, vocoder.N_CODED))
    envelope[:, 0] = vocoder.SILENCE_DB / 8.686 * vocoder.NEPER
    breath, f0, gain = np.zeros((n, 1)), np.zeros(n), np.zeros(n)
    breaths = np.zeros(n)
    takes = recorded_takes.Takes.of(singer.voice, lyrics, cache_dir) if singer.delivery.is_as_recorded else None
    place = np.zeros(n)
    last_end = -BREATH_GAP_S
    slurred = _slurred(rng, singer, notes)
    syllable = -1
    nuclei = {text: float(rng.random()) for text in lyrics}
    for i, note in enumerate(notes):
        syllable += not slurred[i]
        end_s = notes[i + 1].begin_s if slurred[i + 1] else note.begin_s + note.length_s
        a, b = int(note.begin_s * PER_S), min(n, int(end_s * PER_S))
        if b - a < 6:
            continue
        text = lyrics[syllable % len(lyrics)]
        word = utterance(singer.voice, text, cache_dir)
        path, voiced = _stretched(
            word,
            b - a,
            nucleus=nuclei[text],
            has_onset=not (vowels_only or slurred[i]),
            has_coda=not (vowels_only or slurred[i + 1]),
        )
        low = np.minimum(path.astype(int), len(word.f0_hz) - 2)
        share = (path - low)[:, None]
        frames = word.envelope[low] * (1 - share) + word.envelope[low + 1] * share
        frames[:, 0] -= vocoder.NEPER * np.percentile(vocoder.level_of(frames), 90)
        envelope[a:b], breath[a:b] = frames, word.breath[low] * (1 - singer.breathiness)
        f0[a:b] = np.where(voiced, f0_of[a:b], 0.0)
        if takes is not None:
            place[a:b] = path + takes.begins[text]
        at = np.arange(b - a)
        edge = np.minimum(np.inf if slurred[i] else (at + 1) / 5, np.inf if slurred[i + 1] else (b - a - at) / 5)
        shape = 1 - rng.uniform(0, 0.35) * np.linspace(0, 1, b - a) ** 2
        gain[a:b] = np.minimum(1, edge) * shape * (0.35 + 0.65 * note.velocity)
        if note.begin_s - last_end > BREATH_GAP_S and rng.random() < 0.7:
            breaths[max(0, a - int(0.35 * PER_S)) : max(0, a - 4)] = rng.uniform(0.01, 0.05)
        last_end = note.begin_s + note.length_s
    envelope[:, 1] -= vocoder.TILT_PER_DB * singer.tilt_db
    smooth = gaussian_filter1d(envelope, 1.5, axis=0)
    sings = binary_dilation(gain > 0, iterations=MARGIN_FRAMES)
    if not sings.any():  # every note was too short, or fell behind the end
        return Sung(audio=np.zeros(n_frames, np.float32), f0_hz=f0)
    if takes is None:
        kept = vocoder.synthesise(rng, f0[sings], smooth[sings], breath[sings], size=singer.size, air_db=singer.air_db)
    else:
        kept = takes.at(
            rng, place[sings], f0[sings], size=singer.size, tilt_db=singer.tilt_db, breathiness=singer.breathiness
        )
    sound = _spread(kept, sings)
    if singer.delivery.growl:
        sound *= _growl(rng, f0, singer.delivery.growl, len(sound))
    peak = float(np.percentile(np.abs(sound), 99.8)) + 1e-9
    when = np.arange(n_frames) / SAMPLE_RATE_HZ * PER_S
    sound = np.pad(sound, (0, max(0, n_frames - len(sound))))[:n_frames] / peak * np.interp(when, np.arange(n), gain)
    inhaled = sosfilt(_BREATH_BAND, rng.normal(size=n_frames)) * np.interp(
        when, np.arange(n), gaussian_filter1d(breaths, 12)
    )
    return Sung(audio=(0.5 * (sound + inhaled)).astype(np.float32), f0_hz=f0)


def _growl(rng: np.random.Generator, f0_hz: NDArray[np.float64], depth: float, n_frames: int) -> Audio:
    """Return the gain that weakens every second period, now more, now less."""
    periods = np.cumsum(f0_hz) / PER_S
    much = np.clip(depth * (0.7 + 4 * gaussian_filter1d(rng.normal(0, 1, len(f0_hz)), 30)), 0.0, 0.9)
    at = np.arange(n_frames) / SAMPLE_RATE_HZ * PER_S
    tick = np.arange(len(f0_hz))
    wave = 0.5 - 0.5 * np.cos(np.pi * np.interp(at, tick, periods))
    return (1 - np.interp(at, tick, much) * wave).astype(np.float32)


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


def _slurred(rng: np.random.Generator, singer: Singer, notes: tuple[Note, ...]) -> list[bool]:
    """Say of each note, and of what comes after the last, whether it goes on with the syllable of the one before."""
    slurred = [False]
    for before, note in pairwise(notes):
        gap_s = note.begin_s - before.begin_s - before.length_s
        slurred.append(bool(rng.random() < singer.slur) and note.begin_s > before.begin_s and gap_s < SLUR_GAP_S)
    return [*slurred, False]


def _stretched(
    word: Analysis, n: int, *, nucleus: float, has_onset: bool, has_coda: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Map frames of the note to frames of the word: consonants keep their pace, a loud vowel is held.

    ``nucleus``, 0 to 1, says which of the loud vowels.
    """
    is_voiced = word.f0_hz > 0
    level = vocoder.level_of(word.envelope) + np.where(is_voiced, 0.0, -50.0)
    smooth = gaussian_filter1d(level, 3)
    peaks, _ = find_peaks(smooth, height=smooth.max() - NUCLEUS_NEPERS, distance=16)
    peak = int(peaks[int(nucleus * len(peaks))] if len(peaks) else np.argmax(smooth))
    near = level > level[peak] - HELD_NEPERS
    first = peak
    while first > max(0, peak - HELD_FRAMES) and near[first - 1]:
        first -= 1
    last = peak
    while last < min(len(near) - 1, peak + HELD_FRAMES) and near[last + 1]:
        last += 1
    total = len(level)
    n_onset = min(first, int(0.35 * n)) if has_onset else 0
    n_coda = min(total - 1 - last, int(0.25 * n)) if has_coda else 0
    onset = np.linspace(max(0, first - 1.4 * n_onset), first, n_onset, endpoint=False)
    coda = np.linspace(last, min(total - 1, last + 1.4 * n_coda), n_coda)
    n_held = n - n_onset - n_coda
    path = np.concatenate([onset, np.linspace(first, max(first + 1, last), n_held), coda])
    path = np.clip(path, 0, total - 2)
    return path, is_voiced[np.round(path).astype(int)] | ((path >= first) & (path <= last))
