"""What is neither player nor talker: crowds, applause, rooms with people, risers, sweeps and textures."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from model_compression.data.composer_song import Note
from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.talkers import draw_person, speak
from model_compression.data.tone_colour import shaped
from model_compression.data.voices import texts_of

Audio = NDArray[np.float32]
N_BEDS, BED_S = 6, 16
N_COPIES = 18


def ambience(rng: np.random.Generator, split: str, n_frames: int, *, cache_dir: Path | None = None) -> Audio:
    """Make a crowd: talk that can't be understood, sometimes applause; ``(n_frames, 2)`` float32."""
    bed = _babble(split, int(rng.integers(N_BEDS)), None if cache_dir is None else str(cache_dir))
    start = int(rng.integers(len(bed)))
    babble = np.take(bed, np.arange(start, start + n_frames), axis=0, mode="wrap")
    far_hz = float(np.exp(rng.uniform(np.log(1200), np.log(9000))))
    babble = shaped(babble, [(40, -20), (150, 0), (far_hz, 0), (far_hz * 4, -18), (22000, -40)])
    out = babble * np.float32(rng.uniform(0.3, 1.0)) / (np.abs(babble).max() + 1e-9)
    if rng.random() < 0.6:
        claps = _applause(rng, n_frames)
        out = out + np.float32(rng.uniform(0.3, 1.5)) * claps / (np.abs(claps).max() + 1e-9)
    rumble = shaped(rng.normal(size=(n_frames, 2)).astype(np.float32), [(30, 0), (120, -6), (1000, -26), (8000, -44)])
    out = out + np.float32(rng.uniform(0.002, 0.05)) * rumble
    return (0.4 * out / np.abs(out).max()).astype(np.float32)


@lru_cache(maxsize=2 * N_BEDS)
def _babble(split: str, number: int, cache_dir: str | None) -> Audio:
    rng = np.random.default_rng([N_BEDS + number, split == "test"])
    n = BED_S * SAMPLE_RATE_HZ
    bed = np.zeros((n, 2), np.float32)
    for _ in range(5):
        person = draw_person(rng, split)
        pool = texts_of(person.voice, "guest")
        said = np.concatenate(
            [
                speak(rng, person, pool[int(i)], cache_dir=None if cache_dir is None else Path(cache_dir))
                for i in rng.permutation(len(pool))[:2]
            ]
        )
        for _ in range(N_COPIES // 5 + 1):
            pace = rng.uniform(0.88, 1.14)
            copy = np.interp(np.arange(0, len(said) - 1, pace), np.arange(len(said)), said)
            where = (np.arange(len(copy)) + int(rng.integers(n))) % n
            np.add.at(
                bed,
                where[:n],
                np.outer(copy, rng.dirichlet((2, 2))).astype(np.float32)[:n] * np.float32(rng.uniform(0.3, 1.0)),
            )
    return bed


def _applause(rng: np.random.Generator, n_frames: int) -> Audio:
    """Dense claps of many hands; the crowd swells and dies away."""
    seconds = n_frames / SAMPLE_RATE_HZ
    t = np.arange(n_frames) / SAMPLE_RATE_HZ
    begin, length = rng.uniform(-2, seconds * 0.6), rng.uniform(2, max(3, seconds))
    crowd = np.clip((t - begin) / 0.5, 0, 1) * np.exp(-np.maximum(0, t - begin - length) / 1.2)
    grains = np.zeros((n_frames, 2))
    for _ in range(int(rng.integers(12, 40))):
        period_s, clap_hz = rng.uniform(0.18, 0.34), rng.uniform(900, 2400)
        times = np.cumsum(rng.normal(period_s, 0.03, int(seconds / period_s) + 2).clip(0.1)) + rng.uniform(-1, 0)
        at = (times[(times > 0) & (times < seconds - 0.05)] * SAMPLE_RATE_HZ).astype(int)
        k = np.arange(900)
        grain = rng.normal(size=900) * np.exp(-k / rng.uniform(60, 240))
        grain = sosfilt(butter(2, [clap_hz * 0.6, clap_hz * 1.8], "bandpass", fs=SAMPLE_RATE_HZ, output="sos"), grain)
        train = np.zeros(n_frames)
        for i in at:
            train[i : i + 900] += rng.uniform(0.5, 1.0) * grain[: n_frames - i]
        grains += np.outer(train, rng.dirichlet((2, 2)))
    return (grains * crowd[:, None]).astype(np.float32)


def effects(rng: np.random.Generator, notes: tuple[Note, ...], n_frames: int) -> Audio:
    """Risers up to each change, falls after it, textures between; ``(n_frames, 2)`` float32."""
    out = np.zeros((n_frames, 2), np.float32)
    style = int(rng.integers(4))
    for note in notes or (Note(begin_s=0.2, length_s=n_frames / SAMPLE_RATE_HZ * 0.8, pitch=60, velocity=0.7),):
        at, n = round(note.begin_s * SAMPLE_RATE_HZ), round(max(0.5, note.length_s) * SAMPLE_RATE_HZ)
        rise = np.linspace(0, 1, n)
        if style == 0:
            sound = _swept_noise(rng, n, 300, 9000) * rise**2
        elif style == 1:
            hz = 110 * 2 ** (rise * rng.uniform(1, 4))
            sound = (
                np.sign(np.sin(2 * np.pi * np.cumsum(hz) / SAMPLE_RATE_HZ)) * rise * 0.5
                + _swept_noise(rng, n, 500, 6000) * rise**3
            )
        elif style == 2:
            sound = _swept_noise(rng, n, 8000, 200) * (1 - rise) ** 1.5
        else:
            index = 4 * rise * rng.uniform(0.5, 2)
            phase = 2 * np.pi * rng.uniform(60, 500) * np.arange(n) / SAMPLE_RATE_HZ
            sound = (
                np.sin(phase + index * np.sin(phase * rng.uniform(0.3, 3.7)))
                * np.sin(np.pi * rise)
                * gaussian_filter1d(rng.random(n), 2000)
                * 2
            )
        keep = max(0, min(n, n_frames - at))
        out[at : at + keep] += np.outer(sound[:keep], rng.dirichlet((3, 3))).astype(np.float32)
    return (0.4 * out / (np.abs(out).max() + 1e-9)).astype(np.float32)


def _swept_noise(rng: np.random.Generator, n: int, from_hz: float, to_hz: float) -> NDArray[np.float64]:
    noise = rng.normal(size=n)
    corners = np.geomspace(from_hz, to_hz, 9)
    bands = [
        sosfilt(butter(2, [c * 0.6, min(c * 1.7, 23000)], "bandpass", fs=SAMPLE_RATE_HZ, output="sos"), noise)
        for c in corners
    ]
    place = np.linspace(0, 8, n)
    return sum(b * np.maximum(0, 1 - np.abs(place - i)) for i, b in enumerate(bands))
