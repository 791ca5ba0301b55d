"""Notes of wavetables, organs, FM, bows and breath; each maker draws a patch and returns what sounds one note."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.synthesis_strings import Tone, released

Audio = NDArray[np.float32]
Span = tuple[float, float]
"""From what to what a patch may draw."""
TABLE = 2048
N_BRIGHT = 8
SR = SAMPLE_RATE_HZ


# Wavetables: a bank from dark to bright, read with an envelope of brightness; unison voices beat.


def _bank(
    spectrum: NDArray[np.float64], hz: float, lowest: float, highest: float, resonance: float = 0.0
) -> NDArray[np.float64]:
    k = np.arange(1, len(spectrum) + 1)
    audible = np.where(k * hz < 0.46 * SR, 1.0, 0.0)
    corners = np.geomspace(max(lowest, hz * 1.2), max(highest, hz * 2.0), N_BRIGHT)
    above = k[None, :] * hz / corners[:, None]
    slopes = 1 / (1 + above**4) + resonance * np.exp(-((np.log2(above) / 0.2) ** 2))
    phases = np.zeros((N_BRIGHT, TABLE // 2 + 1), complex)
    phases[:, 1 : len(k) + 1] = -1j * spectrum * audible * slopes
    return np.fft.irfft(phases, TABLE, axis=1) * TABLE / 2


def _read(bank: NDArray[np.float64], phase: NDArray[np.float64], bright: NDArray[np.float64]) -> NDArray[np.float64]:
    place = np.clip(bright, 0.0, 0.9999) * (N_BRIGHT - 1)
    low = place.astype(np.int32)
    at = ((phase % 1.0) * TABLE).astype(np.int32) % TABLE
    share = place - low
    return bank[low, at] * (1 - share) + bank[low + 1, at] * share


def envelope(
    n: int, length_s: float, attack_s: float, decay_s: float, sustain: float, release_s: float
) -> NDArray[np.float64]:
    """Rise, fall to what is held, and release after the length of the note."""
    t = np.arange(n) / SR
    body = np.minimum(1.0, t / max(attack_s, 1e-3)) * (
        sustain + (1 - sustain) * np.exp(-np.maximum(0.0, t - attack_s) / max(decay_s, 1e-3))
    )
    return body * np.exp(-np.maximum(0.0, t - length_s) / (release_s / 4))


SPECTRA: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "saw": lambda k: 1 / k,
    "square": lambda k: (k % 2) / k,
    "pulse": lambda k: np.sin(np.pi * k * 0.2) / k,
    "triangle": lambda k: (k % 2) / k**2,
    "vocal": lambda k: np.exp(-(((k - 4) / 2.5) ** 2)) + 0.6 * np.exp(-(((k - 11) / 3) ** 2)) + 0.3 / k,
    "digital": lambda k: np.where(np.isin(k, (1, 3, 4, 7, 9, 13)), 1 / np.sqrt(k), 0.0),
}


def _wave(
    *,
    attack_s: Span,
    decay_s: Span,
    sustain: Span,
    release_s: Span,
    top_hz: Span,
    n_unison: tuple[int, int] = (1, 4),
    drive: float = 0.0,
    spectra: tuple[str, ...] = tuple(SPECTRA),
    glide: float = 0.0,
    resonance: Span = (0.0, 0.0),
    opening_s: Span = (0.03, 0.9),
) -> Callable[[np.random.Generator], Tone]:
    def patch_maker(patch: np.random.Generator) -> Tone:
        attack, decay, hold, release, top = (
            np.exp(patch.uniform(*np.log(np.maximum(pair, 1e-3))))
            for pair in (attack_s, decay_s, sustain, release_s, top_hz)
        )
        spectrum = SPECTRA[str(patch.choice(spectra))](np.arange(1, 513, dtype=float))
        voices = int(patch.integers(n_unison[0], n_unison[1] + 1))
        detune = patch.uniform(0.0, 18.0) * np.linspace(-1, 1, voices) if voices > 1 else np.zeros(1)
        sweep, opening = patch.uniform(0.2, 0.9), np.exp(patch.uniform(*np.log(opening_s)))
        wobble_hz, wobble = patch.uniform(0.1, 6.0), patch.uniform(0.0, 0.15)
        sub, dirt, slide = patch.uniform(0.0, 0.5), drive * patch.random(), glide * patch.uniform(0.0, 12.0)
        peak = patch.uniform(*resonance)

        def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
            n = int((length_s + release) * SR)
            t = np.arange(n) / SR
            bank = _bank(spectrum, hz, 250.0, top, peak)
            bright = velocity * (0.35 + sweep * np.exp(-t / opening)) + wobble * np.sin(2 * np.pi * wobble_hz * t)
            bend = 2 ** (slide * np.exp(-t / 0.03) / 12)
            sound = np.zeros(n)
            for cents in detune:
                phase = rng.random() + np.cumsum(bend) * (hz * 2 ** (cents / 1200) / SR)
                sound += _read(bank, phase, bright)
            sound = sound / np.sqrt(len(detune)) + sub * np.sin(np.pi * hz * t)
            if dirt > 0.1:
                sound = np.tanh(sound * (1 + 4 * dirt))
            return (
                0.4 * sound * envelope(n, length_s * (0.4 if is_muted else 1.0), attack, decay, hold, release)
            ).astype(np.float32)

        return tone

    return patch_maker


bass_wave = _wave(
    attack_s=(0.002, 0.02),
    decay_s=(0.1, 0.8),
    sustain=(0.3, 0.9),
    release_s=(0.05, 0.2),
    top_hz=(500, 4000),
    n_unison=(1, 2),
    drive=0.8,
    spectra=("saw", "square", "pulse", "triangle"),
)
acid_wave = _wave(
    attack_s=(0.001, 0.006),
    decay_s=(0.08, 0.6),
    sustain=(0.05, 0.9),
    release_s=(0.02, 0.1),
    top_hz=(800, 6000),
    n_unison=(1, 1),
    drive=1.0,
    spectra=("saw", "square"),
    glide=0.6,
    resonance=(0.5, 4.0),
    opening_s=(0.03, 0.4),
)
sub_wave = _wave(
    attack_s=(0.002, 0.01),
    decay_s=(0.4, 1.5),
    sustain=(0.2, 0.7),
    release_s=(0.1, 0.4),
    top_hz=(260, 500),
    n_unison=(1, 1),
    drive=0.7,
    spectra=("triangle",),
    glide=1.0,
)
lead_wave = _wave(
    attack_s=(0.002, 0.05),
    decay_s=(0.1, 1.0),
    sustain=(0.4, 1.0),
    release_s=(0.05, 0.4),
    top_hz=(2000, 14000),
    n_unison=(1, 5),
    drive=0.4,
)
pad_wave = _wave(
    attack_s=(0.15, 0.9),
    decay_s=(0.5, 3.0),
    sustain=(0.6, 1.0),
    release_s=(0.3, 1.5),
    top_hz=(900, 7000),
    n_unison=(3, 6),
)
pluck_wave = _wave(
    attack_s=(0.001, 0.004),
    decay_s=(0.08, 0.5),
    sustain=(0.001, 0.15),
    release_s=(0.05, 0.5),
    top_hz=(2000, 12000),
    n_unison=(1, 3),
)


sharp_wave = _wave(
    attack_s=(0.001, 0.3),
    decay_s=(0.05, 1.5),
    sustain=(0.01, 1.0),
    release_s=(0.03, 1.0),
    top_hz=(700, 14000),
    n_unison=(1, 7),
    drive=0.6,
    glide=0.5,
    resonance=(0.0, 3.0),
    opening_s=(0.02, 3.0),
)


def drawbar_wave(patch: np.random.Generator) -> Tone:
    """Drawbar organ: nine sines, key click, a rotor that turns."""
    bars = np.array([0.5, 1.5, 1, 2, 3, 4, 5, 6, 8])
    levels = patch.random(9) ** 1.5 * np.array([1, 0.7, 1, 0.8, 0.6, 0.5, 0.3, 0.3, 0.4])
    levels[2] = max(levels[2], 0.5)
    rotor_hz, click, dirt = float(patch.choice([0.8, 6.6])), patch.uniform(0.0, 0.3), patch.uniform(0.0, 1.5)

    def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
        n = int((length_s + 0.06) * SR)
        t = np.arange(n) / SR
        swirl = np.sin(2 * np.pi * rotor_hz * t + rng.random())
        sound = sum(
            a * np.sin(2 * np.pi * hz * b * t + 0.2 * b * swirl)
            for a, b in zip(levels, bars, strict=True)
            if hz * b < 0.45 * SR
        )
        sound = sound * (1 + 0.15 * swirl) + click * rng.normal(size=n) * np.exp(-t / 0.003)
        return released(np.tanh(0.35 * (1 + dirt) * sound), length_s, 0.03)

    return tone


def fm_piano(patch: np.random.Generator) -> Tone:
    """Electric piano of two FM pairs: tine and body (Chowning 1973)."""
    ratio, depth, ring = float(patch.choice([1, 1, 2, 3])), patch.uniform(0.6, 2.4), patch.uniform(1.0, 3.0)
    tine_ratio, tine = float(patch.choice([7, 11, 14])), patch.uniform(0.03, 0.25)
    tremolo, tremolo_hz = patch.uniform(0.0, 0.4), patch.uniform(3.0, 7.0)

    def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
        n = int((length_s + 0.2) * SR)
        t = np.arange(n) / SR
        index = depth * velocity * 1.6 * np.exp(-t / 0.5)
        body = np.sin(2 * np.pi * hz * t + index * np.sin(2 * np.pi * hz * ratio * t))
        bell = tine * velocity * np.exp(-t / 0.15) * np.sin(2 * np.pi * min(hz * tine_ratio, 15000.0) * t)
        fade = np.exp(-t / (ring * (220 / hz) ** 0.3))
        return released(
            0.6 * (body * fade + bell) * (1 - tremolo * (0.5 + 0.5 * np.sin(2 * np.pi * tremolo_hz * t))),
            length_s,
            0.12,
        )

    return tone


# Bowed and blown: harmonics whose brightness follows loudness, breath or bow noise, vibrato that comes in late.


def _sustained(
    spectrum: Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]],
    *,
    attack_s: Span,
    noise: Span,
    noise_hz: float,
    top_hz: Span,
    vibrato_cents: Span,
    n_players: tuple[int, int] = (1, 1),
    scoop: float = 0.3,
) -> Callable[[np.random.Generator], Tone]:
    def patch_maker(patch: np.random.Generator) -> Tone:
        harmonics = spectrum(np.arange(1, 129, dtype=float), patch)
        attack, airy, top, depth = (patch.uniform(*pair) for pair in (attack_s, noise, top_hz, vibrato_cents))
        rate_hz, players, slide = (
            patch.uniform(4.6, 6.4),
            int(patch.integers(n_players[0], n_players[1] + 1)),
            scoop * patch.random(),
        )

        def tone(rng: np.random.Generator, hz: float, length_s: float, velocity: float, is_muted: bool) -> Audio:
            n = int((length_s + 0.15) * SR)
            t = np.arange(n) / SR
            swell = 1 - rng.uniform(0.0, 0.4) * np.cos(np.pi * np.minimum(t / max(length_s, 0.1), 1) * 2) ** 2
            level = envelope(n, length_s, attack * (0.5 + (1 - velocity)), 0.3, rng.uniform(0.7, 0.95), 0.12) * swell
            bank = _bank(harmonics, hz, max(400.0, hz), top * (0.35 + 0.9 * velocity))
            sound = np.zeros(n)
            for _ in range(players):
                late = np.clip((t - rng.uniform(0.1, 0.4)) / 0.4, 0, 1)
                shake = (
                    depth
                    * rng.uniform(0.6, 1.3)
                    * late
                    * np.sin(2 * np.pi * (rate_hz * rng.uniform(0.9, 1.1) * t + rng.random()))
                )
                shake += rng.normal(0.0, 5.0 if players > 1 else 2.0) - 100 * slide * np.exp(-t / 0.05)
                shake += np.interp(
                    t, np.arange(0, t[-1] + 0.2, 0.1), rng.normal(0.0, 3.0, len(np.arange(0, t[-1] + 0.2, 0.1)))
                )
                sound += _read(bank, rng.random() + np.cumsum(2 ** (shake / 1200)) * hz / SR, 0.15 + 0.85 * level)
            pole = np.exp(-2 * np.pi * noise_hz / SR)
            hiss = lfilter([1, -1], [1, -pole], rng.normal(size=n)) * (0.4 + 0.6 * np.exp(-t / 0.08))
            return (0.4 * level * (sound / np.sqrt(players) + airy * hiss)).astype(np.float32)

        return tone

    return patch_maker


def _formants(
    *peaks: tuple[float, float, float],
) -> Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]:
    """Harmonic levels with bumps at ``(harmonic, width, level)``, each patch a little different."""

    def spectrum(k: NDArray[np.float64], patch: np.random.Generator) -> NDArray[np.float64]:
        slope = patch.uniform(0.8, 1.3)
        bumps = sum(
            level * patch.uniform(0.6, 1.4) * np.exp(-(((k - at * patch.uniform(0.85, 1.15)) / width) ** 2))
            for at, width, level in peaks
        )
        return (1 / k**slope) * (0.5 + bumps) * np.exp(patch.normal(0.0, 0.3, len(k)))

    return spectrum


def _odd(k: NDArray[np.float64], patch: np.random.Generator) -> NDArray[np.float64]:
    return np.where(k % 2 == 1, 1.0, patch.uniform(0.03, 0.2)) / k ** patch.uniform(0.9, 1.4)


bowed_one = _sustained(
    _formants((3, 2, 0.6), (7, 3, 0.7)),
    attack_s=(0.03, 0.15),
    noise=(0.005, 0.04),
    noise_hz=2500,
    top_hz=(3500, 9000),
    vibrato_cents=(10, 35),
)
bowed_many = _sustained(
    _formants((3, 2, 0.5), (6, 3, 0.5)),
    attack_s=(0.08, 0.4),
    noise=(0.005, 0.03),
    noise_hz=2500,
    top_hz=(3000, 9000),
    vibrato_cents=(8, 25),
    n_players=(3, 5),
)
flute = _sustained(
    _formants((1, 0.8, 3.0), (2, 0.8, 1.0)),
    attack_s=(0.03, 0.1),
    noise=(0.02, 0.12),
    noise_hz=1200,
    top_hz=(1800, 4500),
    vibrato_cents=(5, 25),
)
clarinet = _sustained(
    _odd, attack_s=(0.02, 0.08), noise=(0.003, 0.03), noise_hz=1500, top_hz=(1500, 5000), vibrato_cents=(0, 8)
)
saxophone = _sustained(
    _formants((2, 1.5, 1.0), (5, 2, 0.8)),
    attack_s=(0.02, 0.07),
    noise=(0.02, 0.1),
    noise_hz=1800,
    top_hz=(3000, 8000),
    vibrato_cents=(5, 30),
    scoop=0.8,
)
trumpet = _sustained(
    _formants((3, 2.5, 1.6), (7, 3, 0.8)),
    attack_s=(0.015, 0.06),
    noise=(0.002, 0.02),
    noise_hz=2000,
    top_hz=(3500, 10000),
    vibrato_cents=(0, 20),
)
brass_many = _sustained(
    _formants((3, 2.5, 1.4), (7, 3, 0.8)),
    attack_s=(0.02, 0.07),
    noise=(0.002, 0.02),
    noise_hz=2000,
    top_hz=(3500, 9000),
    vibrato_cents=(0, 12),
    n_players=(2, 4),
)
