"""The building blocks, as plain TensorFlow modules: trained as they are, shipped with their norms folded in.

A unit is dense over several inputs, each with a kernel of its own. Where inputs have alike ranges and as many rows, the
shipped unit concatenates them, so that one sum holds them in 32 bits; other inputs get a product of their own and
are added,
since int8 forces one scale on what it concatenates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

NORM_EPSILON = 1e-3
NORM_MOMENTUM = 0.95
ADAPTER_RANK = 4


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A unit as it ships: ``y = f(sum(x_i @ kernels[i]) + bias)``, the first ``n_joined`` inputs side by side."""

    kernels: tuple[NDArray[np.float32], ...]
    bias: NDArray[np.float32]
    is_bounded: bool
    n_joined: int

    def __call__(self, *inputs: Any) -> Any:
        """Apply to rank-2 tensors; the first input decides the number of rows, the others may have one row."""
        n = self.n_joined
        first = inputs[0] if n == 1 else tf.concat(inputs[:n], axis=1)
        y = tf.matmul(first, tf.constant(np.concatenate(self.kernels[:n]))) + tf.constant(self.bias)
        for x, kernel in zip(inputs[n:], self.kernels[n:], strict=True):
            y = y + tf.matmul(x, tf.constant(kernel))
        return tf.nn.relu6(y) if self.is_bounded else y

    def part(self, columns: slice) -> Folded:
        """Return what gives some of the outputs; in int8 it has a scale of weights of its own."""
        kernels = tuple(kernel[:, columns] for kernel in self.kernels)
        return Folded(kernels=kernels, bias=self.bias[columns], is_bounded=self.is_bounded, n_joined=self.n_joined)

    def spread(self, columns: Sequence[int], n: int) -> Folded:
        """Return the unit that finds its first input in some columns of one of ``n``; the others weigh nothing."""
        first = np.zeros((n, self.kernels[0].shape[1]), np.float32)
        first[list(columns)] = self.kernels[0]
        kernels = (first, *self.kernels[1:])
        return Folded(kernels=kernels, bias=self.bias, is_bounded=self.is_bounded, n_joined=self.n_joined)

    def after(self, leave: Folded) -> Folded:
        """Return this unit of ``h + leave(j)`` as a unit of ``h`` and ``j``: the sum is never there to be rounded.

        In int8 one loud number of the sum would give all the others steps as coarse as its own.
        """
        (own,), (left,) = self.kernels, leave.kernels
        through = (left.astype(np.float64) @ own).astype(np.float32)
        bias = (self.bias + leave.bias.astype(np.float64) @ own).astype(np.float32)
        return Folded(kernels=(own, through), bias=bias, is_bounded=self.is_bounded, n_joined=1)

    @property
    def n_mac(self) -> int:
        """Multiplications for one row."""
        return sum(kernel.size for kernel in self.kernels)


