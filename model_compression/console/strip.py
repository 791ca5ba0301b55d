"""Settings of the differentiable console: one tensor a parameter, named as the contract names them."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

N_BANDS = 4


class Strip(NamedTuple):
    """Settings of all channels; every field has the shape ``(..., n_channels)``, the four of the bands one axis more.

    A high-pass at 0 Hz is out. ``wet`` is the compressor's mix, 0 to 1; at 0 it is out.
    """

    trim_db: tf.Tensor
    hpf_freq_hz: tf.Tensor
    eq_freq_hz: tf.Tensor
    eq_gain_db: tf.Tensor
    eq_q: tf.Tensor
    tilt_gain_db: tf.Tensor
    tilt_freq_hz: tf.Tensor
    threshold_dbfs: tf.Tensor
    ratio: tf.Tensor
    knee_db: tf.Tensor
    attack_ms: tf.Tensor
    release_ms: tf.Tensor
    makeup_db: tf.Tensor
    wet: tf.Tensor
    level_db: tf.Tensor
    pan: tf.Tensor
    send_db: tf.Tensor


BAND_DEFAULTS = {
    "eq_freq_hz": (200.0, 570.0, 2800.0, 7400.0),
    "eq_gain_db": (0.0,) * N_BANDS,
    "eq_q": (0.9,) * N_BANDS,
}
DEFAULTS = {
    "trim_db": 0.0, "hpf_freq_hz": 0.0, "tilt_gain_db": 0.0, "tilt_freq_hz": 900.0, "threshold_dbfs": -18.0,
    "ratio": 3.0, "knee_db": 6.0, "attack_ms": 10.0, "release_ms": 120.0, "makeup_db": 0.0, "wet": 0.0,
    "level_db": 0.0, "pan": 0.0, "send_db": -90.0,
}  # fmt: skip


def neutral(shape: tuple[int, ...]) -> Strip:
    """Return settings that change nothing, for channels of ``shape`` = ``(..., n_channels)``."""
    plain = {name: tf.fill(shape, tf.constant(value, tf.float32)) for name, value in DEFAULTS.items()}
    bands = {
        name: tf.broadcast_to(tf.constant(values, tf.float32), (*shape, N_BANDS))
        for name, values in BAND_DEFAULTS.items()
    }
    return Strip(**plain, **bands)


def to_lin(gain_db: tf.Tensor) -> tf.Tensor:
    """Return the factor of a gain."""
    return tf.exp(gain_db * 0.11512925464970229)


def fader_to_lin(level_db: tf.Tensor) -> tf.Tensor:
    """Return the factor of a fader or send: -90 dB is off."""
    return tf.where(level_db <= -90.0, 0.0, to_lin(level_db))
