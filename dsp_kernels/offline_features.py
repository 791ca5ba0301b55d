"""What the box would show a model of recorded channels: the same C, tick by tick, as fast as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .contract.layout import FEATURES_DTYPE, MIX_FEATURES_DTYPE, N_MIX_INPUT, N_MODEL_INPUT
from .model_input import TICK_S, ModelInput
from .native import Kernel, KernelError, Library, installed


@dataclass(frozen=True, kw_only=True)
class OfflineFeatures:
    """One row a tick of 20 ms.

    ``x`` has shape ``(n_ticks, n_channels, N_MODEL_INPUT)``, ``m`` ``(n_ticks, N_MIX_INPUT)``, both float32 in
    [-1, 1]; ``records`` ``(n_ticks, n_channels)`` of ``FEATURES_DTYPE``, those of each tick's second hop as control
    sees them live; ``mix_features`` ``(n_ticks,)`` of ``MIX_FEATURES_DTYPE``.
    """

    x: NDArray[np.float32]
    m: NDArray[np.float32]
    records: NDArray[np.void]
    mix_features: NDArray[np.void]


def extract(
    audio: NDArray[np.floating], sample_rate_hz: float, is_stereo: Sequence[bool] | None = None
) -> OfflineFeatures:
    """Return the features of every whole tick of ``audio``.

    Parameters
    ----------
    audio
        Shape ``(n_frames, n_lanes)``: one lane of each mono channel, two of each stereo one, in the channels' order.
        It is what lies behind the trim, with the trim at 0; the strips do nothing.
    sample_rate_hz
        8000 to 192000, a whole number of frames a tick.
    is_stereo
        Of each channel; None for one mono channel a lane.

    Raises
    ------
    KernelError
        When the rate or the lanes do not fit.
    """
    stereo = tuple(is_stereo) if is_stereo is not None else (False,) * audio.shape[1]
    if audio.ndim != 2 or audio.shape[1] != len(stereo) + sum(stereo):
        raise KernelError(
            f"audio of shape {audio.shape}; {len(stereo)} channels have {len(stereo) + sum(stereo)} lanes"
        )
    if sample_rate_hz * TICK_S % 1:
        raise KernelError(f"{sample_rate_hz} Hz: a tick is no whole number of frames")
    n_channels, n_ticks = len(stereo), len(audio) // int(sample_rate_hz * TICK_S)
    features = OfflineFeatures(
        x=np.zeros((n_ticks, n_channels, N_MODEL_INPUT), np.float32),
        m=np.zeros((n_ticks, N_MIX_INPUT), np.float32),
        records=np.zeros((n_ticks, n_channels), FEATURES_DTYPE),
        mix_features=np.zeros(n_ticks, MIX_FEATURES_DTYPE),
    )
    library = installed()
    with _denormals_flushed(library):
        _fill(library, audio, sample_rate_hz, stereo, features)
    return features


def _fill(
    library: Library, audio: NDArray[np.floating], sample_rate_hz: float, stereo: tuple[bool, ...], out: OfflineFeatures
) -> None:
    n_channels, tick_frames = len(stereo), int(sample_rate_hz * TICK_S)
    extractor = Kernel(library, "features", sample_rate_hz, n_channels, size_arguments=(sample_rate_hz, n_channels))
    chroma = Kernel(library, "chroma", sample_rate_hz)
    shown = ModelInput(library, n_channels, stereo)
    latest = np.frombuffer(
        library.ffi.buffer(extractor.call("latest"), n_channels * FEATURES_DTYPE.itemsize), FEATURES_DTYPE
    )
    taps = np.zeros((tick_frames, (n_channels + 3) // 4 * 4), np.float32)
    taps_pointer, n_lanes, no_trim = extractor.pointer(taps), taps.shape[1], np.zeros(n_channels, np.float32)
    first_lane = np.cumsum([0, *(1 + s for s in stereo[:-1])])
    last_lane = first_lane + np.array(stereo)
    for tick in range(len(out.m)):
        block = np.asarray(audio[tick * tick_frames : (tick + 1) * tick_frames], np.float32)
        # A stereo channel by its middle, as the engine taps it.
        taps[:, :n_channels] = np.float32(0.5) * (block[:, first_lane] + block[:, last_lane]) if any(stereo) else block
        extractor.call("process", taps_pointer, taps_pointer, n_lanes, tick_frames)
        chroma.call("process", taps_pointer, n_lanes, tick_frames)
        out.records[tick] = latest
        chroma.call("read", chroma.pointer(out.mix_features["chroma"][tick]))
        shown.process_into(out.records[tick], out.mix_features[tick : tick + 1], no_trim, out.x[tick], out.m[tick])


@contextmanager
def _denormals_flushed(library: Library) -> Iterator[None]:
    """Compute as the box's analysis thread does."""
    control = library.lib.eh_denormals_flush()
    try:
        yield
    finally:
        library.lib.eh_denormals_restore(control)
