"""People's recordings as a singer's words: laid end to end, and moved to the notes grain by grain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from model_compression.data import effects_chain as fx
from model_compression.data import vocoder
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.pitch_synchronous import PER_TICK, Marked, marked, moved
from model_compression.data.tone_colour import shaped
from model_compression.data.vocoder import VOICE_RATE_HZ
from model_compression.data.voices import Voice, recording, texts_of, utterance

Audio = NDArray[np.float32]
BREATH_BAND_HZ = (1200.0, 11000.0)
LOUD_PERCENTILE = 90
WORDS_TO_KNOW = 6  # a voice by
UNKNOWN_PITCH = 52.0


@dataclass(frozen=True, kw_only=True)
class Takes:
    """The recordings one after another; ``begins`` says in ticks of 5 ms where a text begins."""

    voice: Marked
    begins: dict[str, int]

    @classmethod
    def of(cls, voice: Voice, texts: list[str], cache_dir: Path | None) -> Takes:
        """Lay out recordings of a person, all equally loud.

        Raises
        ------
        MissingIngredient
            Where one isn't there.
        """
        begins: dict[str, int] = {}
        sounds: list[Audio] = []
        pitches: list[NDArray[np.float64]] = []
        n_ticks = 0
        for text in dict.fromkeys(texts):
            f0_hz = utterance(voice, text, cache_dir).f0_hz
            sound = np.zeros(len(f0_hz) * PER_TICK, np.float32)
            played = _played(voice, text)[: len(sound)]
            sound[: len(played)] = played
            begins[text] = n_ticks
            sounds.append(sound)
            pitches.append(f0_hz)
            n_ticks += len(f0_hz)
        return cls(voice=marked(np.concatenate(sounds), np.concatenate(pitches)), begins=begins)

    def at(
        self,
        rng: np.random.Generator,
        place_ticks: NDArray[np.float64],
        f0_hz: NDArray[np.float64],
        *,
        size: float,
        tilt_db: float,
        breathiness: float,
    ) -> Audio:
        """Sing them: ``(n * 240,)`` float32 for places and pitches of ``n`` ticks; as bright and breathy as is told."""
        sound = moved(rng, self.voice, place_ticks, f0_hz, size=size)[:, None]
        if breathiness > 0:
            noise = fx.filtered(rng.normal(size=(len(sound), 1)).astype(np.float32), "bandpass", BREATH_BAND_HZ, 1)
            breath = np.float32(0.5 * breathiness) * noise * fx.envelope(sound, 0.03).astype(np.float32)[:, None]
            sound = np.float32(1 - 0.6 * breathiness) * sound + breath
        curve = [(60.0, -tilt_db / 2), (250.0, -tilt_db / 2), (1500.0, 0.0), (7000.0, tilt_db / 2)]
        return shaped(sound.astype(np.float32), [*curve, (22000.0, tilt_db / 2)])[:, 0]


@lru_cache(maxsize=400)
def own_pitch(voice: Voice, cache_dir: Path | None) -> float:
    """Return the MIDI pitch at which a person talks."""
    said = [utterance(voice, text, cache_dir).f0_hz for text in texts_of(voice, "words")[:WORDS_TO_KNOW]]
    f0_hz = np.concatenate(said)
    return float(69 + 12 * np.log2(np.median(f0_hz[f0_hz > 0]) / 440)) if np.any(f0_hz > 0) else UNKNOWN_PITCH


@lru_cache(maxsize=400)
def _played(voice: Voice, text: str) -> Audio:
    """Return a recording cut as its analysis is, its loud parts at an RMS of 1."""
    full = recording(voice, text, SAMPLE_RATE_HZ)
    begin, end = vocoder.sounding(soxr.resample(full, SAMPLE_RATE_HZ, VOICE_RATE_HZ))
    times = SAMPLE_RATE_HZ // VOICE_RATE_HZ
    cut = full[begin * times : end * times]
    n_ticks = max(1, len(cut) // PER_TICK)
    power = np.mean(np.resize(cut, n_ticks * PER_TICK).reshape(n_ticks, PER_TICK) ** 2, axis=1)
    return (cut / (np.sqrt(np.percentile(power, LOUD_PERCENTILE)) + 1e-9)).astype(np.float32)
