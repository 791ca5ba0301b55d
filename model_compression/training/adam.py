"""Adam with decoupled weight decay, warm-up and a cosine; its moments are plain arrays, so a checkpoint is too.

Kingma and Ba, ICLR 2015; Loshchilov and Hutter, ICLR 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

BETA_1, BETA_2, EPSILON = 0.9, 0.98, 1e-7
MAX_GRADIENT_NORM = 1.0
WARM_SHARE, LAST_SHARE = 0.05, 0.01


class Adam(tf.Module):
    """The optimiser of some variables."""

    def __init__(self, variables: list[tf.Variable], *, weight_decay: float) -> None:
        super().__init__("adam")
        self.weight_decay = weight_decay
        self.trained = variables
        self.first = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self.second = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
        self.count = tf.Variable(0.0, trainable=False)

    def apply(self, gradients: list[Any], learning_rate: Any) -> Any:
        """One step; matrices decay, biases and norms do not. Returns the gradients' norm before clipping."""
        gradients, norm = tf.clip_by_global_norm(
            [tf.zeros_like(v) if g is None else g for g, v in zip(gradients, self.trained, strict=True)],
            MAX_GRADIENT_NORM,
        )
        self.count.assign_add(1.0)
        rate = learning_rate * tf.sqrt(1.0 - BETA_2**self.count) / (1.0 - BETA_1**self.count)
        for v, g, m, s in zip(self.trained, gradients, self.first, self.second, strict=True):
            m.assign(BETA_1 * m + (1.0 - BETA_1) * g)
            s.assign(BETA_2 * s + (1.0 - BETA_2) * g * g)
            decay = self.weight_decay * learning_rate * v if len(v.shape) > 1 else 0.0
            v.assign_sub(rate * m / (tf.sqrt(s) + EPSILON) + decay)
        return norm


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """Linear up, then a cosine down."""
    warm = max(1.0, WARM_SHARE * steps)
    if step < warm:
        return peak * (step + 1) / warm
    progress = (step - warm) / max(1.0, steps - warm)
    return float(peak * (LAST_SHARE + (1.0 - LAST_SHARE) * 0.5 * (1.0 + np.cos(np.pi * progress))))
