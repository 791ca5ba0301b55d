"""Fits the polynomials of ``src/log2exp2.h``: ``python -m dsp_kernels.reference.log2exp2`` prints their constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
N_NODES = 4000
N_ROUNDS = 60


def minimax(target: Function, weight: Function, low: float, high: float, degree: int) -> NDArray[np.float64]:
    """Return the polynomial, lowest power first, whose largest weighted error is smallest (Lawson 1961).

    Parameters
    ----------
    target, weight
        What is fitted, and what its error is multiplied by.
    low, high
        The interval.
    degree
        Of the polynomial.
    """
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(N_NODES) + 0.5) / N_NODES)
    powers, y, w = np.vander(x, degree + 1, increasing=True), target(x), weight(x)
    emphasis = np.full(N_NODES, 1 / N_NODES)
    for _ in range(N_ROUNDS):
        q = np.sqrt(emphasis) * w
        fitted = np.linalg.lstsq(powers * q[:, None], y * q, rcond=None)[0]
        emphasis *= np.abs((powers @ fitted - y) * w)
        emphasis /= emphasis.sum()
    return fitted


def log2_of_mantissa() -> NDArray[np.float64]:
    """Return P of ``log2(1 + t) = t P(t)`` for 1 + t between sqrt(1/2) and sqrt(2); the absolute error counts."""
    return minimax(lambda t: np.log2(1 + t) / t, np.abs, np.sqrt(0.5) - 1, np.sqrt(2) - 1, 5)


def exp2_of_fraction() -> NDArray[np.float64]:
    """Return Q of ``2^f = 1 + f Q(f)`` for f between -1/2 and 1/2; the relative error counts."""
    return minimax(lambda f: np.expm1(f * np.log(2)) / f, lambda f: np.abs(f) / np.exp2(f), -0.5, 0.5, 3)


def covered() -> NDArray[np.float64]:
    """Return Q of ``1 - 2^-z = z Q(z)`` for z between 0 and 1.25; the relative error counts."""
    return minimax(lambda z: -np.expm1(-z * np.log(2)) / z, lambda z: -z / np.expm1(-z * np.log(2)), 0.0, 1.25, 5)


if __name__ == "__main__":
    for name, fit in (("log2", log2_of_mantissa), ("exp2", exp2_of_fraction), ("covered", covered)):
        print(name, ", ".join(f"{np.float32(c):.9g}f" for c in fit()))
