"""Drums of our own: membranes with their modes, wires, plates of metal, and the circuits of drum machines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from model_compression.data.percussion_synthesis import MAKERS
from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
N_KITS = 160
SR = SAMPLE_RATE_HZ
MEMBRANE = np.array([1.0, 1.59, 2.14, 2.30, 2.65, 2.92, 3.16, 3.50])  # zeros of Bessel functions over the first one
# An open hat is shorter, brighter and thinner than a crash.
HAT_DECAY_S = {42: (0.015, 0.09), 44: (0.015, 0.08), 46: (0.08, 0.6)}
TOM_HZ = {50: 185.0, 48: 170.0, 47: 140.0, 45: 120.0, 43: 95.0, 41: 80.0}


def struck(kit: int, key: int, velocity: float, variant: int) -> Audio:
    """One hit of a General MIDI drum key on a kit number; ``(n_frames, 2)`` float32, silence where the kit has none."""
    patch = np.random.default_rng([kit, key])
    rng = np.random.default_rng([kit, key, int(velocity * 100), variant])
    is_machine = kit % 4 in (1, 2)
    if key in (35, 36):
        mono = _machine_kick(patch, rng, velocity) if is_machine else _kick(patch, rng, velocity)
    elif key in (38, 40):
        mono = _snare(patch, rng, velocity, is_machine)
    elif key == 37:
        mono = _block(patch, rng, patch.uniform(400, 1800), 0.03)
    elif key == 39:
        mono = _clap(patch, rng)
    elif key in (42, 44, 46):
        mono = _metal(patch, rng, velocity, _log(patch, HAT_DECAY_S[key]), 5500.0)
    elif key in (49, 51, 52, 53, 55, 57, 59):
        mono = _metal(
            patch,
            rng,
            velocity,
            _log(patch, (0.7, 2.2) if key == 49 else (0.4, 1.4)),
            _log(patch, (700.0, 2600.0)) if key == 49 else _log(patch, (1800.0, 4500.0)),
        )
    elif key in TOM_HZ:
        mono = _membrane(patch, rng, velocity, TOM_HZ[key] * _log(patch, (0.7, 1.5)), _log(patch, (0.07, 0.8)), 0.15)
    elif key in MAKERS:
        mono = MAKERS[key](patch, rng, velocity)
    else:
        mono = np.zeros(1)
    return np.repeat(mono.astype(np.float32)[:, None], 2, axis=1)


def _log(patch: np.random.Generator, span: tuple[float, float]) -> float:
    return float(np.exp(patch.uniform(np.log(span[0]), np.log(span[1]))))


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(int(seconds * SR)) / SR


def _noise(
    rng: np.random.Generator, decay_s: float, low_hz: float, high_hz: float, *, seconds: float = 0.5
) -> NDArray[np.float64]:
    t = _time(seconds)
    band = butter(2, [low_hz, min(high_hz, 22000.0)], "bandpass", fs=SR, output="sos")
    return sosfilt(band, rng.normal(size=len(t))) * np.exp(-t / decay_s)


def _machine_kick(patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> NDArray[np.float64]:
    low_hz, drop, fall_s = patch.uniform(38, 62), patch.uniform(1.5, 7.0), patch.uniform(0.008, 0.06)
    decay_s = float(np.exp(patch.uniform(np.log(0.12), np.log(0.9))))
    t = _time(min(2.0, decay_s * 5))
    phase = np.cumsum(low_hz * (1 + drop * np.exp(-t / fall_s))) / SR
    body = np.sin(2 * np.pi * phase) * np.exp(-t / decay_s)
    click = patch.uniform(0.0, 0.5) * rng.normal(size=len(t)) * np.exp(-t / 0.0015)
    return np.tanh((body + click * velocity) * patch.uniform(1.0, 4.0))


def _kick(patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> NDArray[np.float64]:
    hz, decay_s = _log(patch, (40, 85)), _log(patch, (0.05, 0.35))
    t = _time(1.2)
    glide = 1 + 0.5 * velocity * np.exp(-t / 0.012)
    body = np.sin(2 * np.pi * np.cumsum(hz * glide) / SR) * np.exp(-t / decay_s)
    shell = 0.3 * np.sin(2 * np.pi * np.cumsum(hz * 1.7 * glide) / SR) * np.exp(-t / (decay_s * 0.5))
    beater = _noise(rng, patch.uniform(0.003, 0.01), patch.uniform(900, 2500), patch.uniform(4000, 9000), seconds=1.2)
    return body + shell + patch.uniform(0.2, 1.2) * (0.3 + velocity) * beater


def _membrane(
    patch: np.random.Generator, rng: np.random.Generator, velocity: float, hz: float, decay_s: float, slap: float
) -> NDArray[np.float64]:
    t = _time(float(np.clip(decay_s * 7, 0.2, 2.0)))
    glide = np.cumsum(1 + 0.12 * velocity * np.exp(-t / 0.04)) / SR
    levels = rng.uniform(0.5, 1.0, len(MEMBRANE)) * (0.3 + 0.5 * velocity) ** np.arange(len(MEMBRANE))
    tone = np.zeros(len(t))
    for i, (level, mode) in enumerate(zip(levels, MEMBRANE, strict=True)):
        tone += level * np.sin(2 * np.pi * hz * mode * glide) * np.exp(-t * (1 + 0.5 * i) / decay_s)
    skin = _noise(rng, 0.008, 800, 9000, seconds=0.08)
    tone[: len(skin)] += slap * patch.uniform(0.5, 1.5) * skin
    return tone


def _snare(
    patch: np.random.Generator, rng: np.random.Generator, velocity: float, is_machine: bool
) -> NDArray[np.float64]:
    hz, decay_s = _log(patch, (130, 340)), _log(patch, (0.03, 0.25))
    drum = _membrane(patch, rng, velocity, hz, decay_s, 0.5)
    wires = _noise(rng, _log(patch, (0.03, 0.3)), patch.uniform(900, 2500), patch.uniform(7000, 14000), seconds=0.9)
    n = max(len(drum), len(wires))
    mix = np.pad(drum, (0, n - len(drum))) * patch.uniform(0.4, 1.0) + patch.uniform(0.8, 2.2) * (
        0.3 + 0.7 * velocity
    ) * np.pad(wires, (0, n - len(wires)))
    return np.tanh(mix * 2.0) if is_machine else mix


def _clap(patch: np.random.Generator, rng: np.random.Generator) -> NDArray[np.float64]:
    burst = _noise(rng, 1.0, patch.uniform(700, 1100), patch.uniform(2500, 6000))
    t = _time(0.5)
    gaps = np.cumsum(patch.uniform(0.006, 0.014, 3))
    shape = sum(np.where(t >= g, np.exp(-(t - g) / 0.004), 0.0) for g in (0.0, *gaps[:2]))
    return burst * (shape + np.where(t >= gaps[2], np.exp(-(t - gaps[2]) / patch.uniform(0.05, 0.18)), 0.0))


def _metal(
    patch: np.random.Generator, rng: np.random.Generator, velocity: float, decay_s: float, low_hz: float
) -> NDArray[np.float64]:
    t = _time(min(4.0, decay_s * 6 + 0.05))
    partials = np.sort(patch.uniform(300, 12000, 28))
    ringing = np.zeros(len(t))
    for hz in partials:
        ringing += (
            patch.uniform(0.2, 1.0)
            * np.sin(2 * np.pi * hz * t + rng.uniform(0, 6.3))
            * np.exp(-t * (0.6 + hz / 9000) / decay_s)
        )
    hiss = rng.normal(size=len(t)) * np.exp(-t / (decay_s * patch.uniform(0.5, 0.9)))
    mix = ringing / 5 * patch.uniform(0.3, 1.0) + hiss * patch.uniform(0.5, 1.0)
    high = butter(
        2, min(low_hz * patch.uniform(0.7, 1.3) * (1.2 - 0.4 * velocity), 12000.0), "highpass", fs=SR, output="sos"
    )
    low = butter(1, _log(patch, (3500.0, 18000.0)), "lowpass", fs=SR, output="sos")
    return sosfilt(low, sosfilt(high, mix)) * np.minimum(1.0, t / 0.0008)


def _block(patch: np.random.Generator, rng: np.random.Generator, hz: float, decay_s: float) -> NDArray[np.float64]:
    t = _time(max(0.2, decay_s * 6))
    tone = np.sin(2 * np.pi * hz * t) + 0.6 * np.sin(2 * np.pi * hz * patch.uniform(1.4, 2.7) * t)
    return tone * np.exp(-t / decay_s) + 0.3 * rng.normal(size=len(t)) * np.exp(-t / 0.002)
