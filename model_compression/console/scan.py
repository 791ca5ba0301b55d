"""First-order recursions along the last axis, evaluated in parallel and differentiable.

``h[n] = max(a[n], b[n] + c[n] h[n-1])`` with ``c >= 0`` is closed under composition, so all values follow from an
associative scan (Blelloch, "Prefix sums and their applications", 1990): exact, and with a depth of log2(n).
The gradient is the same kind of recursion run backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Elements = tuple[tf.Tensor, ...]


def _interleaved(even: tf.Tensor, odd: tf.Tensor) -> tf.Tensor:
    n_odd = odd.shape[-1]
    pairs = tf.stack([even[..., :n_odd], odd], axis=-1)
    joined = tf.reshape(pairs, [*even.shape[:-1], 2 * n_odd])
    return joined if even.shape[-1] == n_odd else tf.concat([joined, even[..., n_odd:]], axis=-1)


def _scanned(combine: Callable[[Elements, Elements], Elements], elements: Elements) -> Elements:
    """Return all prefixes; the length must be known when the graph is made."""
    n = elements[0].shape[-1]
    if n < 2:
        return elements
    pairs = combine(tuple(e[..., 0 : n - 1 : 2] for e in elements), tuple(e[..., 1::2] for e in elements))
    odd = _scanned(combine, pairs)
    n_rest = (n - 1) // 2
    rest = combine(tuple(o[..., :n_rest] for o in odd), tuple(e[..., 2::2] for e in elements))
    even = tuple(tf.concat([e[..., :1], r], axis=-1) for e, r in zip(elements, rest, strict=True))
    return tuple(_interleaved(e, o) for e, o in zip(even, odd, strict=True))


def _affine_after(first: Elements, then: Elements) -> Elements:
    return then[0] + then[1] * first[0], then[1] * first[1]


def _max_affine_after(first: Elements, then: Elements) -> Elements:
    return tf.maximum(then[0], then[1] + then[2] * first[0]), then[1] + then[2] * first[1], then[2] * first[2]


def _affine(b: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
    """``h[n] = b[n] + c[n] h[n-1]`` from rest, without a gradient of its own."""
    return _scanned(_affine_after, (b, c))[0]


def _before(h: tf.Tensor) -> tf.Tensor:
    return tf.concat([tf.zeros_like(h[..., :1]), h[..., :-1]], axis=-1)


def _adjoint(upstream: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
    """``l[n] = upstream[n] + c[n+1] l[n+1]``."""
    return tf.reverse(_affine(tf.reverse(upstream, [-1]), _before(tf.reverse(c, [-1]))), [-1])


@tf.custom_gradient
def affine_scan(b: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Return ``h[n] = b[n] + c[n] h[n-1]``, ``h[-1] = 0``; all of one shape ``(..., n)``."""
    h = _affine(b, c)

    def gradient(upstream: tf.Tensor) -> Elements:
        adjoint = _adjoint(upstream, c)
        return adjoint, adjoint * _before(h)

    return h, gradient


@tf.custom_gradient
def max_affine_scan(a: tf.Tensor, b: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Return ``h[n] = max(a[n], b[n] + c[n] h[n-1])``, ``h[-1] = 0``; all of one shape ``(..., n)``, ``c >= 0``."""
    top, line, _ = _scanned(_max_affine_after, (a, b, tf.concat([tf.zeros_like(c[..., :1]), c[..., 1:]], axis=-1)))
    h = tf.maximum(top, line)

    def gradient(upstream: tf.Tensor) -> Elements:
        is_line = tf.cast(b + c * _before(h) > a, h.dtype)
        adjoint = _adjoint(upstream, c * is_line)
        return adjoint * (1 - is_line), adjoint * is_line, adjoint * is_line * _before(h)

    return h, gradient


def one_pole(x: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Return ``y[n] = y[n-1] + share (x[n] - y[n-1])`` from rest; ``share`` broadcasts against ``x``."""
    share = tf.broadcast_to(share, tf.shape(x))
    share = tf.ensure_shape(share, x.shape)
    return affine_scan(share * x, 1 - share)
