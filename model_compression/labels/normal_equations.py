"""Energies of strips, of their derivatives, of their reverb and of the mix, summed in one pass over the sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, Library

from .closed_form import PREEMPHASIS
from .strips import Settings, StripBank

Array = NDArray[np.float64]

BLOCK_FRAMES = 16384
RIDGE = 1e-7


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Aligned stems ``(n_frames, 1 or 2)`` and the mix ``(n_frames, 2)``."""

    stems: tuple[NDArray[np.float32], ...]
    mix: NDArray[np.float32]
    sample_rate_hz: float
    decay_s: float


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What one pass leaves.

    ``gram[side]`` holds the products of all columns of that side: strips, then the derivatives channel by channel, then
    the reverb of each strip, then the mix.
    """

    gram: Array  # (2, n_columns, n_columns)
    n_channels: int
    n_free: int

    def _linear_columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        n, n_slopes = self.n_channels, self.n_channels * self.n_free
        return np.arange(n), n + n_slopes + np.arange(n)

    def _linear_system(self) -> tuple[Array, Array]:
        """Return matrix and right side for left gains, right gains and reverb sends, in this order."""
        n = self.n_channels
        dry, wet = self._linear_columns()
        matrix, target = np.zeros((3 * n, 3 * n)), np.zeros(3 * n)
        for side, gram in enumerate(self.gram):
            own = slice(side * n, (side + 1) * n)
            matrix[own, own] = gram[np.ix_(dry, dry)]
            matrix[own, 2 * n :] = gram[np.ix_(dry, wet)]
            matrix[2 * n :, own] = matrix[own, 2 * n :].T
            matrix[2 * n :, 2 * n :] += gram[np.ix_(wet, wet)]
            target[own] = gram[dry, -1]
            target[2 * n :] += gram[wet, -1]
        return matrix, target

    def linear(self) -> Array:
        """Return the best left gain, right gain and reverb send of each channel, ``(n_channels, 3)``."""
        matrix, target = self._linear_system()
        own = np.sqrt(np.maximum(np.diag(matrix), 1e-30))
        scaled = matrix / np.outer(own, own) + RIDGE * np.eye(len(own))
        return (np.linalg.solve(scaled, target / own) / own).reshape(3, -1).T

    def mix_energy(self) -> float:
        """Return the energy of the mix."""
        return float(self.gram[:, -1, -1].sum())

    def residual(self, gains: Array) -> float:
        """Return the energy of the mix less what ``gains`` make of the strips."""
        matrix, target = self._linear_system()
        g = gains.T.reshape(-1)
        return max(float(self.mix_energy() - 2 * g @ target + g @ matrix @ g), 0.0)

    def relative_db(self, energy: float) -> float:
        """Return an energy relative to the mix."""
        return float(10 * np.log10(energy / (self.mix_energy() + 1e-30) + 1e-12))

    def gauss_newton(self, gains: Array) -> tuple[Array, Array]:
        """Return matrix and right side of the step in the strips' settings (channel by channel), then in the gains."""
        n, n_slopes = self.n_channels, self.n_channels * self.n_free
        dry, wet = self._linear_columns()
        size = n_slopes + 3 * n
        matrix, slope = np.zeros((size, size)), np.zeros(size)
        channel_of = np.repeat(np.arange(n), self.n_free)
        for side, gram in enumerate(self.gram):
            # Each unknown moves one column of this side, at some weight; a gain of the other side moves none.
            columns = np.concatenate([n + np.arange(n_slopes), dry, dry, wet])
            weights = np.concatenate(
                [gains[channel_of, side], np.full(n, side == 0), np.full(n, side == 1), np.ones(n)]
            ).astype(np.float64)
            mixing = np.zeros(len(gram))
            mixing[dry], mixing[wet], mixing[-1] = -gains[:, side], -gains[:, 2], 1.0
            matrix += gram[np.ix_(columns, columns)] * np.outer(weights, weights)
            slope += (gram @ mixing)[columns] * weights
        return matrix, slope


class _Preemphasis:
    """``x[n] - PREEMPHASIS x[n-1]`` down the rows, over the edges of blocks."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        last = np.zeros_like(x[:1]) if self._last is None else self._last
        self._last = x[-1:].copy()
        y = x.copy()
        y[0] -= np.float32(PREEMPHASIS) * last[0]
        y[1:] -= np.float32(PREEMPHASIS) * x[:-1]
        return y


def _reverb(library: Library, sound: Sound) -> Kernel:
    kernel = Kernel(library, "reverb", sound.sample_rate_hz, size_arguments=(sound.sample_rate_hz,))
    kernel.call("set", kernel.params("reverb", decay_s=sound.decay_s))
    kernel.call("reset")
    return kernel


def measure(
    library: Library,
    sound: Sound,
    variants: Sequence[Sequence[Settings]],
    steps: Array,
    *,
    has_compressor: bool,
    has_send: bool,
) -> Sums:
    """Run every channel at its settings and at one variant a free setting, ``steps`` away, and sum the products."""
    n, n_free = len(sound.stems), len(steps)
    banks = [
        StripBank(library, sound.sample_rate_hz, several, n_sides=stem.shape[1], has_compressor=has_compressor)
        for several, stem in zip(variants, sound.stems, strict=True)
    ]
    reverbs = [_reverb(library, sound) for _ in range(n)] if has_send else []
    is_same = all(stem.shape[1] == 1 for stem in sound.stems)
    n_dry = n * (1 + n_free)
    gram = np.zeros((2, n_dry + n + 1, n_dry + n + 1))
    flatten = [_Preemphasis(), _Preemphasis()]
    scale = (1 / steps).astype(np.float32)
    for begin in range(0, len(sound.mix), BLOCK_FRAMES):
        part = slice(begin, begin + BLOCK_FRAMES)
        n_frames = len(sound.mix[part])
        columns = np.zeros((2, n_frames, n_dry + n + 1), np.float32)
        for ch, (bank, stem) in enumerate(zip(banks, sound.stems, strict=True)):
            out = bank.process(stem[part])
            for side in range(2):
                lane = out[:, :, side % stem.shape[1]]
                columns[side, :, ch] = lane[:, 0]
                columns[side, :, n + ch * n_free : n + (ch + 1) * n_free] = (lane[:, 1:] - lane[:, :1]) * scale
            if has_send:
                send = np.ascontiguousarray(out[:, 0].mean(axis=1, keepdims=True))
                columns[:, :, n_dry + ch] = reverbs[ch].process(send, out_lanes=2).T
        columns[:, :, -1] = sound.mix[part].T
        left = flatten[0](columns[0])
        gram[0] += left.T @ left
        right = flatten[1](columns[1])
        if is_same:
            shared, rest = right[:, :n_dry], right[:, n_dry:]
            gram[1, :n_dry, n_dry:] += shared.T @ rest
            gram[1, n_dry:, n_dry:] += rest.T @ rest
        else:
            gram[1] += right.T @ right
    if is_same:
        gram[1, :n_dry, :n_dry] = gram[0, :n_dry, :n_dry]
        gram[1, n_dry:, :n_dry] = gram[1, :n_dry, n_dry:].T
    return Sums(gram=gram, n_channels=n, n_free=n_free)
