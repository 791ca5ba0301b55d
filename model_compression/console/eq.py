"""The state-variable sections of ``eq.c`` in the frequency domain.

A trapezoidal state-variable filter is the bilinear transform of its analog prototype, so its response at the bin of
angle w follows from ``j tan(w/2)``. Sound is filtered by overlap-add, exact but for what of an impulse response lies
beyond FRAMES; only a bell of high Q under about 30 Hz rings so long.
"""

from __future__ import annotations

import math
from enum import Enum

import tensorflow as tf

from .strip import Strip, to_lin

FRAMES = 16384  # of a block and of the longest impulse response


class Shape(Enum):
    """Shape of a section."""

    BELL = "bell"
    LOW_SHELF = "low_shelf"
    HIGH_SHELF = "high_shelf"
    HIGH_PASS = "high_pass"
    TILT = "tilt"


BELLS = (Shape.BELL,) * 4
Mixed = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def _mixed(shape: Shape, g: tf.Tensor, k: tf.Tensor, gain_db: tf.Tensor) -> Mixed:
    """Return ``g, k`` and how much of input, band and low makes the output (Simper, 2013)."""
    one, zero = tf.ones_like(g), tf.zeros_like(g)
    a = to_lin(gain_db / 2)
    if shape is Shape.BELL:
        return g, k / a, one, k / a * (a * a - 1), zero
    if shape is Shape.LOW_SHELF:
        return g / tf.sqrt(a), k, one, k * (a - 1), a * a - 1
    if shape is Shape.HIGH_SHELF:
        return g * tf.sqrt(a), k, a * a, k * (1 - a) * a, 1 - a * a
    if shape is Shape.HIGH_PASS:
        return g, k, one, -k, -one
    a = a * a
    return g * tf.sqrt(a), 2 * one, a, 2 * (1 - a), (1 - a * a) / a


def section_response(
    shape: Shape, freq_hz: tf.Tensor, gain_db: tf.Tensor, q: tf.Tensor, angle: tf.Tensor, sample_rate_hz: float
) -> tf.Tensor:
    """Return the response at ``angle`` (radians per frame, ``(n_bins,)``), complex64 ``(..., n_bins)``."""
    freq_hz = tf.clip_by_value(freq_hz, 1.0, 0.49 * sample_rate_hz)
    g, k, m0, m1, m2 = _mixed(shape, tf.tan(math.pi / sample_rate_hz * freq_hz), 1 / q, gain_db)
    g, k, m0, m1, m2 = (v[..., None] for v in (g, k, m0, m1, m2))
    s, c = tf.sin(angle / 2), tf.cos(angle / 2)
    low = g * g * c * c
    middle = g * s * c  # times j
    denominator = tf.complex(low - s * s, k * middle)
    # Input is low + k band + high: written so, nothing cancels where a high-pass leaves next to nothing.
    numerator = tf.complex((m0 + m2) * low - m0 * s * s, (m0 * k + m1) * middle)
    return numerator / denominator


def strip_response(strip: Strip, n_fft: int, sample_rate_hz: float, shapes: tuple[Shape, ...] = BELLS) -> tf.Tensor:
    """Return the response of high-pass, bands and tilt together, complex64 ``(..., n_channels, n_fft // 2 + 1)``."""
    angle = tf.constant(math.pi, tf.float32) * tf.range(n_fft // 2 + 1, dtype=tf.float32) / (n_fft // 2)
    flat = tf.zeros_like(strip.pan)
    high_pass = section_response(Shape.HIGH_PASS, strip.hpf_freq_hz, flat, flat + math.sqrt(0.5), angle, sample_rate_hz)
    total = tf.where((strip.hpf_freq_hz > 0)[..., None], high_pass, tf.ones_like(high_pass))
    for n, shape in enumerate(shapes):
        total *= section_response(
            shape, strip.eq_freq_hz[..., n], strip.eq_gain_db[..., n], strip.eq_q[..., n], angle, sample_rate_hz
        )
    return total * section_response(
        Shape.TILT, strip.tilt_freq_hz, strip.tilt_gain_db, flat + 1.0, angle, sample_rate_hz
    )


def filtered(x: tf.Tensor, response: tf.Tensor) -> tf.Tensor:
    """Return ``x`` of shape ``(..., n_frames)`` through ``response``, ``(..., FRAMES + 1)``, from rest."""
    n_frames = x.shape[-1]
    n_blocks = -(-n_frames // FRAMES)
    padded = tf.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, n_blocks * FRAMES - n_frames]])
    blocks = tf.reshape(padded, [*x.shape[:-1], n_blocks, FRAMES])
    spectra = tf.signal.rfft(blocks, [2 * FRAMES]) * response[..., None, :]
    pieces = tf.signal.irfft(spectra, [2 * FRAMES])
    first, tail = pieces[..., :FRAMES], pieces[..., FRAMES:]
    late = tf.concat([tf.zeros_like(tail[..., :1, :]), tail[..., :-1, :]], axis=-2)
    return tf.reshape(first + late, [*x.shape[:-1], n_blocks * FRAMES])[..., :n_frames]
