"""Drum patches of the DrumSynth format (``.ds``): tone, noise, two overtones and two bands, rendered our own way."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from model_compression.data.ingredients import MissingIngredient
from model_compression.data.performance import SAMPLE_RATE_HZ

Audio = NDArray[np.float32]
Mono = NDArray[np.float64]
SR = SAMPLE_RATE_HZ
FILE_RATE_HZ = 44100
LONGEST_S = 4.0
Section = dict[str, str]


def render(path: Path) -> Audio:
    """Sound of a patch, ``(n_frames, 2)``, peak 1; the same file gives the same bytes.

    Raises
    ------
    MissingIngredient
        Naming the file, where it is not there or nothing in it sounds.
    """
    try:
        text = path.read_text(encoding="latin-1")
    except OSError as error:
        raise MissingIngredient(f"{path} cannot be read; apt install lmms-common") from error
    parts = {m[1].lower(): _section(m[2]) for m in re.finditer(r"\[(\w+)\]([^\[]*)", text)}
    general = parts.get("general", {})
    pitch, stretch = 2 ** (_number(general, "tuning") / 12), np.clip(_number(general, "stretch", 100.0) / 100, 0.1, 4.0)
    rng = np.random.default_rng(len(text))
    makers = {"tone": _tone, "noise": _noise, "overtones": _overtones, "noiseband": _band, "noiseband2": _band}
    layers = [
        (_number(part, "level", 128.0) / 128) ** 2 * makers[name](rng, part, pitch, float(stretch))
        for name, part in parts.items()
        if name in makers and _number(part, "on") == 1
    ]
    mix = np.zeros(max((len(layer) for layer in layers), default=0))
    for layer in layers:
        mix[: len(layer)] += layer
    if _number(parts.get("distortion", {}), "on") == 1:
        mix = np.tanh(mix * 10 ** (_number(parts["distortion"], "clipping") / 20))
    peak = float(np.abs(mix).max(initial=0.0))
    if peak < 1e-6:
        raise MissingIngredient(f"{path} makes no sound; apt install --reinstall lmms-common")
    return np.repeat((mix / peak).astype(np.float32)[:, None], 2, axis=1)


def _section(body: str) -> Section:
    return {key.lower(): value.strip() for key, value in re.findall(r"^\s*(\w+)=(.*)$", body, re.MULTILINE)}


def _number(part: Section, key: str, default: float = 0.0) -> float:
    try:
        return float(part.get(key, default))
    except ValueError:
        return default


def _contour(part: Section, key: str, stretch: float) -> Mono:
    """Piecewise linear envelope of ``frame,percent`` points; it ends with its last point."""
    points = [(float(a), float(b)) for a, b in re.findall(r"(-?[\d.]+),(-?[\d.]+)", part.get(key, ""))] or [(0.0, 0.0)]
    seconds = np.maximum.accumulate([max(0.0, p[0]) * stretch / FILE_RATE_HZ for p in points])
    t = np.arange(int(min(LONGEST_S, seconds[-1]) * SR) + 1) / SR
    return np.interp(t, seconds, [p[1] / 100 for p in points])


def _tone(rng: np.random.Generator, part: Section, pitch: float, stretch: float) -> Mono:
    level = _contour(part, "envelope", stretch)
    t = np.arange(len(level)) / SR
    from_hz, to_hz, droop = (_number(part, k) for k in ("f1", "f2", "droop"))
    share = t / t[-1] if droop == 0 and len(t) > 1 else 1 - np.exp(-t * (4.0 + droop**2 / 25.0) / stretch)
    hz = np.clip(pitch * (from_hz + (to_hz - from_hz) * share), 0.0, 0.45 * SR)
    return level * np.sin(2 * np.pi * np.cumsum(hz) / SR + np.deg2rad(_number(part, "phase")))


def _noise(rng: np.random.Generator, part: Section, pitch: float, stretch: float) -> Mono:
    level = _contour(part, "envelope", stretch)
    slope, white = _number(part, "slope"), rng.uniform(-1.0, 1.0, len(level))
    if slope < 0:  # darker
        pole = min(0.98, -slope / 102)
        white = lfilter([1 - pole], [1, -pole], white) * (1 + 4 * pole)
    elif slope > 0:  # brighter
        white = white - min(0.98, slope / 102) * lfilter([0.4], [1, -0.6], white)
    return level * white


def _overtones(rng: np.random.Generator, part: Section, pitch: float, stretch: float) -> Mono:
    first, second = _contour(part, "envelope1", stretch), _contour(part, "envelope2", stretch)
    n = max(len(first), len(second))
    first, second = np.pad(first, (0, n - len(first))), np.pad(second, (0, n - len(second)))
    phases = [2 * np.pi * pitch * _number(part, key, 200.0) * np.arange(n) / SR for key in ("f1", "f2")]
    shapes = [int(_number(part, key)) for key in ("wave1", "wave2")]
    method, amount = int(_number(part, "method")), _number(part, "param", 50.0) / 100
    one, two = (_shaped(p, s) for p, s in zip(phases, shapes, strict=True))
    if method == 0:
        return 0.5 * (first * one + second * two)
    if method == 1:  # the second bends the first
        return first * _shaped(phases[0] + 2 * np.pi * amount * second * two, shapes[0])
    if method == 2:  # the second multiplies the first
        return first * one * ((1 - amount) + amount * second * two)
    metal = sum(np.sign(np.sin(phases[i % 2] * r)) for i, r in enumerate((1.0, 1.0, 1.34, 1.71, 2.09, 2.71)))
    corner = np.clip(500.0 + 90 * amount * 100, 300.0, 0.4 * SR)
    return sosfilt(butter(2, corner, "highpass", fs=SR, output="sos"), metal / 4) * np.maximum(first, second)


def _shaped(phase: Mono, shape: int) -> Mono:
    wave = np.sin(phase)
    if shape == 1:
        return wave**2 * np.sign(wave)
    if shape == 2:
        return np.arcsin(np.clip(wave, -1, 1)) * 2 / np.pi
    if shape == 3:
        return (phase / np.pi) % 2 - 1
    return np.sign(wave) if shape >= 4 else wave


def _band(rng: np.random.Generator, part: Section, pitch: float, stretch: float) -> Mono:
    level = _contour(part, "envelope", stretch)
    centre_hz, width_hz = pitch * _number(part, "f", 1000.0), 30.0 + 60.0 * _number(part, "df", 50.0)
    slow = sosfilt(butter(1, np.clip(width_hz / 2, 20, 0.2 * SR), fs=SR, output="sos"), rng.normal(size=len(level)))
    slow = slow / (np.abs(slow).max() + 1e-9)
    return level * slow * np.sin(2 * np.pi * min(centre_hz, 0.45 * SR) * np.arange(len(level)) / SR)
