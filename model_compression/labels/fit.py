"""Fits the mixer's own console to a finished mix: levels, positions, tone, compressor with attack and release, sends.

Gauss-Newton with Levenberg's damping on the sound itself. What is fitted is the C console, so a mix of ours is
explained to the last bit; derivatives are differences of two strips. Level, position and send are linear and solved
exactly in each round (Golub, Pereyra, 1973). Processors join in their order: levels, tone, compressor, send. The
Gauss-Newton matrix gives each setting its standard error, and that its confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import installed

from . import closed_form
from .normal_equations import Sound, Sums, measure
from .strips import Settings

Array = NDArray[np.float64]

TONE, THRESHOLD, RATIO, ATTACK, RELEASE = (0, 1, 2, 3), 4, 5, 6, 7
N_STRIP = 8  # four tones in dB, threshold in dBFS, log2 of ratio, attack_ms, release_ms
STEPS = np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.03, 0.06, 0.06])
LARGEST_MOVE = np.array([3.0, 3.0, 3.0, 3.0, 6.0, 0.7, 1.0, 1.0])
LOWEST = np.array([-18.0] * 4 + [-60.0, 0.0, np.log2(0.3), np.log2(10.0)])
HIGHEST = np.array([18.0] * 4 + [0.0, np.log2(20.0), np.log2(200.0), np.log2(2000.0)])
TOLERANCE = np.array([1.0] * 4 + [2.0, 0.3, 0.4, 0.4])  # at which an error halves the confidence
GAIN_TOLERANCE_DB, SEND_TOLERANCE_DB = 0.5, 2.0
INDEPENDENT_HZ = 100.0  # so many independent values of the residual a second: it is no white noise
MAX_ROUNDS = 14
ENOUGH = 1e-3  # relative fall of the residual at which a stage ends
DAMPING_START, DAMPING_MIN, DAMPING_MAX = 1e-2, 1e-6, 1e4
START_RATIO_LOG2 = 0.6
START_UNDER_PEAK_DB = 12.0
SEND_OFF_DB = -60.0
STAGES = ("tone", "compressor", "send")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The console's settings that make the mix, one row a channel.

    Attributes
    ----------
    gain_db, pan, send_db
        Fader, position, reverb send; ``(n_channels,)``.
    tone_db
        ``(n_channels, 4)`` at TONE_REGIONS_HZ.
    threshold_dbfs, ratio, attack_ms, release_ms
        The compressor; without make-up, which is part of the gain.
    confidence
        0 to 1, ``(n_channels, 10)``: gain, send, then the strip's eight settings in the order above.
    residual_db
        What the console does not explain, relative to the mix.
    n_rounds
        Passes over the sound.
    """

    gain_db: Array
    pan: Array
    send_db: Array
    tone_db: Array
    threshold_dbfs: Array
    ratio: Array
    attack_ms: Array
    release_ms: Array
    confidence: Array
    residual_db: float
    n_rounds: int


@dataclass
class _State:
    """Where the descent is: settings ``(n_channels, N_STRIP)``, linear gains, and what was measured there."""

    theta: Array
    sums: Sums
    gains: Array  # (n_channels, 3): left, right, wet
    residual: float


def as_settings(row: Array) -> Settings:
    """Return the settings of a row of ``theta``."""
    low, mid, high, top, threshold_dbfs, ratio, attack, release = (float(v) for v in row)
    return Settings(
        tone_db=(low, mid, high, top), threshold_dbfs=threshold_dbfs, ratio=2**ratio, attack_ms=2**attack,
        release_ms=2**release,
    )  # fmt: skip


def _measure(sound: Sound, theta: Array, free: tuple[int, ...], stage: str) -> _State:
    variants = [
        [as_settings(row), *(as_settings(row + STEPS * (np.arange(N_STRIP) == p)) for p in free)] for row in theta
    ]
    sums = measure(
        installed(), sound, variants, STEPS[list(free)],
        has_compressor=stage != "tone", has_send=stage == "send",
    )  # fmt: skip
    gains = sums.linear()
    return _State(theta, sums, gains, sums.residual(gains))


def _descend(
    sound: Sound, theta: Array, free: tuple[int, ...], stage: str, tell: Callable[[str], None]
) -> tuple[_State, Array, int]:
    now = _measure(sound, theta, free, stage)
    damping, n_rounds = DAMPING_START, 1
    normal, slope = now.sums.gauss_newton(now.gains)
    while n_rounds < MAX_ROUNDS and damping < DAMPING_MAX:
        move = _step(normal, slope, damping, len(theta), free)
        there = np.clip(now.theta + move, LOWEST, HIGHEST)
        then = _measure(sound, there, free, stage)
        n_rounds += 1
        if then.residual >= now.residual:
            damping *= 8
            continue
        fall = 1 - then.residual / now.residual
        now, damping = then, max(damping / 5, DAMPING_MIN)
        normal, slope = now.sums.gauss_newton(now.gains)
        tell(f"{stage}: residual {now.sums.relative_db(now.residual):.1f} dB")
        if fall < ENOUGH or now.sums.relative_db(now.residual) < -90:
            break
    return now, normal, n_rounds


