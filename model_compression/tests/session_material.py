"""Performances that tests synthesise themselves: small, quick, with known truth."""

from __future__ import annotations

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from model_compression.data.performance import SAMPLE_RATE_HZ, Performance, Stem

BAND = ("kick", "snare", "hihat", "bass", "elec_guitar", "piano", "vocal_lead")
BPM = 120.0


def _times(seconds: float) -> NDArray[np.float64]:
    return np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ


def sound(rng: np.random.Generator, role: str, seconds: float) -> NDArray[np.float32]:
    """Return something that has the rhythm, register and envelope of a role, ``(n_frames, 1)``."""
    t = _times(seconds)
    since_beat = t % (60.0 / BPM)
    noise = rng.standard_normal(len(t))
    tone_hz = {"bass": 82.0, "elec_guitar": 220.0, "piano": 330.0, "vocal_lead": 260.0}.get(role, 200.0)
    if role == "kick":
        audio = np.sin(2.0 * np.pi * 60.0 * since_beat) * np.exp(-12.0 * since_beat)
    elif role in ("snare", "hihat", "cymbal", "percussion"):
        audio = noise * np.exp(-(40.0 if role == "hihat" else 20.0) * since_beat)
        if role == "hihat":
            audio = np.diff(audio, prepend=0.0)
    elif role == "speech":
        words = np.convolve(rng.random(int(seconds * 4) + 2) > 0.35, [1.0])
        audio = scipy.signal.lfilter([1.0], [1.0, -0.9], noise) * np.repeat(words, SAMPLE_RATE_HZ // 4)[: len(t)]
    else:
        vibrato = 1.0 + 0.01 * np.sin(2.0 * np.pi * 5.0 * t) * (role == "vocal_lead")
        phase = 2.0 * np.pi * np.cumsum(tone_hz * vibrato) / SAMPLE_RATE_HZ
        audio = sum(np.sin(n * phase) / n for n in range(1, 12)) * np.exp(-2.0 * (t % (120.0 / BPM)))
    return (0.3 * audio / np.abs(audio).max()).astype(np.float32)[:, None]


def band(
    rng: np.random.Generator, seconds: float = 6.0, genre: str = "rock", roles: tuple[str, ...] = BAND
) -> Performance:
    """Return a band whose singer leads until half time, then the guitar."""
    half = seconds / 2.0
    spans = {"vocal_lead": ((0.0, half),), "elec_guitar": ((half, seconds),)}
    stems = tuple(
        Stem(audio=sound(rng, role, seconds), role=role, family=f"made.{role}", lead_spans_s=spans.get(role, ()))
        for role in roles
    )
    beats_s = np.arange(0.0, seconds, 60.0 / BPM)
    return Performance(
        stems=stems,
        scene_kind="music",
        genre=genre,
        tempo_bpm=BPM,
        beats_s=beats_s,
        downbeats_s=beats_s[::4],
        sections=((0.0, "verse"), (half, "solo")),
        key="Am",
        ingredients=("made",),
    )


def talk(rng: np.random.Generator, seconds: float = 6.0, n_talkers: int = 3) -> Performance:
    """Return a conversation over a music bed."""
    turns = np.linspace(0.0, seconds, n_talkers + 1)
    t = _times(seconds)
    stems = []
    for k in range(n_talkers):
        is_turn = ((t >= turns[k]) & (t < turns[k + 1]))[:, None]
        audio = (sound(rng, "speech", seconds) * is_turn).astype(np.float32)
        stems.append(Stem(audio=audio, role="speech", family="made", lead_spans_s=((turns[k], turns[k + 1]),)))
    stems.append(Stem(audio=sound(rng, "piano", seconds), role="playback", family="made"))
    return Performance(
        stems=tuple(stems),
        scene_kind="speech",
        beats_s=np.zeros(0),
        downbeats_s=np.zeros(0),
        ingredients=("made",),
    )


class MadeStage:
    """A stage that needs no sampled instruments."""

    def performance(
        self, rng: np.random.Generator, *, split: str, scene_kind: str, genre: str, seconds: float
    ) -> Performance:
        """Return a band or a talk."""
        return talk(rng, seconds) if scene_kind == "speech" else band(rng, seconds, genre)

    def clip(self, rng: np.random.Generator, *, split: str, seconds: float) -> tuple[Stem, tuple[str, ...]]:
        """Return one sound of a random role."""
        role = str(rng.choice(BAND))
        return Stem(audio=sound(rng, role, seconds), role=role, family=f"made.{role}"), ("made",)

    def licences(self, names: set[str]) -> list[dict[str, str]]:
        """Return that they are ours."""
        return [{"name": name, "version": "0", "licence": "Apache-2.0"} for name in sorted(names)]
