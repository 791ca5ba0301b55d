"""The mix teacher: sees a whole session at once, both ways in time, with attention across channels. It never ships.

It is told what every channel is, so that its word is the good mix without the scatter of the labels, whatever the
student takes the channels for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .layers import Unit, dense, uniform
from .layout import LN_SIGMA_START, MIX_HEADS, N_MIX_INPUT, N_MODEL_INPUT, N_OUTPUT, N_ROLES

N_TIME_TAPS = 9


@dataclass(frozen=True, kw_only=True)
class MixTeacherSize:
    """Widths, and ticks that one step of the teacher averages (20 ticks: 2.5 steps a second)."""

    width: int = 128
    blocks: int = 4
    heads: int = 4
    stride_ticks: int = 20


class LayerNorm(tf.Module):
    """Norm of each vector by itself; float networks only."""

    def __init__(self, n: int) -> None:
        super().__init__("norm")
        self.gamma = tf.Variable(tf.ones(n))
        self.beta = tf.Variable(tf.zeros(n))

    def __call__(self, h: Any) -> Any:
        """Normalise the last axis."""
        mean, variance = tf.nn.moments(h, [-1], keepdims=True)
        return (h - mean) * tf.math.rsqrt(variance + 1e-5) * self.gamma + self.beta


class Block(tf.Module):
    """Attention across the channels of an instant, convolution along each channel's time, and a wide dense pair."""

    def __init__(self, width: int, heads: int, rng: np.random.Generator) -> None:
        super().__init__("block")
        self.width, self.heads = width, heads
        self.norms = [LayerNorm(width) for _ in range(3)]
        self.qkv = uniform(rng, (width, 3 * width), fan=width)
        self.out = uniform(rng, (width, width), fan=4 * width)
        self.taps = tf.Variable(tf.zeros((N_TIME_TAPS, width)))
        self.wide = Unit(rng, (width,), 2 * width, is_bounded=False)
        self.narrow = Unit(rng, (2 * width,), width, is_bounded=False)

    def __call__(self, h: Any, mask: Any) -> Any:
        """``h (batch, n_steps, n_channels, width)``, ``mask (batch, n_channels)``."""
        h = h + self._across(self.norms[0](h), mask)
        h = h + self._along(self.norms[1](h))
        return h + self.narrow(tf.nn.gelu(self.wide(self.norms[2](h))))

    def _across(self, h: Any, mask: Any) -> Any:
        shape, per_head = tf.shape(h), self.width // self.heads
        qkv = tf.reshape(dense(h, self.qkv), tf.concat([shape[:3], [3, self.heads, per_head]], 0))
        q, k, v = (tf.transpose(qkv[:, :, :, i], (0, 1, 3, 2, 4)) for i in range(3))
        scores = tf.matmul(q, k, transpose_b=True) * per_head**-0.5
        weights = tf.nn.softmax(scores - 1e9 * (1.0 - mask[:, None, None, None, :]))
        mixed = tf.transpose(tf.matmul(weights, v), (0, 1, 3, 2, 4))
        return dense(tf.ensure_shape(tf.reshape(mixed, shape), h.shape), self.out)

    def _along(self, h: Any) -> Any:
        half, n_steps = N_TIME_TAPS // 2, tf.shape(h)[1]
        padded = tf.pad(h, [[0, 0], [half, half], [0, 0], [0, 0]])
        return sum(padded[:, k : k + n_steps] * self.taps[k] for k in range(N_TIME_TAPS))


class MixTeacher(tf.Module):
    """See the module."""

    def __init__(self, size: MixTeacherSize, rng: np.random.Generator) -> None:
        super().__init__("mix_teacher")
        self.size = size
        self.enter = Unit(rng, (2 * N_MODEL_INPUT, N_MIX_INPUT, N_ROLES), size.width, is_bounded=False)
        self.blocks = [Block(size.width, size.heads, rng) for _ in range(size.blocks)]
        self.norm = LayerNorm(size.width)
        self.head = Unit(rng, (size.width,), N_OUTPUT["mix"], is_bounded=False)
        self.head.set_bias(MIX_HEADS["ln_sigma"].columns, LN_SIGMA_START)

    def __call__(self, x: Any, m: Any, role: Any, mask: Any) -> Any:
        """Judge whole sessions.

        Parameters
        ----------
        x
            ``(batch, n_steps, n_channels, 208)``: mean and deviation of the model inputs over each step.
        m
            ``(batch, n_steps, 56)``: mean of the mix inputs.
        role
            ``(batch, n_channels)``: what each channel truly is.
        mask
            ``(batch, n_channels)``, 1 for a channel, 0 for padding.

        Returns
        -------
        ``(batch, n_steps, n_channels, 44)``.
        """
        told = tf.one_hot(role, N_ROLES)[:, None]
        told = tf.broadcast_to(told, tf.concat([tf.shape(x)[:3], [N_ROLES]], 0))
        h = self.enter(x, m[:, :, None, :], told)
        for block in self.blocks:
            h = block(h, mask)
        return self.head(self.norm(h))
