"""Voices moved in pitch, time and formants without being taken apart: grains of two periods, laid at new distances.

The sound keeps its whole band and its small irregularities, which a vocoder smooths away (Moulines, Charpentier 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, uniform_filter1d

from model_compression.data.performance import SAMPLE_RATE_HZ
from model_compression.data.vocoder import FRAME_MS

Audio = NDArray[np.float32]
PER_TICK = round(SAMPLE_RATE_HZ * FRAME_MS / 1000)  # frames of sound in a tick of pitch
UNVOICED_HZ = 200.0  # grains of noise are as long as a tick
COARSE = 6  # the pitch marks are looked for at 8 kHz
STRAY_PERIODS = 2.0  # a held vowel takes its grains from around the place, or it would buzz
WIDTHS_FRAMES = (160, 320, 480, 960)  # half lengths of grains, so that short ones cost little
LONGEST_GRAIN_FRAMES = 960
SILENT_LIN = 1e-4  # under the peak; grains of that are left out


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A voice with the places of its periods.

    Attributes
    ----------
    audio
        ``(n_frames,)`` float32 at 48 kHz.
    marks
        ``(n_marks,)`` frame of each period, in order; every 5 ms where unvoiced.
    periods_frames
        ``(n_marks,)`` length of the period there.
    is_voiced, is_heard
        ``(n_marks,)``.
    """

    audio: Audio
    marks: NDArray[np.int64]
    periods_frames: NDArray[np.float64]
    is_voiced: NDArray[np.bool_]
    is_heard: NDArray[np.bool_]


def marked(audio: Audio, f0_hz: NDArray[np.float64]) -> Marked:
    """Find the periods of ``(n_frames,)`` by the phase of its fundamental; ``f0_hz`` per tick of 5 ms, 0 unvoiced."""
    pitch_hz = np.where(f0_hz > 0, f0_hz, UNVOICED_HZ)
    coarse = uniform_filter1d(audio.astype(float), COARSE)[::COARSE]
    at = np.arange(len(coarse)) * COARSE
    tick = np.minimum(at / PER_TICK, len(f0_hz) - 1)
    periods = np.cumsum(np.interp(tick, np.arange(len(f0_hz)), pitch_hz)) * COARSE / SAMPLE_RATE_HZ
    beating = coarse * np.exp(-2j * np.pi * periods)
    for _ in range(2):
        beating = uniform_filter1d(beating.real, 120) + 1j * uniform_filter1d(beating.imag, 120)
    turns = np.unwrap(np.angle(beating)) / (2 * np.pi)
    voiced = f0_hz[np.round(tick).astype(int)] > 0
    steady = uniform_filter1d(np.where(voiced, np.gradient(turns), 0.0), 9) if len(turns) > 1 else turns
    phase = np.maximum.accumulate(periods + turns[0] + np.cumsum(np.clip(steady, -2e-3, 2e-3)))
    phase += 1e-9 * np.arange(len(phase))
    marks = np.interp(np.arange(np.ceil(phase[0]), np.floor(phase[-1]) + 1), phase, at)
    if not len(marks):
        marks = np.zeros(1)
    near = np.minimum(np.round(marks / PER_TICK).astype(int), len(f0_hz) - 1)
    level = maximum_filter1d(np.abs(coarse), LONGEST_GRAIN_FRAMES // COARSE)
    heard = level[np.minimum(np.round(marks / COARSE).astype(int), len(level) - 1)]
    return Marked(
        audio=audio,
        marks=np.round(marks).astype(np.int64),
        periods_frames=SAMPLE_RATE_HZ / pitch_hz[near],
        is_voiced=f0_hz[near] > 0,
        is_heard=heard > SILENT_LIN * level.max(),
    )


def moved(
    rng: np.random.Generator,
    voice: Marked,
    path_ticks: NDArray[np.float64],
    f0_hz: NDArray[np.float64],
    *,
    size: float = 1.0,
) -> Audio:
    """Say a voice again at another pitch and pace.

    Parameters
    ----------
    path_ticks
        ``(n,)`` which place of the voice, in ticks, sounds at each tick of the result.
    f0_hz
        ``(n,)`` the pitch there, 0 unvoiced.
    size
        Factor on the formants: above 1 a smaller head.

    Returns
    -------
    ``(n * 240,)`` float32 at 48 kHz; silent where the voice is.
    """
    n = len(path_ticks)
    n_frames = n * PER_TICK
    pitch_hz = np.where(f0_hz > 0, f0_hz, UNVOICED_HZ)
    periods = np.cumsum(pitch_hz) * FRAME_MS / 1000
    grains = np.interp(np.arange(np.ceil(periods[0]), np.floor(periods[-1]) + 1), periods, np.arange(n))
    tick = np.minimum(grains.astype(int), n - 1)
    step = path_ticks[np.minimum(tick + 1, n - 1)] - path_ticks[tick]
    step = np.where(np.abs(step) < 4, step, 0.0)  # a leap is from one word to the next
    place = (path_ticks[tick] + (grains - tick) * step) * PER_TICK
    mark = np.clip(np.searchsorted(voice.marks, place), 0, len(voice.marks) - 1)
    wander = gaussian_filter1d(rng.normal(0, 1, len(mark)), 6) * 4.6 * STRAY_PERIODS
    stray = np.clip(mark + np.round(wander).astype(np.int64), 0, len(voice.marks) - 1)
    near = np.abs(voice.marks[stray] - voice.marks[mark]) < 6 * voice.periods_frames[mark]
    may_stray = near & (np.abs(step) < 0.5) & voice.is_voiced[mark] & voice.is_voiced[stray]
    mark = np.where(may_stray, stray, mark)
    mark, grains = mark[sounds := voice.is_heard[mark]], grains[sounds]
    at = np.round(grains * PER_TICK).astype(np.int64)
    halves = voice.periods_frames[mark] / size
    out = np.zeros(n_frames)
    least = 0
    for width in WIDTHS_FRAMES:
        here = np.flatnonzero((halves > least) & (halves <= width))
        least = width
        if len(here):
            _lay(out, voice.audio, at[here], voice.marks[mark[here]], halves[here], width, size)
    return out.astype(np.float32)


def _lay(
    out: NDArray[np.float64],
    audio: Audio,
    at: NDArray[np.int64],
    marks: NDArray[np.int64],
    halves: NDArray[np.float64],
    width: int,
    size: float,
) -> None:
    """Add grains of up to ``2 * width`` frames to ``out``."""
    offset = np.arange(-width, width + 1, dtype=np.int64)
    window = 0.5 + 0.5 * np.cos(np.pi * np.minimum(1.0, np.abs(offset) / halves[:, None]))
    source = np.clip(marks[:, None] + np.round(offset * size).astype(np.int64), 0, len(audio) - 1)
    where = np.clip(at[:, None] + offset, 0, len(out) - 1)
    out += np.bincount(where.ravel(), (window * audio[source]).ravel(), minlength=len(out))
