"""Notes of plucked strings and of struck things; each maker draws a patch and returns what sounds one note."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
Tone = Callable[[np.random.Generator, float, float, float, bool], Audio]
"""``(rng, hz, length_s, velocity 0..1, is_muted) -> (n_frames,)``, with its release after ``length_s``."""
SR = SAMPLE_RATE_HZ


# Plucked strings: a period of noise that loses its highs each turn (Karplus and Strong 1983);
# all turns at once in the frequency domain.


def _string(
    *,
    decay_s: tuple[float, float],
    damping: tuple[float, float],
    pick: tuple[float, float],
    tint: float,
    buzz: float = 0.0,
    noise: float = 0.02,
) -> Callable[[np.random.Generator], Tone]:
    def patch_maker(patch: np.random.Generator) -> Tone:
        ring_s, loss, place = (patch.uniform(*pair) for pair in (decay_s, damping, pick))
        darkness = tint * patch.uniform(0.7, 1.4)
        thump, fret = patch.uniform(0.0, 0.3), noise * patch.uniform(0.3, 2.5)

        def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
            n_period = max(16, round(SR / hz))
            sound_s = min(length_s + 0.12, 7.0)
            n_turns = int(sound_s * SR / n_period) + 2
            k = np.arange(n_period // 2 + 1)
            f = k * SR / n_period
            pluck = np.fft.rfft(rng.uniform(-1.0, 1.0, n_period))
            pluck *= np.sin(np.pi * np.maximum(k, 0.3) * place) / (1 + (f / (900 + 5200 * velocity**1.5)) ** 2) ** (
                darkness / 2
            )
            pluck[0] = 0
            fade_s = ring_s * (110 / hz) ** 0.35 * (0.08 if is_muted else 1.0)
            per_turn = np.exp(-6.9 * n_period / SR / fade_s) * np.exp(
                -loss * (3.0 if is_muted else 1.0) * (f / 8000) ** 1.2 * n_period / SR * 40
            )
            turns = np.fft.irfft(
                pluck[None, :] * per_turn[None, :] ** np.arange(n_turns)[:, None], n_period, axis=1
            ).ravel()
            sound = np.interp(np.arange(0, len(turns) - 1, n_period * hz / SR), np.arange(len(turns)), turns)
            n = len(sound)
            attack = np.exp(-np.arange(n) / (0.004 * SR))
            level = float(np.abs(sound[: SR // 5]).max()) + 1e-9
            sound = sound / level + fret * attack * rng.normal(size=n)
            sound += thump * np.exp(-np.arange(n) / (0.012 * SR)) * np.sin(2 * np.pi * 110 * np.arange(n) / SR)
            if buzz:
                sound = np.tanh(sound * (1 + buzz * velocity)) / np.tanh(1 + buzz * velocity)
            return released(sound, length_s, 0.05)

        return tone

    return patch_maker


steel_string = _string(decay_s=(2.0, 5.0), damping=(0.10, 0.35), pick=(0.08, 0.25), tint=1.2, noise=0.05)
nylon_string = _string(decay_s=(1.2, 3.0), damping=(0.4, 1.0), pick=(0.12, 0.35), tint=2.4)
banjo_string = _string(decay_s=(0.4, 0.9), damping=(0.1, 0.4), pick=(0.05, 0.15), tint=0.8, noise=0.06)
electric_string = _string(decay_s=(3.0, 8.0), damping=(0.1, 0.4), pick=(0.06, 0.3), tint=1.4, noise=0.03)
dark_string = _string(decay_s=(1.5, 4.0), damping=(0.5, 1.2), pick=(0.15, 0.4), tint=3.0)
bass_string = _string(decay_s=(2.0, 6.0), damping=(0.3, 1.5), pick=(0.08, 0.3), tint=2.6)
slap_string = _string(decay_s=(1.5, 4.0), damping=(0.1, 0.4), pick=(0.05, 0.15), tint=1.2, buzz=2.5, noise=0.12)
upright_string = _string(decay_s=(0.8, 2.2), damping=(0.9, 2.0), pick=(0.2, 0.4), tint=3.4, noise=0.04)


# Struck things: partials that ring and die one by one; each a two-pole resonator excited by the hammer.


def _modal(
    n: int,
    partials_hz: NDArray[np.float64],
    levels: NDArray[np.float64],
    decays_s: NDArray[np.float64],
    phases: NDArray[np.float64],
) -> NDArray[np.float64]:
    fits = partials_hz < 0.45 * SR
    pole = np.exp(2j * np.pi * partials_hz[fits] / SR - 1 / (decays_s[fits] * SR))[:, None]
    block = 64
    inner = pole ** np.arange(block)
    outer = (pole**block) ** np.arange(n // block + 1) * (levels[fits] * np.exp(1j * phases[fits]))[:, None]
    return np.einsum("kb,kj->bj", outer, inner, optimize=True).imag.ravel()[:n]


def hammered_string(patch: np.random.Generator) -> Tone:
    """Build a piano: stiff strings, two or three per note slightly apart, hammer brightness with force, dampers."""
    stiffness, hard, ring = patch.uniform(2e-4, 8e-4), patch.uniform(0.8, 1.6), patch.uniform(2.5, 6.0)
    apart, knock = patch.uniform(0.0004, 0.002), patch.uniform(0.02, 0.15)

    def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
        n = int(min(length_s + 0.25, 8.0) * SR)
        k = np.arange(1, 1 + int(np.clip(7000 / hz, 6, 36)))
        stretched = hz * k * np.sqrt(1 + stiffness * (hz / 220) * k**2)
        levels = np.abs(np.sin(np.pi * k / 7.7)) / k**0.7 * np.exp(-k * hz / (700 + 3800 * hard * velocity))
        decays = ring * (200 / hz) ** 0.5 / (1 + 0.25 * k)
        both = np.concatenate([stretched, stretched * (1 + apart)])
        sound = _modal(
            n, both, np.tile(levels, 2), np.concatenate([decays, decays * 0.35]), rng.uniform(0, 6.3, 2 * len(k))
        )
        t = np.arange(n) / SR
        thud = lfilter([0.05], [1, -0.95], rng.normal(size=n)) * np.exp(-t / 0.02)
        sound = sound / (np.abs(sound[: SR // 4]).max() + 1e-9) * np.minimum(1, t / 0.002) + knock * thud
        return released(sound, length_s, 0.18)

    return tone


def wooden_bar(patch: np.random.Generator) -> Tone:
    """Xylophone, marimba, balafon: bars that are short and hard."""
    return struck_bar(patch, longest_s=0.45)


def struck_bar(patch: np.random.Generator, longest_s: float = 3.0) -> Tone:
    """Vibraphone, marimba, bells: partials of bars and tubes."""
    shape = ((1, 4, 10.1, 17), (1, 3.9, 9.2), (1, 2.76, 5.4, 8.9), (1, 2, 3, 4.2, 5.4))[int(patch.integers(4))]
    ring, hard = np.exp(patch.uniform(np.log(longest_s / 12), np.log(longest_s))), patch.uniform(0.3, 1.2)
    tremolo, tremolo_hz = patch.uniform(0.0, 0.4), patch.uniform(3.0, 7.0)

    def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
        n = int(min(ring * 3 + 0.2, 5.0) * SR)
        ratios = np.array(shape, float)
        levels = (hard * velocity) ** np.arange(len(shape)) * rng.uniform(0.7, 1.0, len(shape))
        sound = _modal(n, hz * ratios, levels, ring * (300 / hz) ** 0.3 / ratios**0.9, rng.uniform(0, 6.3, len(shape)))
        t = np.arange(n) / SR
        sound = sound * (1 - tremolo * (0.5 + 0.5 * np.sin(2 * np.pi * tremolo_hz * t))) + 0.1 * hard * rng.normal(
            size=n
        ) * np.exp(-t / 0.002)
        return released(sound * np.minimum(1, t / 0.001), max(length_s, ring * 2), 0.2)

    return tone


def released(sound: NDArray[np.float64], length_s: float, release_s: float) -> Audio:
    """Fade a note out after its length."""
    n_keep = min(len(sound), int((length_s + release_s) * SR))
    sound = sound[:n_keep]
    n_fade = max(2, min(n_keep, int(release_s * SR)))
    sound[-n_fade:] *= np.linspace(1.0, 0.0, n_fade) ** 2
    return sound.astype(np.float32)
