"""Runs the feature extractor over arrays, for its tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import FEATURES
from dsp_kernels.native import Kernel, Library

RATE_HZ = 48000.0


class Extractor:
    """An ``eh_features`` over ``n_channels``."""

    def __init__(self, library: Library, n_channels: int, rate_hz: float = RATE_HZ) -> None:
        self.kernel = Kernel(library, "features", rate_hz, n_channels, size_arguments=(rate_hz, n_channels))
        self.n_channels = n_channels
        self.record = np.dtype(
            [(f.name, np.float32, (f.count,)) if f.count > 1 else (f.name, np.float32) for f in FEATURES]
        )

    @property
    def hop_frames(self) -> int:
        """Frames between two records."""
        return int(self.kernel.struct.hop_frames)

    @property
    def fft_frames(self) -> int:
        """Frames of the short window."""
        return int(self.kernel.struct.fft_frames)

    def latest(self) -> NDArray[Any]:
        """Return the records of the last hop, shape ``(n_channels,)``."""
        pointer = self.kernel.call("latest")
        size_bytes = self.n_channels * self.record.itemsize
        return np.frombuffer(self.kernel.ffi.buffer(pointer, size_bytes), self.record).copy()

    def process(self, x: NDArray[np.float32], strip: NDArray[np.float32] | None = None) -> int:
        """Feed both taps, by default with the same sound; return the hops that ended."""
        x = np.ascontiguousarray(x, np.float32)
        strip = x if strip is None else np.ascontiguousarray(strip, np.float32)
        return self.kernel.call("process", self.kernel.pointer(x), self.kernel.pointer(strip), x.shape[1], len(x))

    def run(self, x: NDArray[np.float32], strip: NDArray[np.float32] | None = None, block: int = 0) -> NDArray[Any]:
        """Return the records of every hop, shape ``(n_hops, n_channels)``; blocks must not be longer than a hop."""
        records, block = [], block or self.hop_frames
        for start in range(0, len(x), block):
            part = slice(start, start + block)
            if self.process(x[part], None if strip is None else strip[part]):
                records.append(self.latest())
        return np.array(records)

    def pair(self, a: int, b: int) -> tuple[float, float]:
        """Return coherence and delay of ``b`` against ``a``."""
        values = self.kernel.ffi.new("float[2]")
        self.kernel.call("pair", a, b, values, values + 1)
        return values[0], values[1]


def in_lanes(*channels: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return channels side by side, with silent lanes up to a multiple of four."""
    n_lanes = (len(channels) + 3) // 4 * 4
    x = np.zeros((len(channels[0]), n_lanes), np.float32)
    for lane, channel in enumerate(channels):
        x[:, lane] = channel
    return x


def noise(n_frames: int, level_dbfs: float = -20.0, seed: int = 1, low_pass_hz: float = 0.0) -> NDArray[np.float64]:
    """Return Gaussian noise of the given RMS level, low-passed by 12 dB an octave if wished."""
    x = np.random.default_rng(seed).standard_normal(n_frames)
    if low_pass_hz:
        from scipy.signal import butter, lfilter

        x = lfilter(*butter(2, low_pass_hz, fs=RATE_HZ), x)
    return x / np.sqrt(np.mean(x**2)) * 10 ** (level_dbfs / 20)


def talker(n_frames: int, level_dbfs: float = -20.0, seed: int = 1) -> NDArray[np.float64]:
    """Return noise that comes in syllables of uneven strength, 4.5 a second, with pauses: the rhythm of speech."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_frames) / RATE_HZ
    syllable = np.maximum(np.sin(2 * np.pi * 4.5 * t + rng.uniform(0, 6)), 0) ** 2
    strengths = rng.choice([0.0, 0.5, 1.0], int(t[-1] * 4.5) + 2)
    strengths[0] = 1.0
    strength = strengths[(t * 4.5).astype(int)]
    x = noise(n_frames, 0.0, seed + 1000, 3000.0) * syllable * strength
    return x / np.sqrt(np.mean(x**2)) * 10 ** (level_dbfs / 20)
