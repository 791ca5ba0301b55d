"""The linked look-ahead limiter of ``limiter.c`` as a smooth gain; sample peaks, without its delay.

Its recovery ``g += c g (low - g)`` is a straight one-pole in ``1/g``, up to c squared, and c is about 3e-4.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from .scan import max_affine_scan
from .strip import to_lin

LOOKAHEAD_FRAMES = 48
SMOOTH_FRAMES = 16
OLDEST_FRAMES, NEWEST_FRAMES = 54, 5


def gain_lin(x: tf.Tensor, sample_rate_hz: float, *, ceiling_dbfs: float = -1.2, release_ms: float = 80.0) -> tf.Tensor:
    """Return the gain of each frame, ``(..., n_frames)``, for a stereo ``x``, ``(..., 2, n_frames)``."""
    n_frames = x.shape[-1]
    peak = tf.reduce_max(tf.abs(x), axis=-2)
    needed = tf.reshape(tf.maximum(peak / to_lin(tf.constant(ceiling_dbfs)), 1.0), [-1, n_frames, 1])
    # Its input frame n sees frames n - 54 to n - 5 and plays frame n - 48.
    padded = tf.pad(needed, [[0, 0], [OLDEST_FRAMES, LOOKAHEAD_FRAMES - NEWEST_FRAMES], [0, 0]], constant_values=1.0)
    held = tf.nn.max_pool1d(padded, OLDEST_FRAMES - NEWEST_FRAMES + 1, 1, "VALID")[..., 0]
    share = -np.expm1(-1000.0 / (release_ms * sample_rate_hz))
    lowest = 1 / (1 + max_affine_scan(held - 1, share * (1 - 1 / held), 1 - share / held))
    box = np.ones(SMOOTH_FRAMES) / SMOOTH_FRAMES
    triangle = np.convolve(box, box).astype(np.float32)
    before = tf.pad(lowest, [[0, 0], [len(triangle) - 1, 0]], constant_values=1.0)
    smooth = tf.nn.conv1d(before[..., None], tf.constant(triangle[:, None, None]), 1, "VALID")[..., 0]
    return tf.reshape(smooth[:, LOOKAHEAD_FRAMES:], [*x.shape[:-2], n_frames])
