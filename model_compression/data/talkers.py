"""Talkers: persons with a voice, synthetic or recorded, who take turns, interrupt, pause and sometimes laugh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from model_compression.data import vocoder
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.tone_colour import coloured
from model_compression.data.vocal_parts import phrases
from model_compression.data.voices import RECORDED, Voice, choose, recording, texts_of, utterance

Audio = NDArray[np.float32]
SHARE_AS_RECORDED = 0.65  # of what people say; the rest is taken apart and put together, as another body would say it
VARISPEED = (0.9, 1.12)
HASTE = (1.0, 1.4)  # of who talks over a beat, beside the pace of before
BREAK_OFF_S, SHORTEST_WORDS_S = 0.06, 0.3


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who talks: voice, formant factor, pitch factor, how much the pitch moves, pace, air above 8 kHz."""

    voice: Voice
    size: float
    pitch: float
    liveliness: float
    pace: float
    air_db: float


def draw_person(rng: np.random.Generator, split: str) -> Person:
    """Draw a person of a split; body and pitch go together."""
    body = rng.normal(0.0, 0.08)
    return Person(
        voice=choose(rng, split),
        size=float(np.clip(1 + body, 0.85, 1.2)),
        pitch=float(np.clip(1 + 1.6 * body + rng.normal(0, 0.06), 0.7, 1.6)),
        liveliness=float(rng.uniform(0.6, 1.5)),
        pace=float(rng.uniform(0.85, 1.2)),
        air_db=float(rng.uniform(-6, 6)),
    )


def draw_company(rng: np.random.Generator, split: str, n_persons: int) -> list[Person]:
    """Persons with different voices, as far as the split has them."""
    company: list[Person] = []
    for _ in range(n_persons):
        candidates = [draw_person(rng, split) for _ in range(4)]
        taken = {p.voice.name for p in company}
        company.append(next((c for c in candidates if c.voice.name not in taken), candidates[0]))
    return company


def speak(rng: np.random.Generator, person: Person, text: str, *, cache_dir: Path | None = None) -> Audio:
    """Say a text, as ``(n_frames,)`` float32 at 48 kHz, loudness roughly the same for all."""
    if person.voice.engine == RECORDED and rng.random() < SHARE_AS_RECORDED:
        return _levelled(rng, _played(person, text))
    said = utterance(person.voice, text, cache_dir)
    n = max(4, int(len(said.f0_hz) / person.pace))
    at = np.linspace(0, len(said.f0_hz) - 1.001, n)
    low = at.astype(int)
    share = (at - low)[:, None]
    voiced = said.f0_hz[low] > 0
    centre = float(np.median(said.f0_hz[said.f0_hz > 0])) if np.any(said.f0_hz > 0) else 120.0
    wander = gaussian_filter1d(rng.normal(0, 1, n), 60) * 0.6
    bent = centre * person.pitch * (np.maximum(said.f0_hz[low], 40) / centre) ** person.liveliness * 2 ** (wander / 12)
    envelope = said.envelope[low] * (1 - share) + said.envelope[low + 1] * share
    sound = vocoder.synthesise(
        rng,
        np.where(voiced, np.clip(bent, 50, 600), 0.0),
        envelope,
        said.breath[low],
        size=person.size,
        air_db=person.air_db,
    )
    return _levelled(rng, sound)


def _played(person: Person, path: str) -> Audio:
    """Play a recording a little faster or slower, which changes body, pitch and pace together."""
    speed = float(np.clip(person.size, *VARISPEED))
    return recording(person.voice, path, round(SAMPLE_RATE_HZ / speed)).astype(np.float32)


def _levelled(rng: np.random.Generator, sound: Audio) -> Audio:
    level = float(np.sqrt(np.mean(sound**2))) + 1e-9
    return sound * np.float32(0.05 * rng.uniform(0.85, 1.15) / level)


