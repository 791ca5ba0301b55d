"""Effects that are no instrument: clouds of grains, reversed hits, impacts, drops, bleeps, glitches and drones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_compression.data import drum_kits, instruments
from model_compression.data import effects_chain as fx
from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
SR = SAMPLE_RATE_HZ
CLOUD_ROLES = ("synth", "strings", "piano", "woodwind", "other", "elec_guitar")


def texture(rng: np.random.Generator, split: str, n_frames: int) -> Audio:
    """Draw one kind and let it come once or several times; ``(n_frames, 2)`` float32, peak 0.5."""
    make = (_cloud, _reversed, _impact, _bleeps, _glitch, _drone)[int(rng.integers(6))]
    out = make(rng, split, n_frames)
    if rng.random() < 0.5:
        out = fx.reverberant(rng, out, fx.log_uniform(rng, 0.4, 3.0), rng.uniform(0.1, 0.8))
    if rng.random() < 0.3:
        out = fx.delayed(rng, out, rng.uniform(0.08, 0.5), rng.uniform(0.2, 0.7))
    return (out * np.float32(0.5 / fx.peak_of(out))).astype(np.float32)


def _placed(rng: np.random.Generator, n_frames: int, make: list[Audio], gap_s: tuple[float, float]) -> Audio:
    out = np.zeros((n_frames, 2), np.float32)
    at = int(rng.uniform(0.02, 0.4) * SR)
    while at < n_frames - SR // 10:
        sound = make[int(rng.integers(len(make)))][: n_frames - at]
        out[at : at + len(sound)] += (
            sound * np.float32(rng.uniform(0.4, 1.0)) * rng.dirichlet((3, 3)).astype(np.float32)
        )
        at += int(max(0.02, rng.uniform(*gap_s)) * SR)
    return out


def _cloud(rng: np.random.Generator, split: str, n_frames: int) -> Audio:
    """Grains of an instrument, far from how it is played."""
    family = instruments.choose(rng, split, role=str(rng.choice(CLOUD_ROLES)))
    centre = sum(family.range) // 2
    notes = tuple(
        Note(begin_s=0.3 * i, length_s=0.5, pitch=centre + int(rng.integers(-5, 6)), velocity=0.7) for i in range(4)
    )
    source = instruments.play(rng, family, notes, 2 * SR)
    n_grain = int(fx.log_uniform(rng, 0.02, 0.25) * SR)
    window = np.hanning(n_grain).astype(np.float32)[:, None]
    ratios = 2 ** (rng.choice([-12, -7, 0, 0, 5, 7, 12, 19], 12) / 12)
    grains = []
    for ratio in ratios:
        begin = rng.uniform(0, len(source) - 4 * n_grain - 2) if len(source) > 4 * n_grain + 2 else 0.0
        place = np.minimum(begin + np.arange(n_grain) * ratio, len(source) - 1)
        grain = np.interp(place, np.arange(len(source)), source[:, 0]).astype(np.float32)[:, None]
        grains.append((grain[::-1] if rng.random() < 0.4 else grain) * window)
    return _placed(rng, n_frames, grains, (0.005, n_grain / SR * rng.uniform(0.4, 2.0)))


def _reversed(rng: np.random.Generator, split: str, n_frames: int) -> Audio:
    """Cymbals and drums backwards."""
    kit = drum_kits.choose_with(rng, split, ("acoustic", "electronic"), (49, 38))
    sounds = []
    for key in (49, 49, 38):
        note = Note(begin_s=0.0, length_s=0.1, pitch=key, velocity=0.8)
        hit = drum_kits.hits(rng, kit, drum_kits.tuning(rng), (note,), int(rng.uniform(0.8, 2.5) * SR))
        wet = fx.reverberant(rng, hit, rng.uniform(0.8, 2.5), rng.uniform(0.2, 1.0))
        sounds.append(np.ascontiguousarray(wet[::-1]))
    return _placed(rng, n_frames, sounds, (0.6, 3.0))


def _impact(rng: np.random.Generator, split: str, n_frames: int) -> Audio:
    """Drop a boom, with dust around it."""
    t = np.arange(int(rng.uniform(1.0, 3.5) * SR)) / SR
    from_hz, to_hz, fall_s = fx.log_uniform(rng, 90, 900), rng.uniform(25, 60), fx.log_uniform(rng, 0.08, 1.0)
    phase = 2 * np.pi * np.cumsum(to_hz + (from_hz - to_hz) * np.exp(-t / fall_s)) / SR
    noise = rng.normal(size=(len(t), 1)).astype(np.float32)
    dust = fx.filtered(noise, "bandpass", (100, fx.log_uniform(rng, 800, 9000)), 1)
    boom = np.tanh(rng.uniform(1, 5) * np.sin(phase)) * np.exp(-t / rng.uniform(0.3, 1.2))
    sound = boom[:, None] + rng.uniform(0.2, 2) * dust * np.exp(-t / rng.uniform(0.1, 0.8))[:, None]
    return _placed(rng, n_frames, [sound.astype(np.float32)], (1.5, 4.0))


def _bleeps(rng: np.random.Generator, split: str, n_frames: int) -> Audio:
    """Short tones that slide, as of machines and games."""
    sounds = []
    for _ in range(5):
        t = np.arange(int(fx.log_uniform(rng, 0.04, 0.8) * SR)) / SR
        hz = fx.log_uniform(rng, 120, 4000) * 2 ** (rng.uniform(-3, 3) * t / t[-1])
        wobble = 1 + rng.uniform(0, 0.5) * np.sin(2 * np.pi * fx.log_uniform(rng, 3, 60) * t)
        wave = np.sin(2 * np.pi * np.cumsum(hz * wobble) / SR)
        wave = np.sign(wave) if rng.random() < 0.4 else wave
        sounds.append((0.5 * wave * np.sin(np.pi * np.sqrt(t / t[-1]))).astype(np.float32)[:, None])
    return _placed(rng, n_frames, sounds, (0.05, rng.uniform(0.2, 1.5)))


def _glitch(rng: np.random.Generator, split: str, n_frames: int) -> Audio:
    """Scraps of noise and of a hit, stuttered and crushed."""
    kit = drum_kits.choose_with(rng, split, ("electronic",), (38, 42))
    sounds = []
    for key in (38, 42, 0, 0):
        if key:
            note = Note(begin_s=0.0, length_s=0.1, pitch=key, velocity=0.8)
            scrap = drum_kits.hits(rng, kit, drum_kits.tuning(rng), (note,), SR // 4)[:, :1]
        else:
            scrap = rng.normal(size=(SR // 4, 1)).astype(np.float32) * np.float32(0.4)
        piece = fx.crushed(
            scrap[: int(rng.uniform(0.005, 0.06) * SR)], int(rng.integers(3, 9)), int(rng.integers(2, 24))
        )
        sounds.append(np.tile(piece, (int(rng.integers(2, 14)), 1)))
    return _placed(rng, n_frames, sounds, (0.05, 1.2))


def _drone(rng: np.random.Generator, split: str, n_frames: int) -> Audio:
    """Let partials come and go over dark noise."""
    t = np.arange(n_frames) / SR
    base_hz = fx.log_uniform(rng, 40, 260)
    out = np.zeros((n_frames, 2))
    for _ in range(7):
        hz = base_hz * (rng.integers(1, 9) if rng.random() < 0.6 else rng.uniform(1, 9))
        swell = (0.5 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.05, 0.6) * t + rng.random()))) ** 2
        out += np.outer(
            swell * np.sin(2 * np.pi * hz * t + 2 * np.sin(2 * np.pi * rng.uniform(0.1, 5) * t)), rng.dirichlet((2, 2))
        )
    air = fx.filtered(
        rng.normal(size=(n_frames, 2)).astype(np.float32), "bandpass", (100, fx.log_uniform(rng, 500, 6000)), 1
    )
    edge = np.minimum(1.0, np.minimum(t, t[::-1]) / rng.uniform(0.2, 1.5))[:, None]
    return ((out + rng.uniform(0.0, 1.5) * air) * edge).astype(np.float32)
