"""Integrated loudness after ITU-R BS.1770-4, differentiable; what the gates let through counts as fixed."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from dsp_kernels.reference.loudness import k_sections

from .eq import FRAMES, filtered

BLOCK_S, HOP_S = 0.4, 0.1
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
POWER_MIN = 1e-12
OFFSET_LU = -0.691


def k_response(sample_rate_hz: float) -> tf.Tensor:
    """Return the response of both K-weighting filters, complex64 ``(FRAMES + 1,)``."""
    z = np.exp(-1j * np.pi * np.arange(FRAMES + 1) / FRAMES)
    total = np.ones(FRAMES + 1, complex)
    for section in k_sections(sample_rate_hz):
        total *= np.polyval(section[2::-1], z) / np.polyval(section[:2:-1], z)
    return tf.constant(total, tf.complex64)


def _lufs(power: tf.Tensor) -> tf.Tensor:
    return 10 / math.log(10) * tf.math.log(tf.maximum(power, POWER_MIN)) + OFFSET_LU


def block_powers(x: tf.Tensor, sample_rate_hz: float) -> tf.Tensor:
    """Return the K-weighted power of each 400 ms block, all sides summed, for ``x`` ``(..., n_sides, n_frames)``."""
    weighted = filtered(x, k_response(sample_rate_hz))
    frames = tf.signal.frame(weighted, round(BLOCK_S * sample_rate_hz), round(HOP_S * sample_rate_hz))
    return tf.reduce_sum(tf.reduce_mean(tf.square(frames), axis=-1), axis=-2)


def _gated_mean(powers: tf.Tensor, gate_lufs: tf.Tensor) -> tf.Tensor:
    passes = tf.cast(_lufs(tf.stop_gradient(powers)) > gate_lufs, powers.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(powers * passes, axis=-1), tf.reduce_sum(passes, axis=-1))


def integrated_lufs(x: tf.Tensor, sample_rate_hz: float) -> tf.Tensor:
    """Return the gated loudness of ``x``, ``(..., n_sides, n_frames)``, as ``(...)``; silence reads about -121."""
    powers = block_powers(x, sample_rate_hz)
    ungated = _gated_mean(powers, tf.constant(ABSOLUTE_GATE_LUFS))
    gate = tf.maximum(_lufs(tf.stop_gradient(ungated)) + RELATIVE_GATE_LU, ABSOLUTE_GATE_LUFS)
    return _lufs(_gated_mean(powers, gate[..., None]))
