"""The compressor of ``compressor.c``: log-domain curve, decoupled smooth peak detector, and its automatic mode.

By hand it computes what the kernel computes, tick by tick. In automatic mode knee and make-up depend on the average
reduction and it on them, with a time constant of 2 s: PASSES rounds of substitution settle that.
"""

from __future__ import annotations

import math

import tensorflow as tf

from .scan import max_affine_scan, one_pole
from .strip import Strip, to_lin

TICK_FRAMES = 4
RENEWAL_FRAMES = 32
CREST_MS = 200.0
AVERAGE_MS = 2000.0
AVERAGE_MAX_DB = 12.0
ATTACK_MIN_MS = 0.1
RELEASE_MIN_MS = 5.0
POWER_MIN = 1e-12
LEVEL_MIN_LIN = 1e-9
PASSES = 3
DB_PER_NEPER = 20 / math.log(10)


def _share(tau_ms: tf.Tensor, rate_hz: float) -> tf.Tensor:
    return -tf.math.expm1(-1000.0 / (tau_ms * rate_hz))


def wanted_db(level_dbfs: tf.Tensor, threshold_dbfs: tf.Tensor, ratio: tf.Tensor, knee_db: tf.Tensor) -> tf.Tensor:
    """Return the static reduction: 0 under the knee, a parabola inside, a line above."""
    knee_db = tf.maximum(knee_db, 1e-3)
    over = tf.maximum(level_dbfs - threshold_dbfs + knee_db / 2, 0.0)
    inside = tf.minimum(over, knee_db)
    return (inside * inside / (2 * knee_db) + over - inside) * (1 - 1 / ratio)


def _smoothed(wanted: tf.Tensor, attack_share: tf.Tensor, release_share: tf.Tensor) -> tf.Tensor:
    release_share = tf.ensure_shape(tf.broadcast_to(release_share, tf.shape(wanted)), wanted.shape)
    held = max_affine_scan(wanted, release_share * wanted, 1 - release_share)
    return one_pole(held, attack_share)


def _lines(knots: tf.Tensor, start: tf.Tensor, n_frames: int) -> tf.Tensor:
    """Return a value a frame: lines that reach ``knots[k]`` TICK_FRAMES after the end of tick k."""
    begins = tf.concat([start, knots], axis=-1)[..., :-1]
    fraction = tf.range(TICK_FRAMES, dtype=tf.float32) / TICK_FRAMES
    lines = begins[..., None] + (knots - begins)[..., None] * fraction
    lines = tf.reshape(lines, [*knots.shape[:-1], knots.shape[-1] * TICK_FRAMES])
    early = tf.repeat(start, TICK_FRAMES, axis=-1)
    rest = n_frames - lines.shape[-1] - TICK_FRAMES
    late = tf.repeat(knots[..., -1:], max(rest, 0), axis=-1)
    return tf.concat([early, lines, late], axis=-1)[..., :n_frames]


def _peaks(x: tf.Tensor, tick_frames: int) -> tf.Tensor:
    """Return the largest magnitude of each whole tick over both sides, ``(..., n_channels, n_ticks)``."""
    n_ticks = x.shape[-1] // tick_frames
    ticks = tf.reshape(tf.abs(x[..., : n_ticks * tick_frames]), [*x.shape[:-1], n_ticks, tick_frames])
    return tf.reduce_max(ticks, axis=[-3, -1])


def _wanted(peaks: tf.Tensor, strip: Strip, knee_db: tf.Tensor) -> tf.Tensor:
    level_dbfs = DB_PER_NEPER * tf.math.log(tf.maximum(peaks, LEVEL_MIN_LIN))
    return wanted_db(level_dbfs, strip.threshold_dbfs[..., None], strip.ratio[..., None], knee_db)


def _mixed(gain_db: tf.Tensor, wet: tf.Tensor) -> tf.Tensor:
    return 1 - wet + wet * to_lin(gain_db)


def gain_lin(x: tf.Tensor, strip: Strip, sample_rate_hz: float) -> tf.Tensor:
    """Return the gain of each frame, ``(..., n_channels, n_frames)``, for ``(..., n_channels, n_sides, n_frames)``."""
    rate_hz = sample_rate_hz / TICK_FRAMES
    wet = strip.wet[..., None]
    makeup_db = strip.makeup_db[..., None]
    wanted = _wanted(_peaks(x, TICK_FRAMES), strip, strip.knee_db[..., None])
    reduction = _smoothed(
        wanted, _share(strip.attack_ms, rate_hz)[..., None], _share(strip.release_ms, rate_hz)[..., None]
    )
    return _lines(_mixed(makeup_db - reduction, wet), _mixed(makeup_db, wet), x.shape[-1])


