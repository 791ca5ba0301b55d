"""Percussion of our own: tuned skins with a gliding pitch, wood, bells, rattles, scrapers and rolls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from model_compression.data.performance import SAMPLE_RATE_HZ

SR = SAMPLE_RATE_HZ
Mono = NDArray[np.float64]
Maker = Callable[[np.random.Generator, np.random.Generator, float], Mono]
"""``(patch, rng, velocity)``: the patch is the instrument, ``rng`` this stroke."""
Span = tuple[float, float]
SKIN = np.array([1.0, 1.59, 2.14, 2.30, 2.65, 2.92, 3.16])
LOADED_SKIN = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.1])  # a tabla's paste makes its modes harmonic (Raman 1934)
BAR = np.array([1.0, 2.76, 5.40, 8.93])
TUNED_BAR = np.array([1.0, 3.9, 9.2, 14.0])
BELL = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0, 4.2])  # hum, prime, minor third, fifth, nominal and above
TRIANGLE = np.array([1.0, 1.9, 2.8, 3.9, 5.1, 6.4])
COWBELL = np.array([1.0, 1.48, 2.1, 3.3, 4.6])


def _log(patch: np.random.Generator, span: Span) -> float:
    return float(np.exp(patch.uniform(np.log(span[0]), np.log(span[1]))))


def _time(seconds: float) -> Mono:
    return np.arange(int(np.clip(seconds, 0.03, 3.8) * SR)) / SR


def _band(rng: np.random.Generator, n: int, low_hz: float, high_hz: float) -> Mono:
    return sosfilt(butter(2, [low_hz, min(high_hz, 21000.0)], "bandpass", fs=SR, output="sos"), rng.normal(size=n))


def _skin(
    patch: np.random.Generator,
    rng: np.random.Generator,
    velocity: float,
    *,
    hz: Span,
    decay_s: Span,
    slap: Span,
    glide: Span = (0.02, 0.15),
    modes: Mono = SKIN,
    tone: float = 0.45,
) -> Mono:
    """Strike a drum head by hand: its pitch falls, or rises where ``glide`` is below 0, as the stroke dies."""
    base_hz, ring_s, bend, fall_s = (
        _log(patch, hz),
        _log(patch, decay_s),
        patch.uniform(*glide),
        _log(patch, (0.01, 0.12)),
    )
    weight, colour, skin_hz = tone * patch.uniform(0.6, 1.5), patch.uniform(*slap), _log(patch, (600.0, 3500.0))
    t = _time(ring_s * 6 + 0.05)
    phase = base_hz * np.cumsum(1 + bend * (0.4 + velocity) * np.exp(-t / fall_s)) / SR
    sound = np.zeros(len(t))
    for i, mode in enumerate(modes):
        if base_hz * mode < 0.4 * SR:
            level = rng.uniform(0.6, 1.0) * (weight * (0.5 + velocity)) ** i
            sound += level * np.sin(2 * np.pi * mode * phase) * np.exp(-t * (1 + 0.6 * i) / ring_s)
    hit = _band(rng, len(t), skin_hz, skin_hz * 4) * np.exp(-t / patch.uniform(0.003, 0.015))
    return sound + colour * (0.3 + velocity) * hit


def _rigid(
    patch: np.random.Generator,
    rng: np.random.Generator,
    velocity: float,
    *,
    hz: Span,
    decay_s: Span,
    modes: Mono,
    click: Span = (0.05, 0.4),
    dirt: float = 0.0,
) -> Mono:
    """Strike a bar, a block or a bell: partials that each die in their own time."""
    base_hz, ring_s, edge = _log(patch, hz), _log(patch, decay_s), patch.uniform(*click)
    shape = modes * np.exp(patch.normal(0.0, 0.025, len(modes)))
    levels = patch.uniform(0.25, 1.0, len(modes)) * (0.35 + 0.65 * velocity) ** np.arange(len(modes))
    t = _time(ring_s * 5 + 0.05)
    sound = np.zeros(len(t))
    for mode, level in zip(shape, levels, strict=True):
        if base_hz * mode < 0.42 * SR:
            sound += (
                level * np.sin(2 * np.pi * base_hz * mode * t + rng.uniform(0, 6.3)) * np.exp(-t * mode**0.6 / ring_s)
            )
    if dirt:
        sound = np.tanh(sound * (1 + dirt * patch.random()))
    return (sound + edge * rng.normal(size=len(t)) * np.exp(-t / 0.0015)) * np.minimum(1, t / 0.0005)


def _rattle(
    patch: np.random.Generator, rng: np.random.Generator, velocity: float, *, hz: Span, decay_s: Span, jingle: float
) -> Mono:
    """Beads or jingles: many small hits thrown within one movement (Cook 1997)."""
    low_hz, ring_s, rise_s = _log(patch, hz), _log(patch, decay_s), patch.uniform(0.001, 0.03)
    n_partials = 10
    partials = patch.uniform(low_hz, low_hz * 3.5, n_partials)
    t = _time(ring_s * 5 + 0.06)
    grains = (rng.random(len(t)) < patch.uniform(0.01, 0.3)) * rng.normal(size=len(t))
    sound = sosfilt(butter(1, [low_hz, min(20000.0, low_hz * 3)], "bandpass", fs=SR, output="sos"), grains)
    sound = sound / (np.abs(sound).max() + 1e-9) * np.minimum(1, t / rise_s) * np.exp(-t / ring_s)
    if jingle:
        metal = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6.3)) for f in partials if f < 20000)
        sound = sound + jingle * velocity * metal / n_partials * np.exp(-t / (ring_s * patch.uniform(0.7, 2.0)))
    return sound


def _scrape(patch: np.random.Generator, rng: np.random.Generator, velocity: float, *, length_s: Span) -> Mono:
    """Guiro and ratchet: clicks of a resonant tube, faster at the end."""
    t = _time(_log(patch, length_s))
    teeth_hz, tube_hz = patch.uniform(35, 110), _log(patch, (1200.0, 4500.0))
    phase = np.cumsum(teeth_hz * (1 + patch.uniform(-0.3, 0.8) * t / t[-1])) / SR
    clicks = np.diff(np.floor(phase), prepend=0.0) * rng.uniform(0.5, 1.0, len(t))
    sound = sosfilt(butter(2, [tube_hz * 0.7, tube_hz * 1.5], "bandpass", fs=SR, output="sos"), clicks)
    return sound / (np.abs(sound).max() + 1e-9) * np.sin(np.pi * np.minimum(1, 0.05 + t / t[-1])) ** 0.5


def _cuica(patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Mono:
    """Rub a skin: a squeal that slides."""
    t = _time(_log(patch, (0.1, 0.45)))
    hz = _log(patch, (250.0, 700.0)) * (1 + patch.uniform(-0.4, 0.6) * t / t[-1])
    phase = np.cumsum(hz) / SR + 0.02 * rng.random()
    arc = np.maximum(0.0, np.sin(np.pi * t / t[-1])) ** 0.5  # rounding may end it a hair under nought
    return np.tanh(3 * np.sin(2 * np.pi * phase)) * arc + 0.1 * _band(rng, len(t), 800, 5000)


def _snap(patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Mono:
    """Finger snap: a short resonance of the palm."""
    t = _time(0.25)
    hz = _log(patch, (1200.0, 2800.0))
    palm = _band(rng, len(t), hz * 0.75, hz * 1.4) * np.exp(-t / patch.uniform(0.008, 0.03))
    return palm + 0.15 * _band(rng, len(t), 600, 6000) * np.exp(-t / patch.uniform(0.03, 0.1))


def _vibraslap(patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Mono:
    t = _time(1.4)
    rate_hz, hz = patch.uniform(18, 30), _log(patch, (1500.0, 3500.0))
    ticks = np.maximum(0, np.sin(2 * np.pi * rate_hz * t * (1 + 0.2 * t))) ** 6
    return _band(rng, len(t), hz, hz * 2) * ticks * np.exp(-t / patch.uniform(0.25, 0.6))


def _many_bells(patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Mono:
    """Bell tree or wind chimes: small bars one after another, up or down."""
    t = _time(patch.uniform(1.2, 3.5))
    notes = np.sort(patch.uniform(1800, 9000, 16))[:: 1 if patch.random() < 0.5 else -1]
    sound = np.zeros(len(t))
    for i, hz in enumerate(notes):
        since = t - 0.7 * t[-1] * i / len(notes) * rng.uniform(0.95, 1.05)
        sound += np.where(since > 0, np.sin(2 * np.pi * hz * since) * np.exp(-np.maximum(since, 0) / 0.35), 0.0)
    return sound


def _roll(patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Mono:
    """Roll with sticks or fingers on a drum or a tambourine, growing or fading."""
    stroke = (_SNARE, _LOW_DRUM, _TAMBOURINE, _HIGH_DRUM)[int(patch.integers(4))]
    rate_hz, length_s, growth = patch.uniform(11, 26), patch.uniform(0.6, 2.8), patch.uniform(-0.5, 1.0)
    state = int(patch.integers(1 << 30))
    strokes = [stroke(np.random.default_rng(state), rng, velocity * rng.uniform(0.7, 1.0)) for _ in range(4)]
    out = np.zeros(int(min(3.8, length_s + 0.6) * SR))
    at = 0.0
    while at < length_s:
        one = strokes[int(rng.integers(4))]
        level = (1 + growth * (at / length_s - 0.5)) * rng.uniform(0.75, 1.0)
        start = int(at * SR)
        out[start : start + len(one)] += level * one[: len(out) - start]
        at += rng.uniform(0.85, 1.15) / rate_hz
    return out


def _wired(patch: np.random.Generator, rng: np.random.Generator, velocity: float) -> Mono:
    t = _time(0.25)
    low_hz = _log(patch, (900.0, 2500.0))
    wires = _band(rng, len(t), low_hz, 12000) * np.exp(-t / patch.uniform(0.03, 0.1))
    return wires + 0.6 * np.sin(2 * np.pi * patch.uniform(160, 260) * t) * np.exp(-t / 0.05)


_SNARE: Maker = _wired
_LOW_DRUM: Maker = partial(_skin, hz=(65.0, 160.0), decay_s=(0.15, 0.6), slap=(0.05, 0.3))
_HIGH_DRUM: Maker = partial(_skin, hz=(180.0, 420.0), decay_s=(0.05, 0.25), slap=(0.1, 0.6))
_TAMBOURINE: Maker = partial(_rattle, hz=(4500.0, 8500.0), decay_s=(0.03, 0.16), jingle=1.2)
_BONGO_HIGH: Maker = partial(_skin, hz=(300.0, 620.0), decay_s=(0.03, 0.16), slap=(0.2, 0.9))
_BONGO_LOW: Maker = partial(_skin, hz=(180.0, 380.0), decay_s=(0.04, 0.22), slap=(0.15, 0.7))
_CONGA: Maker = partial(_skin, hz=(150.0, 340.0), decay_s=(0.06, 0.35), slap=(0.1, 0.5))
_TIMBALE: Maker = partial(_skin, hz=(220.0, 480.0), decay_s=(0.08, 0.4), slap=(0.3, 1.2), tone=0.8)
_AGOGO: Maker = partial(_rigid, hz=(600.0, 1700.0), decay_s=(0.05, 0.4), modes=COWBELL)
_WOOD: Maker = partial(_rigid, hz=(450.0, 1900.0), decay_s=(0.012, 0.06), modes=BAR)
_GUIRO_SHORT: Maker = partial(_scrape, length_s=(0.06, 0.2))
_GUIRO_LONG: Maker = partial(_scrape, length_s=(0.25, 0.7))
MAKERS: dict[int, Maker] = {
    54: _TAMBOURINE,
    56: partial(_rigid, hz=(430.0, 950.0), decay_s=(0.04, 0.35), modes=COWBELL, dirt=2.0),
    58: _vibraslap,
    60: _BONGO_HIGH,
    61: _BONGO_LOW,
    62: partial(_skin, hz=(220.0, 420.0), decay_s=(0.02, 0.06), slap=(0.5, 1.5)),
    63: _CONGA,
    64: partial(_skin, hz=(110.0, 240.0), decay_s=(0.08, 0.4), slap=(0.1, 0.5)),
    65: _TIMBALE,
    66: _TIMBALE,
    67: _AGOGO,
    68: _AGOGO,
    69: partial(_rattle, hz=(3500.0, 7000.0), decay_s=(0.02, 0.09), jingle=0.2),
    70: partial(_rattle, hz=(3000.0, 7500.0), decay_s=(0.015, 0.08), jingle=0.0),
    73: _GUIRO_SHORT,
    74: _GUIRO_LONG,
    75: partial(_rigid, hz=(1500.0, 3000.0), decay_s=(0.01, 0.05), modes=BAR),
    76: _WOOD,
    77: _WOOD,
    78: _cuica,
    79: _cuica,
    80: partial(_rigid, hz=(1500.0, 3500.0), decay_s=(0.03, 0.12), modes=TRIANGLE),
    81: partial(_rigid, hz=(1500.0, 3500.0), decay_s=(0.5, 1.6), modes=TRIANGLE),
    82: partial(_rattle, hz=(2500.0, 6500.0), decay_s=(0.03, 0.14), jingle=0.0),
    83: partial(_rattle, hz=(4000.0, 7500.0), decay_s=(0.08, 0.3), jingle=1.5),
    84: _many_bells,
    88: partial(_skin, hz=(240.0, 460.0), decay_s=(0.08, 0.5), slap=(0.1, 0.6), glide=(-0.01, 0.03), modes=LOADED_SKIN,
                tone=0.7),
    89: partial(_skin, hz=(65.0, 130.0), decay_s=(0.12, 0.5), slap=(0.05, 0.3), glide=(-0.45, 0.25), modes=LOADED_SKIN),
    90: partial(_skin, hz=(60.0, 110.0), decay_s=(0.08, 0.35), slap=(0.05, 0.4)),
    91: partial(_skin, hz=(280.0, 520.0), decay_s=(0.03, 0.15), slap=(0.5, 1.8)),
    92: _snap,
    93: partial(_rigid, hz=(300.0, 1600.0), decay_s=(0.4, 1.6), modes=BELL, click=(0.0, 0.2)),
    94: _roll,
    95: partial(_rigid, hz=(250.0, 900.0), decay_s=(0.06, 0.5), modes=TUNED_BAR),
    96: partial(_rigid, hz=(90.0, 400.0), decay_s=(0.05, 0.3), modes=TUNED_BAR, click=(0.0, 0.1)),
    97: partial(_skin, hz=(70.0, 180.0), decay_s=(0.1, 0.6), slap=(0.05, 0.5), tone=0.6),
}  # fmt: skip
"""By key: General MIDI, and from 88 on tabla, djembe, snap, bell, roll, marimba, log drum, frame drum."""
OWN_KEYS = tuple(k for k in MAKERS if k >= 88)
GROUPS: tuple[tuple[int, ...], ...] = (
    (39,), (54,), (56,), (58,), (60, 61), (62, 63, 64), (65, 66), (67, 68), (69,), (70,), (73, 74), (75,), (76, 77),
    (78, 79), (80, 81), (82,), (83,), (84,), (88, 89), (88, 89), (88,), (90, 91), (90, 91), (92,), (93,), (94,), (95,),
    (96,), (97,), (60, 61, 64), (70, 75, 63),
)  # fmt: skip
"""Keys that one player plays together."""
