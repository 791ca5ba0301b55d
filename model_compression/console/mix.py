"""From stems and settings to the stereo mix: strip, fader, pan, reverb send, main bus, limiter."""

from __future__ import annotations

import math

import tensorflow as tf

from . import compressor, limiter
from .eq import BELLS, FRAMES, Shape, filtered, strip_response
from .reverb import wet
from .strip import Strip, fader_to_lin, to_lin


def pan_gains(pan: tf.Tensor, is_stereo: tf.Tensor) -> tf.Tensor:
    """Return left and right gain, ``(..., n_channels, 2)``: sine law of a mono channel, balance of a stereo one."""
    angle = (tf.clip_by_value(pan, -1.0, 1.0) + 1) * (math.pi / 4)
    mono = tf.stack([tf.cos(angle), tf.sin(angle)], axis=-1)
    return tf.where(is_stereo[..., None], tf.minimum(math.sqrt(2) * mono, 1.0), mono)


def processed(
    strip: Strip,
    stems: tf.Tensor,
    sample_rate_hz: float,
    *,
    shapes: tuple[Shape, ...] = BELLS,
    is_automatic: bool = False,
) -> tf.Tensor:
    """Return the channels before their faders.

    Parameters
    ----------
    strip
        Settings, fields ``(..., n_channels)``.
    stems
        float32 ``(..., n_channels, n_sides, n_frames)``; ``n_frames`` known when the graph is made. With two sides a
        mono channel has the same on both.
    """
    response = strip_response(strip, 2 * FRAMES, sample_rate_hz, shapes)[..., None, :]
    x = filtered(stems * to_lin(strip.trim_db)[..., None, None], response)
    if is_automatic:
        gain = compressor.automatic_gain_lin(x, strip, sample_rate_hz)
    else:
        gain = compressor.gain_lin(x, strip, sample_rate_hz)
    return x * gain[..., None, :]


def summed(strip: Strip, channels: tf.Tensor, is_stereo: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the dry stereo sum ``(..., 2, n_frames)`` and the reverb's input ``(..., n_frames)``."""
    pans = tf.unstack(pan_gains(strip.pan, is_stereo), axis=-1)
    faded = channels * fader_to_lin(strip.level_db)[..., None, None]
    left, right = faded[..., 0, :], faded[..., -1, :]
    send = tf.reduce_sum((left + right) / 2 * fader_to_lin(strip.send_db)[..., None], axis=-2)
    dry = [tf.reduce_sum(side * gain[..., None], axis=-2) for side, gain in zip((left, right), pans, strict=True)]
    return tf.stack(dry, axis=-2), send


def mixed(
    strip: Strip,
    stems: tf.Tensor,
    sample_rate_hz: float,
    *,
    is_stereo: tf.Tensor | None = None,
    has_reverb: bool = True,
    has_limiter: bool = True,
    decay_s: float = 1.4,
    shapes: tuple[Shape, ...] = BELLS,
    is_automatic: bool = False,
) -> tf.Tensor:
    """Return the stereo mix, ``(..., 2, n_frames)``, in time with the stems; shapes as in ``processed``."""
    channels = processed(strip, stems, sample_rate_hz, shapes=shapes, is_automatic=is_automatic)
    stereo = tf.zeros_like(strip.pan, tf.bool) if is_stereo is None else is_stereo
    mix, send = summed(strip, channels, stereo)
    if has_reverb:
        mix += wet(send, sample_rate_hz, decay_s)
    if has_limiter:
        mix *= limiter.gain_lin(mix, sample_rate_hz)[..., None, :]
    return mix