def _step(normal: Array, slope: Array, damping: float, n_channels: int, free: tuple[int, ...]) -> Array:
    n = n_channels * len(free)
    scale = np.diag(normal).copy()
    scale[:n] += 1e-9 * scale[:n].max(initial=1e-30)
    damped = normal + np.diag(damping * scale * (np.arange(len(scale)) < n) + 1e-9 * scale + 1e-30)
    move = np.linalg.solve(damped, slope)[:n].reshape(n_channels, len(free))
    whole = np.zeros((n_channels, N_STRIP))
    whole[:, list(free)] = np.clip(move, -LARGEST_MOVE[list(free)], LARGEST_MOVE[list(free)])
    return whole


def _start(stems: Sequence[NDArray[np.float32]]) -> Array:
    theta = np.zeros((len(stems), N_STRIP))
    for row, stem in zip(theta, stems, strict=True):
        ticks = np.abs(stem[: len(stem) // 480 * 480]).max(axis=1).reshape(-1, 480).max(axis=1)
        loud_dbfs = 20 * np.log10(max(float(np.percentile(ticks, 95)), 1e-4))
        row[THRESHOLD] = loud_dbfs - START_UNDER_PEAK_DB
        row[RATIO], row[ATTACK], row[RELEASE] = START_RATIO_LOG2, np.log2(10.0), np.log2(120.0)
    return np.clip(theta, LOWEST, HIGHEST)


def fit(
    stems: Sequence[NDArray[np.float32]],
    mix: NDArray[np.float32],
    sample_rate_hz: float,
    *,
    stages: Sequence[str] = STAGES,
    decay_s: float = 1.4,
    tell: Callable[[str], None] = lambda line: None,
) -> Fit:
    """Return the console that makes ``mix`` of ``stems``.

    Parameters
    ----------
    stems
        Aligned, one array a channel, ``(n_frames, 1 or 2)``.
    mix
        ``(n_frames, 2)``.
    stages
        Which of ``STAGES`` to fit after the levels, in that order.
    decay_s
        Of the reverb that the sends reach.
    tell
        Hears one line a round.
    """
    sound = Sound(stems=tuple(stems), mix=mix, sample_rate_hz=sample_rate_hz, decay_s=decay_s)
    theta = _start(stems)
    silent = _uncompressed(theta)
    state, normal, n_rounds = _measure(sound, silent, (), "tone"), np.zeros((0, 0)), 1
    free: tuple[int, ...] = ()
    for stage in stages:
        free = TONE if stage == "tone" else tuple(range(N_STRIP))
        begin = theta if stage == "compressor" else state.theta
        begin = begin.copy()
        begin[:, list(TONE)] = state.theta[:, list(TONE)]
        state, normal, n = _descend(sound, begin, free, stage, tell)
        n_rounds += n
    return _told(state, normal, free, sound, n_rounds)


def _uncompressed(theta: Array) -> Array:
    """Return ``theta`` with every compressor at ratio 1."""
    out = theta.copy()
    out[:, RATIO] = 0.0
    return out


def _told(state: _State, normal: Array, free: tuple[int, ...], sound: Sound, n_rounds: int) -> Fit:
    n = len(state.theta)
    is_stereo = np.array([stem.shape[1] == 2 for stem in sound.stems])
    gain_db, pan = closed_form.level_and_pan(state.gains[:, :2], is_stereo)
    level_lin = np.maximum(10 ** (gain_db / 20), 1e-9)
    send_lin = np.maximum(state.gains[:, 2], 0.0) / level_lin
    send_db = np.maximum(20 * np.log10(np.maximum(send_lin, 1e-9)), SEND_OFF_DB)
    confidence = np.zeros((n, 2 + N_STRIP))
    if len(normal):
        worth = state.residual / (INDEPENDENT_HZ * len(sound.mix) / sound.sample_rate_hz)
        variance = worth * np.diag(np.linalg.pinv(normal, hermitian=True))
        flat = np.diag(normal) <= 1e-12 * np.diag(normal).max(initial=0.0)
        error = np.sqrt(np.maximum(variance, 0.0))
        error[flat] = np.inf
        strip, linear = error[: n * len(free)].reshape(n, -1), error[n * len(free) :].reshape(3, n).T
        confidence[:, 2 + np.array(free, int)] = 1 / (1 + (strip / TOLERANCE[list(free)]) ** 2)
        gain_error_db = 8.7 * np.hypot(linear[:, 0], linear[:, 1]) / level_lin
        confidence[:, 0] = 1 / (1 + (gain_error_db / GAIN_TOLERANCE_DB) ** 2)
        send_error_db = 8.7 * linear[:, 2] / np.maximum(np.abs(state.gains[:, 2]), 1e-3 * level_lin)
        confidence[:, 1] = 1 / (1 + (send_error_db / SEND_TOLERANCE_DB) ** 2)
    rows = state.theta
    return Fit(
        gain_db=gain_db, pan=pan, send_db=send_db, tone_db=rows[:, list(TONE)], threshold_dbfs=rows[:, THRESHOLD],
        ratio=2 ** rows[:, RATIO], attack_ms=2 ** rows[:, ATTACK], release_ms=2 ** rows[:, RELEASE],
        confidence=confidence, residual_db=state.sums.relative_db(state.residual), n_rounds=n_rounds,
    )  # fmt: skip
