"""The same console out of the C kernels, all sound at once: what the differentiable one and labels are held to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, installed

RATE_HZ = 48000.0
N_LANES = 4
BELL, LOW_SHELF, HIGH_SHELF, HIGH_PASS, TILT = range(1, 6)
Sections = list[tuple[int, float, float, float]]
Mono = NDArray[np.float32]


def music(n_frames: int, n_channels: int, seed: int = 1) -> NDArray[np.float32]:
    """Return notes that decay, over soft noise, ``(n_channels, n_frames)``, peaks at -6 dBFS."""
    rng = np.random.default_rng(seed)
    out = 0.003 * rng.standard_normal((n_channels, n_frames))
    for x in out:
        begin, base_hz = int(rng.uniform(0, 3000)), 60 * 2 ** rng.uniform(0, 4)
        while begin < n_frames:
            t = np.arange(n_frames - begin) / RATE_HZ
            pitch_hz = base_hz * 2 ** (rng.integers(0, 12) / 12)
            tone = sum(np.sin(2 * np.pi * pitch_hz * k * t + rng.uniform(0, 6)) / k for k in range(1, 12))
            x[begin:] += rng.uniform(0.1, 1) * tone * np.exp(-t / rng.uniform(0.05, 0.4)) * (1 - np.exp(-t / 0.002))
            begin += int(rng.uniform(0.1, 0.4) * RATE_HZ)
    return (out * (0.5 / np.abs(out).max(axis=1, keepdims=True))).astype(np.float32)


def _lanes(x: Mono) -> NDArray[np.float32]:
    return np.repeat(x[:, None], N_LANES, axis=1)


def equalised(x: Mono, sections: Sections) -> Mono:
    """Return ``x`` through sections of type, freq_hz, gain_db, q."""
    kernel = Kernel(installed(), "eq", RATE_HZ, N_LANES, len(sections), size_arguments=(N_LANES, len(sections)))
    for n, (type_, freq_hz, gain_db, q) in enumerate(sections):
        design = kernel.ffi.new("eh_section_design *", [type_, freq_hz, gain_db, q])
        for lane in range(N_LANES):
            kernel.call("set", lane, n, design, 0.0)
    kernel.call("reset")
    return kernel.process(_lanes(x))[:, 0].copy()


def compressed(x: NDArray[np.float32], **settings: float) -> NDArray[np.float32]:
    """Return ``x``, ``(n_frames,)`` or linked ``(n_frames, 2)``, through the compressor."""
    lanes = _lanes(x) if x.ndim == 1 else np.repeat(x, 2, axis=1)[:, [0, 2, 1, 3]]
    kernel = Kernel(installed(), "compressor", RATE_HZ, N_LANES, size_arguments=(N_LANES,))
    for lane in range(N_LANES):
        kernel.call("set", lane, kernel.params("compressor", is_on=1, **settings))
    for even in (0, 2) if x.ndim == 2 else ():
        kernel.call("link", even, 1)
    kernel.call("reset")
    out = kernel.process(lanes)
    return out[:, 0].copy() if x.ndim == 1 else out[:, :2].copy()


def panned(channels: list[Mono], level_db: list[float], pan: list[float]) -> NDArray[np.float32]:
    """Return the stereo sum of mono channels, ``(n_frames, 2)``, through the mixing matrix."""
    library, n_lanes = installed(), -(-len(channels) // 4) * 4
    kernel = Kernel(library, "mix", RATE_HZ, n_lanes, 4)
    gains = library.ffi.new("float[4]")
    for lane, (level, position) in enumerate(zip(level_db, pan, strict=True)):
        library.lib.eh_pan_mono(position, gains)
        for side in range(2):
            gains[side] *= 10 ** (level / 20)
        kernel.call("set", lane, gains, 0.0)
    kernel.call("reset")
    x = np.zeros((len(channels[0]), n_lanes), np.float32)
    x[:, : len(channels)] = np.stack(channels, axis=1)
    return kernel.process(x, out_lanes=4)[:, :2].copy()


def reverberated(send: Mono, decay_s: float = 1.4) -> NDArray[np.float32]:
    """Return the wet stereo sound, ``(n_frames, 2)``."""
    kernel = Kernel(installed(), "reverb", RATE_HZ, size_arguments=(RATE_HZ,))
    kernel.call("set", kernel.params("reverb", decay_s=decay_s))
    kernel.call("reset")
    return kernel.process(send[:, None], out_lanes=2)


def limited(x: NDArray[np.float32], **settings: float) -> NDArray[np.float32]:
    """Return the stereo ``x``, ``(n_frames, 2)``, limited, its delay taken out, the last 48 frames missing."""
    kernel = Kernel(installed(), "limiter", RATE_HZ, 4, size_arguments=(4,))
    for lane in range(4):
        kernel.call("set", lane, kernel.params("limiter", **settings))
    kernel.call("link", 0, 1)
    kernel.call("reset")
    return kernel.process(np.repeat(x, 2, axis=1)[:, [0, 2, 1, 3]])[48:, :2].copy()


def error_db(y: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Return the power of the difference relative to what was wanted."""
    difference = np.asarray(y, np.float64) - np.asarray(wanted, np.float64)
    return float(10 * np.log10(np.mean(difference**2) / np.mean(np.asarray(wanted, np.float64) ** 2) + 1e-30))