def _times_ms(x: tf.Tensor, strip: Strip, sample_rate_hz: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Return attack and release of each renewal, from the crest factor up to the one before."""
    n = x.shape[-1] // RENEWAL_FRAMES
    peak = tf.square(_peaks(x, RENEWAL_FRAMES)) + POWER_MIN
    spans = tf.reshape(tf.square(x[..., : n * RENEWAL_FRAMES]), [*x.shape[:-1], n, RENEWAL_FRAMES])
    mean = tf.reduce_max(tf.reduce_mean(spans, axis=-1), axis=-2) + POWER_MIN
    share = _share(tf.constant(CREST_MS), sample_rate_hz / RENEWAL_FRAMES)
    heard = tf.cumsum(tf.cast(mean >= 2 * POWER_MIN, tf.int32), axis=-1)
    is_first = heard - tf.cast(mean >= 2 * POWER_MIN, tf.int32) < 1
    shares = tf.where(is_first, 1.0, share)
    mean_power = one_pole(mean, shares)
    peak_power = max_affine_scan(peak, share * peak, tf.ones_like(peak) - share)
    crest = tf.maximum(peak_power / mean_power, 2.0)
    crest = tf.concat([tf.fill(crest[..., :1].shape, 2.0), crest[..., :-1]], axis=-1)
    attack_max, release_max = strip.attack_ms[..., None], strip.release_ms[..., None]
    attack = 2 * attack_max / crest
    release = 2 * release_max / crest - attack
    shortest_ms = max(ATTACK_MIN_MS, 1200.0 * TICK_FRAMES / sample_rate_hz)
    return tf.maximum(attack, shortest_ms), tf.minimum(tf.maximum(release, RELEASE_MIN_MS), release_max)


def automatic_gain_lin(x: tf.Tensor, strip: Strip, sample_rate_hz: float) -> tf.Tensor:
    """Return the gain of each frame in automatic mode; shapes as ``gain_lin``, ticks as the kernel's."""
    rate_hz, renewals_hz = sample_rate_hz / TICK_FRAMES, sample_rate_hz / RENEWAL_FRAMES
    per_renewal = RENEWAL_FRAMES // TICK_FRAMES
    peaks = _peaks(x, TICK_FRAMES)
    n_ticks = peaks.shape[-1]
    attack_ms, release_ms = _times_ms(x, strip, sample_rate_hz)

    def per_tick(values: tf.Tensor) -> tf.Tensor:
        ticks = tf.repeat(values, per_renewal, axis=-1)
        missing = n_ticks - ticks.shape[-1]
        return tf.concat([ticks, tf.repeat(ticks[..., -1:], max(missing, 0), axis=-1)], axis=-1)[..., :n_ticks]

    attack_share, release_share = per_tick(_share(attack_ms, rate_hz)), per_tick(_share(release_ms, rate_hz))
    start_db = (-strip.threshold_dbfs / 2 * (1 - 1 / strip.ratio))[..., None]
    average_share = _share(tf.constant(AVERAGE_MS), renewals_hz)
    average_db = tf.broadcast_to(start_db, attack_ms.shape)
    reduction = tf.zeros_like(peaks)
    for _ in range(PASSES):
        bounded_db = per_tick(tf.minimum(average_db, AVERAGE_MAX_DB))
        reduction = _smoothed(_wanted(peaks, strip, 2.5 * bounded_db), attack_share, release_share)
        n_renewals = attack_ms.shape[-1]
        ends = reduction[..., per_renewal - 1 :: per_renewal][..., : n_renewals - 1]
        ends = tf.concat([start_db, ends], axis=-1)
        shares = tf.concat([tf.ones_like(start_db), tf.fill(ends[..., 1:].shape, average_share)], axis=-1)
        average_db = one_pole(ends, shares)
    wet = strip.wet[..., None]
    makeup_db = strip.makeup_db[..., None] + per_tick(tf.minimum(average_db, AVERAGE_MAX_DB))
    start = _mixed(strip.makeup_db[..., None] + tf.minimum(start_db, AVERAGE_MAX_DB), wet)
    return _lines(_mixed(makeup_db - reduction, wet), start, x.shape[-1])
