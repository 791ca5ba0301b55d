"""Electronic patches beyond wavetables: sines that bend sines, and chords on one key."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model_compression.data.synthesis_strings import Tone
from model_compression.data.synthesis_tones import SR, Audio, Span, envelope, sharp_wave


def _modulated(
    *, attack_s: Span, decay_s: Span, sustain: Span, ratios: tuple[float, ...], index: Span
) -> Callable[[np.random.Generator], Tone]:
    """Two or three sines that bend each other's phase (Chowning 1973)."""

    def patch_maker(patch: np.random.Generator) -> Tone:
        attack, decay, hold, depth = (
            np.exp(patch.uniform(*np.log(pair))) for pair in (attack_s, decay_s, sustain, index)
        )
        first, second = float(patch.choice(ratios)), float(patch.choice(ratios))
        fall_s, feedback, layer = (
            np.exp(patch.uniform(np.log(0.02), np.log(1.0))),
            patch.uniform(0, 0.6),
            patch.random(),
        )
        drop, release = patch.uniform(0, 7) * (patch.random() < 0.3), np.exp(patch.uniform(np.log(0.03), np.log(0.6)))

        def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
            n = int((length_s + release) * SR)
            t = np.arange(n) / SR
            phase = 2 * np.pi * np.cumsum(hz * 2 ** (drop * np.exp(-t / 0.03) / 12)) / SR
            bend = depth * (0.3 + velocity) * (0.2 + 0.8 * np.exp(-t / fall_s))
            bender = np.sin(first * phase + feedback * np.sin(first * phase))
            sound = np.sin(phase + bend * bender) + 0.6 * layer * np.sin(second * phase + 0.5 * bend * bender)
            length = length_s * (0.4 if is_muted else 1.0)
            return (0.4 * sound * envelope(n, length, attack, decay, hold, release)).astype(np.float32)

        return tone

    return patch_maker


fm_bass = _modulated(
    attack_s=(0.001, 0.01), decay_s=(0.08, 0.8), sustain=(0.05, 0.8), ratios=(0.5, 1, 1, 2, 3), index=(0.3, 5)
)
fm_synth = _modulated(
    attack_s=(0.001, 0.5), decay_s=(0.05, 2), sustain=(0.01, 1), ratios=(0.5, 1, 1.41, 2, 3, 3.5, 5, 7), index=(0.3, 8)
)


def chord_wave(patch: np.random.Generator) -> Tone:
    """Build a stab or a pad that holds a whole chord on every key."""
    one = sharp_wave(patch)
    shape = ((0, 3, 7), (0, 4, 7), (0, 3, 7, 10), (0, 4, 7, 11), (0, 5, 7), (0, 7, 12), (0, 3, 7, 10, 14))[
        int(patch.integers(7))
    ]

    def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
        sounds = [one(rng, hz * 2 ** (s / 12), length_s, velocity, is_muted) for s in shape]
        return np.sum(sounds, axis=0) / np.float32(np.sqrt(len(shape)))

    return tone