def laugh(rng: np.random.Generator, person: Person, *, cache_dir: Path | None = None) -> Audio:
    """Laugh in a few aspirated bursts on a falling pitch."""
    word = utterance(person.voice, texts_of(person.voice, "words")[0], cache_dir)
    loudest = int(np.argmax(vocoder.level_of(word.envelope) + np.where(word.f0_hz > 0, 0, -50)))
    n_bursts, per = int(rng.integers(3, 8)), int(rng.uniform(28, 44))
    n = n_bursts * per
    envelope = np.repeat(word.envelope[loudest : loudest + 1], n, axis=0)
    phase = np.arange(n) % per / per
    envelope[:, 0] += vocoder.NEPER * np.log(np.maximum(0.02, np.sin(np.pi * np.minimum(1, phase * 1.8)) ** 2))
    centre = 180 * person.pitch * np.linspace(1.5, 1.0, n) * (1 - 0.2 * phase)
    breath = np.repeat(word.breath[loudest : loudest + 1], n, axis=0) * np.where(phase > 0.5, 0.05, 0.4)[:, None]
    sound = vocoder.synthesise(
        rng, np.where(phase < 0.5, centre, 0.0), envelope, breath, size=person.size, air_db=person.air_db
    )
    return sound * np.float32(0.03 / (float(np.sqrt(np.mean(sound**2))) + 1e-9))


def conversation(
    rng: np.random.Generator,
    persons: list[Person],
    seconds: float,
    *,
    begin_s: float = 0.3,
    purpose: str = "",
    cache_dir: Path | None = None,
) -> tuple[list[Audio], list[list[tuple[float, float]]]]:
    """Let persons talk for a while.

    Returns
    -------
    For each person the sound, ``(n_frames, 1)`` float32, and when they have the word, ``(begin_s, end_s)``.
    """
    n_frames = round(seconds * SAMPLE_RATE_HZ)
    sounds = [np.zeros(n_frames, np.float32) for _ in persons]
    spans: list[list[tuple[float, float]]] = [[] for _ in persons]
    overlap = rng.uniform(0.0, 0.35)
    at_s, who = begin_s, 0
    while at_s < seconds - 0.8:
        role = purpose or ("host" if who == 0 and len(persons) > 1 else "guest")
        pool = texts_of(persons[who].voice, role)
        sound = speak(rng, persons[who], pool[int(rng.integers(len(pool)))], cache_dir=cache_dir)
        end_s = _place(sounds[who], sound, at_s)
        spans[who].append((at_s, end_s))
        if len(persons) > 1 and rng.random() < 0.12:
            _place(sounds[int(rng.integers(len(persons)))], laugh(rng, persons[who], cache_dir=cache_dir), end_s - 0.3)
        gap_s = -rng.uniform(0.1, 0.9) if rng.random() < overlap else rng.exponential(0.45) + 0.08
        at_s = max(at_s + 0.3, end_s + (gap_s if len(persons) > 1 else abs(gap_s)))
        if rng.random() < 0.7 and len(persons) > 1:
            who = int((who + rng.integers(1, len(persons))) % len(persons)) if who == 0 or rng.random() < 0.5 else 0
    return [coloured(rng, s[:, None], "speech") for s in sounds], spans


def recite(
    rng: np.random.Generator,
    person: Person,
    notes: tuple[Note, ...],
    n_frames: int,
    *,
    cache_dir: Path | None = None,
) -> Audio:
    """Talk where the phrases of ``notes`` are, as over a beat: sentence after sentence, in haste; ``(n_frames, 1)``."""
    out = np.zeros(n_frames, np.float32)
    hasty = replace(person, pace=person.pace * float(rng.uniform(*HASTE)))
    pool = [text for purpose in ("host", "guest") for text in texts_of(person.voice, purpose)]
    for phrase in phrases(notes) if notes else ():
        at_s = phrase[0].begin_s
        end_s = min(phrase[-1].begin_s + phrase[-1].length_s, n_frames / SAMPLE_RATE_HZ)
        while at_s < end_s - SHORTEST_WORDS_S:
            sound = speak(rng, hasty, pool[int(rng.integers(len(pool)))], cache_dir=cache_dir)
            sound = sound[: round((end_s - at_s) * SAMPLE_RATE_HZ)].copy()
            n_fade = min(len(sound), round(BREAK_OFF_S * SAMPLE_RATE_HZ))
            sound[len(sound) - n_fade :] *= np.linspace(1.0, 0.0, n_fade, dtype=np.float32)
            at_s = max(_place(out, sound, at_s), at_s + SHORTEST_WORDS_S)
    return out[:, None]


def _place(into: Audio, sound: Audio, at_s: float) -> float:
    at = max(0, round(at_s * SAMPLE_RATE_HZ))
    n = min(len(sound), len(into) - at)
    if n > 0:
        into[at : at + n] += sound[:n]
    return min(len(into), at + len(sound)) / SAMPLE_RATE_HZ
