"""Twin of ``convert.c``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_float(samples: NDArray[np.integer], n_bits: int) -> NDArray[np.float64]:
    """Return integers of ``n_bits`` with full scale at 1.0."""
    return samples.astype(np.float64) * 2.0 ** (1 - n_bits)


def to_integer(x: NDArray[np.floating], n_bits: int, dither: NDArray[np.float64] | float = 0.0) -> NDArray[np.int64]:
    """Return integers of ``n_bits``, to nearest even, saturated; ``dither`` is in LSB. NaN becomes 0."""
    full = 2.0 ** (n_bits - 1)
    scaled = np.nan_to_num(np.asarray(x, np.float64), nan=0.0, posinf=2.0, neginf=-2.0) * full + dither
    return np.clip(np.rint(scaled), -full, full - 1).astype(np.int64)


def triangle(seed: int, n: int) -> NDArray[np.float64]:
    """Return the dither of ``n`` samples in LSB: triangular over -1 to 1, from a hash of the sample's number."""
    h = (np.arange(n, dtype=np.uint64) + np.uint64(seed)) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= h >> np.uint64(shift)
        h = h * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    return ((h & np.uint64(0xFFFF)).astype(np.int64) + (h >> np.uint64(16)).astype(np.int64) - 0xFFFF) / 65536


def scrub(x: NDArray[np.float32], limit_lin: float) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return ``x`` without NaN, Inf and denormals, clamped, and per lane how many were bad and how many clipped."""
    bad = ~np.isfinite(x)
    magnitude = np.abs(x)
    usable = ~bad & (magnitude >= np.finfo(np.float32).tiny)
    clean = np.clip(np.where(usable, x, np.float32(0)), -limit_lin, limit_lin).astype(np.float32)
    return clean, bad.sum(axis=0), (~bad & (magnitude >= 1)).sum(axis=0)
