"""What the automixer's tests stand on: a kernel with its channels set, gains tick by tick, synthetic panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, Library
from dsp_kernels.reference.automix import TICK_FRAMES, Channel, Share

RATE_HZ = 48000.0
TICK_MS = 1000 * TICK_FRAMES / RATE_HZ


def set_channel(kernel: Kernel, channel: int, settings: Channel) -> None:
    """Set a channel as the twin's settings say."""
    params = kernel.params(
        "automix",
        group=settings.group,
        weight_db=settings.weight_db,
        state=settings.state,
        is_override=settings.is_override,
    )
    kernel.call("set_channel", channel, params, settings.fader_lin)


def set_group(kernel: Kernel, group: int, settings: Share) -> None:
    """Set a group as the twin's settings say."""
    kernel.call("set_group", group, kernel.params("share", **vars(settings)))


def make(
    library: Library,
    channels: Sequence[Channel],
    groups: Sequence[Share] = (),
    *,
    lane_channel: Sequence[int] | None = None,
    rate_hz: float = RATE_HZ,
) -> Kernel:
    """Return an automixer, settled; lane ``i`` is channel ``i`` unless ``lane_channel`` says otherwise."""
    lanes = list(range(len(channels))) if lane_channel is None else list(lane_channel)
    n_lanes = -(-len(lanes) // 4) * 4
    kernel = Kernel(library, "automix", rate_hz, n_lanes, size_arguments=(n_lanes,))
    for lane, channel in enumerate(lanes):
        kernel.call("map_lane", lane, channel)
    for channel, settings in enumerate(channels):
        set_channel(kernel, channel, settings)
    for group, share in enumerate(groups):
        set_group(kernel, group, share)
    kernel.call("reset")
    return kernel


def padded(x: NDArray[Any]) -> NDArray[np.float32]:
    """Return ``x`` as float32 with silent lanes up to a multiple of 4."""
    return np.pad(x, ((0, 0), (0, -x.shape[1] % 4))).astype(np.float32)


def gains_of(kernel: Kernel, x: NDArray[Any], n_channels: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the output and the gains of each tick, ``(n_ticks, n_channels)``; ``x`` is whole ticks."""
    x = padded(x)
    y, gains = np.empty_like(x), np.empty((len(x) // TICK_FRAMES, n_channels))
    for n in range(len(gains)):
        frames = slice(n * TICK_FRAMES, (n + 1) * TICK_FRAMES)
        kernel.call("process", kernel.pointer(x[frames]), kernel.pointer(y[frames]), TICK_FRAMES)
        gains[n] = kernel.ffi.unpack(kernel.struct.gain_lin, n_channels)
    return y, gains


def db(gain_lin: NDArray[Any]) -> NDArray[np.float64]:
    """Return 20 log10, with -200 for zero."""
    return 20 * np.log10(np.maximum(gain_lin, 1e-10))


def talk(seconds: float, seed: int, *, level_rms_dbfs: float = -20.0) -> NDArray[np.float64]:
    """Return noise with the rhythm of speech: syllables of 100 to 250 ms, 30 ms gaps, pauses of up to 600 ms."""
    rng = np.random.default_rng(seed)
    n_frames = int(seconds * RATE_HZ)
    envelope = np.zeros(n_frames)
    at = 0
    while at < n_frames:
        for _ in range(rng.integers(3, 9)):
            length = int(rng.uniform(0.10, 0.25) * RATE_HZ)
            syllable = np.sin(np.pi * np.arange(length) / length) ** 0.5 * rng.uniform(0.4, 1.0)
            envelope[at : at + length] = syllable[: max(n_frames - at, 0)]
            at += length + int(0.03 * RATE_HZ)
        at += int(rng.uniform(0.1, 0.6) * RATE_HZ)
    sound = envelope * rng.standard_normal(n_frames)
    return sound * 10 ** (level_rms_dbfs / 20) / np.sqrt(np.mean(sound[envelope > 0] ** 2))


def panel(
    sources: NDArray[np.float64],
    at_mic: Sequence[int],
    n_mics: int,
    *,
    bleed_db: float,
    noise_dbfs: float,
    seed: int = 7,
) -> NDArray[np.float64]:
    """Return what ``n_mics`` hear: noise, and source ``k`` in full at ``at_mic[k]``, 1 to 8 ms late elsewhere."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((len(sources), n_mics)) * 10 ** (noise_dbfs / 20)
    for k, own in enumerate(at_mic):
        for mic in range(n_mics):
            delay = 0 if mic == own else int(rng.integers(48, 384))
            gain = 1.0 if mic == own else 10 ** (bleed_db / 20)
            x[delay:, mic] += gain * sources[: len(sources) - delay, k]
    return x