class MaskedNorm(tf.Module):
    """Batch norm over all axes but the last that counts only what the mask lets through."""

    def __init__(self, n: int) -> None:
        super().__init__("norm")
        self.gamma = tf.Variable(tf.ones(n))
        self.beta = tf.Variable(tf.zeros(n))
        self.mean = tf.Variable(tf.zeros(n), trainable=False)
        self.variance = tf.Variable(tf.ones(n), trainable=False)

    def __call__(self, y: Any, *, mask: Any = None, training: bool = False) -> Any:
        """Normalise; in training also move the running moments."""
        mean, variance = self.mean, self.variance
        if training and mask is None and len(y.shape) == 4:
            normed, mean, variance = _normed(y, self.gamma, self.beta)
            self._follow(mean, variance)
            return normed
        if training:
            axes = list(range(len(y.shape) - 1))
            mean, variance = tf.nn.moments(y, axes) if mask is None else tf.nn.weighted_moments(y, axes, mask)
            self._follow(mean, variance)
        return (y - mean) * (tf.math.rsqrt(variance + NORM_EPSILON) * self.gamma) + self.beta

    def _follow(self, mean: Any, variance: Any) -> None:
        self.mean.assign(NORM_MOMENTUM * self.mean + (1.0 - NORM_MOMENTUM) * mean)
        self.variance.assign(NORM_MOMENTUM * self.variance + (1.0 - NORM_MOMENTUM) * variance)

    def scale_and_shift(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the running norm as ``y * scale + shift``."""
        gamma, beta, mean, variance = (
            w.numpy().astype(np.float64) for w in (self.gamma, self.beta, self.mean, self.variance)
        )
        scale = gamma / np.sqrt(variance + NORM_EPSILON)
        return scale, beta - mean * scale


@tf.custom_gradient
def _normed(y: Any, gamma: Any, beta: Any) -> Any:
    """Return pictures normalised over all but their last axis, mean and variance.

    With ``s = gamma / sqrt(variance + epsilon)``, ``z = (y - mean) / sqrt(variance + epsilon)`` and ``n`` numbers a
    channel, ``dy = s (d - sum(d) / n - z sum(d z) / n)`` (Ioffe and Szegedy, ICML 2015): a few passes over the picture,
    where the gradient that TensorFlow derives takes twice as many, and its fused norm not always the same bits.
    """
    axes = [0, 1, 2]
    mean = tf.reduce_mean(y, axes)
    variance = tf.reduce_mean(tf.math.squared_difference(y, mean), axes)
    per_deviation = tf.math.rsqrt(variance + NORM_EPSILON)
    scale = per_deviation * gamma

    def gradient(d: Any, _d_mean: Any, _d_variance: Any) -> tuple[Any, Any, Any]:
        share = tf.cast(tf.size(mean), tf.float32) / tf.cast(tf.size(y), tf.float32)
        d_beta = tf.reduce_sum(d, axes)
        d_gamma = (tf.reduce_sum(d * y, axes) - mean * d_beta) * per_deviation
        slope = scale * per_deviation * d_gamma * share
        return scale * d - slope * y + (slope * mean - scale * d_beta * share), d_gamma, d_beta

    return (y * scale + (beta - mean * scale), mean, variance), gradient


class Unit(tf.Module):
    """Dense over one or more inputs, then norm and ReLU6 (``is_bounded``) or a plain bias."""

    def __init__(
        self, rng: np.random.Generator, n_in: Sequence[int], n_out: int, *, is_bounded: bool = True, n_joined: int = 1
    ) -> None:
        super().__init__("unit")
        self.is_bounded, self.n_joined = is_bounded, n_joined
        self.kernels = [uniform(rng, (n, n_out), fan=(sum(n_in) + n_out) / 2) for n in n_in]
        self.adapters: list[list[tf.Variable]] = []
        if is_bounded:
            self.norm = MaskedNorm(n_out)
        else:
            self.bias = tf.Variable(tf.zeros(n_out))

    def __call__(self, *inputs: Any, mask: Any = None, training: bool = False) -> Any:
        """Return inputs broadcast against each other; the last axis is theirs alone."""
        y = sum(dense(x, kernel) for x, kernel in zip(inputs, self.effective_kernels(), strict=True))
        if not self.is_bounded:
            return y + self.bias
        return tf.nn.relu6(self.norm(y, mask=mask, training=training and not self.adapters))

    def set_bias(self, columns: slice, value: float) -> None:
        """Start some columns from ``value``; for units without a norm."""
        bias = self.bias.numpy()
        bias[columns] = value
        self.bias.assign(bias)

    def add_adapters(self, rng: np.random.Generator) -> list[tf.Variable]:
        """Add to each kernel a product of two thin matrices, zero at first; the norm stands still from now on."""
        for kernel in self.kernels:
            rank = min(ADAPTER_RANK, *kernel.shape)
            narrow = tf.Variable(rng.normal(0.0, 0.05, (kernel.shape[0], rank)).astype(np.float32))
            self.adapters.append([narrow, tf.Variable(tf.zeros((rank, kernel.shape[1])))])
        return [variable for pair in self.adapters for variable in pair]

    def merge_adapters(self) -> None:
        """Add what the adapters learned to the kernels and drop them."""
        for kernel, effective in zip(self.kernels, self.effective_kernels(), strict=True):
            kernel.assign(effective)
        self.adapters = []

    def effective_kernels(self) -> list[Any]:
        """Return the kernels, each with its adapter where there is one."""
        if not self.adapters:
            return list(self.kernels)
        return [k + tf.matmul(narrow, wide) for k, (narrow, wide) in zip(self.kernels, self.adapters, strict=True)]

    def folded(self) -> Folded:
        """Return the unit as it ships."""
        kernels = [np.asarray(k, np.float64) for k in self.effective_kernels()]
        if self.is_bounded:
            scale, bias = self.norm.scale_and_shift()
            kernels = [k * scale for k in kernels]
        else:
            bias = self.bias.numpy()
        return Folded(
            kernels=tuple(k.astype(np.float32) for k in kernels),
            bias=bias.astype(np.float32),
            is_bounded=self.is_bounded,
            n_joined=self.n_joined,
        )


DEPTHWISE = 0  # for n_out: each band keeps to itself


class Conv(tf.Module):
    """Convolution, norm and ReLU6 on ``(batch, ticks, bands, n)``; full or depthwise."""

    def __init__(
        self,
        rng: np.random.Generator,
        n_in: int,
        n_out: int,
        size: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__("conv")
        self.strides, self.is_depthwise = strides, n_out == DEPTHWISE
        shape = (*size, n_in, 1 if self.is_depthwise else n_out)
        self.kernel = uniform(rng, shape, fan=size[0] * size[1] * (1 if self.is_depthwise else n_in) / 2)
        self.norm = MaskedNorm(n_in if self.is_depthwise else n_out)

    def __call__(self, x: Any, *, training: bool = False) -> Any:
        """Convolve, normalise, bound."""
        return tf.nn.relu6(self.norm(_convolved(x, self.kernel, self.strides, self.is_depthwise), training=training))

    def folded(self) -> Callable[[Any], Any]:
        """Return the layer with its norm inside the kernel, as a function."""
        scale, shift = self.norm.scale_and_shift()
        kernel = self.kernel.numpy().astype(np.float64) * (scale[:, None] if self.is_depthwise else scale)
        kernel, bias = kernel.astype(np.float32), shift.astype(np.float32)
        strides, is_depthwise = self.strides, self.is_depthwise

        def apply(x: Any) -> Any:
            return tf.nn.relu6(_convolved(x, tf.constant(kernel), strides, is_depthwise) + tf.constant(bias))

        return apply


def uniform(rng: np.random.Generator, shape: Sequence[int], *, fan: float) -> tf.Variable:
    """Weights of variance ``1 / fan`` (Glorot and Bengio, AISTATS 2010, with their mean of both fans)."""
    limit = (3.0 / fan) ** 0.5
    return tf.Variable(rng.uniform(-limit, limit, tuple(shape)).astype(np.float32))


def dense(x: Any, kernel: Any) -> Any:
    """``x @ kernel`` over the last axis, as one large product."""
    if len(x.shape) == 2:
        return tf.matmul(x, kernel)
    flat = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), kernel)
    return tf.reshape(flat, tf.concat([tf.shape(x)[:-1], [kernel.shape[-1]]], 0))


def delayed(x: Any, n_ticks: int) -> Any:
    """``x`` of ``n_ticks`` ago along axis 1; before the beginning it was zero."""
    padding = [[0, 0]] * len(x.shape)
    padding[1] = [n_ticks, 0]
    return tf.pad(x, padding)[:, : tf.shape(x)[1]]


def _convolved(x: Any, kernel: Any, strides: tuple[int, int], is_depthwise: bool) -> Any:
    if is_depthwise:
        return tf.nn.depthwise_conv2d(x, kernel, (1, *strides, 1), "SAME")
    return tf.nn.conv2d(x, kernel, strides, "SAME")
