"""FFmpeg as a peer of the whole chain: what its own filters spend on a part of the same work."""

from __future__ import annotations

import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np

RATE_HZ = 48000
SECONDS = 10
ROUNDS = 3
WORK = "high-pass, 4 bells, gate, compressor, sum, limiter; no gain sharing, sends, reverb, meters or loudness"
STRIP = (
    "highpass=f=80,equalizer=f=120:t=q:w=1:g=3,equalizer=f=480:t=q:w=1:g=3,equalizer=f=1920:t=q:w=1:g=3,"
    "equalizer=f=7680:t=q:w=1:g=3,agate=threshold=0.125:attack=1:release=150,"
    "acompressor=threshold=0.125:ratio=3:attack=10:release=120"
)


def ffmpeg_ns(n_channels: int, directory: Path) -> float | None:
    """Return FFmpeg's nanoseconds per frame and channel, or None where it is not installed.

    Processor time of the whole process, less that of one which only copies: reading, start and end cancel.
    """
    if not shutil.which("ffmpeg"):
        return None
    noise = directory / "noise.f32"
    (0.25 * np.random.default_rng(1).uniform(-1, 1, RATE_HZ * SECONDS)).astype(np.float32).tofile(noise)
    strips = "".join(f"[i{ch}]{STRIP}[o{ch}];" for ch in range(n_channels))
    chain = (
        f"[0]asplit={n_channels}{''.join(f'[i{ch}]' for ch in range(n_channels))};{strips}"
        f"{''.join(f'[o{ch}]' for ch in range(n_channels))}amix=inputs={n_channels}:normalize=0,alimiter=limit=0.3[out]"
    )
    spent_s = min(_spent_s(noise, chain) for _ in range(ROUNDS)) - min(
        _spent_s(noise, "[0]anull[out]") for _ in range(ROUNDS)
    )
    return 1e9 * spent_s / (RATE_HZ * SECONDS * n_channels)


def _spent_s(noise: Path, chain: str) -> float:
    before_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-filter_complex_threads", "1", "-f", "f32le", "-ar", str(RATE_HZ),
         "-ac", "1", "-i", str(noise), "-filter_complex", chain, "-map", "[out]", "-f", "null", "-"],
        check=True,
    )  # fmt: skip
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before_s
