"""The engine for Python: the C mixer in its arena, arrays in and out. No sample is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.layout import (
    BUS_METERS_DTYPE,
    CHANNEL_METERS_DTYPE,
    FEATURES_DTYPE,
    MIX_FEATURES_DTYPE,
    PARAMS_DTYPE,
)
from dsp_kernels.native import aligned_bytes

from .errors import EvenhandError
from .observation import ChannelSetup, Loudness, Observation

OUTPUT_LANES = (
    "main_l", "main_r", "record_l", "record_r", "aux_1", "aux_2", "aux_3", "aux_4", "aux_5", "aux_6",
    "monitor_l", "monitor_r",
)  # fmt: skip
RECORD = slice(OUTPUT_LANES.index("record_l"), OUTPUT_LANES.index("record_r") + 1)
MAX_CHANNELS = 32
STATUS_TEXT = {
    1: "the sample rate lies outside 8000 to 192000 Hz",
    2: "the input frame has no lane or more than 64",
    3: f"there must be 1 to {MAX_CHANNELS} channels",
}


class Engine:
    """A mixer of ``channels`` strips. A context manager: the arena lives as long as the ``with`` block.

    Mono strips take one lane of an input frame, stereo strips two, in the order of ``channels``.

    Raises
    ------
    EvenhandError
        When the C engine refuses the configuration or is not built.
    """

    def __init__(self, *, sample_rate_hz: float, channels: Sequence[ChannelSetup], keep_channels: bool = False) -> None:
        self._ffi, self._lib = engine_extension()
        self.sample_rate_hz = sample_rate_hz
        self.n_channels = len(channels)
        self.n_input_lanes = sum(2 if c.is_stereo else 1 for c in channels)
        config = self._ffi.new("eh_engine_config *")
        if self.n_channels > MAX_CHANNELS:
            raise EvenhandError(f"{self.n_channels} channels; {STATUS_TEXT[3]}")
        config.sample_rate_hz = sample_rate_hz
        config.n_capture_lanes = self.n_input_lanes
        config.n_channels = self.n_channels
        config.keeps_channels = keep_channels
        for index, channel in enumerate(channels):
            config.is_stereo[index] = channel.is_stereo
        self._arena = aligned_bytes(max(self._lib.eh_engine_size_bytes(config), 64))
        handle = self._ffi.new("eh_engine **")
        status = self._lib.eh_engine_init(handle, config, self._ffi.cast("void *", self._arena.ctypes.data))
        if status != 0:
            raise EvenhandError(f"the engine cannot start: {STATUS_TEXT.get(status, f'status {status}')}")
        self._engine = handle[0]
        self.channel_output: NDArray[np.float32] | None = None
        self._keeps_channels = keep_channels
        self._channel_meters = np.zeros(self.n_channels, CHANNEL_METERS_DTYPE)
        self._bus_meters = np.zeros(len(OUTPUT_LANES), BUS_METERS_DTYPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine = self._ffi.NULL
        del self._arena

    @property
    def latency_frames(self) -> int:
        """Frames by which outputs follow inputs: the limiter's look-ahead."""
        return int(self._lib.eh_engine_latency_frames(self._engine))

    @property
    def stats(self) -> Any:
        """Counters of the engine: ``n_frames n_healed n_taps_dropped n_snapshots n_clamped``."""
        return self._lib.eh_engine_read_stats(self._engine)

    def publish(self, params: NDArray[np.void]) -> None:
        """Hand down a snapshot, shape ``()`` of ``PARAMS_DTYPE``; the next block takes it over and ramps."""
        if params.dtype != PARAMS_DTYPE or params.shape != ():
            raise TypeError("a snapshot has shape () and PARAMS_DTYPE")
        snapshot = np.ascontiguousarray(params)
        self._lib.eh_engine_publish(self._engine, self._pointer("eh_params *", snapshot))

    def process(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the outputs, shape ``(n_frames, 12)`` as ``OUTPUT_LANES``, of ``x``, ``(n_frames, n_input_lanes)``.

        Analysis runs in step; ``channel_output``, ``(n_frames, 2 * n_channels)``, is kept when asked for.
        """
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.n_input_lanes:
            raise ValueError(f"shape {x.shape}; the engine takes (n_frames, {self.n_input_lanes})")
        out = np.empty((len(x), len(OUTPUT_LANES)), np.float32)
        channels = self._ffi.NULL
        if self._keeps_channels:
            self.channel_output = np.empty((len(x), 2 * self.n_channels), np.float32)
            channels = self._pointer("float *", self.channel_output)
        self._lib.eh_engine_process_in_step(
            self._engine, self._pointer("float *", x), self._pointer("float *", out), channels, len(x)
        )
        return out

    def observe(self, time_s: float) -> Observation:
        """Return what control sees now; meters' peaks begin anew."""
        self._lib.eh_engine_read_meters(
            self._engine,
            self._pointer("eh_channel_meters *", self._channel_meters),
            self._pointer("eh_bus_meters *", self._bus_meters),
        )
        reading = self._lib.eh_engine_loudness(self._engine)
        return Observation(
            time_s=time_s,
            features=self._features(),
            mix_features=self._mix_features(),
            channel_meters=self._channel_meters.copy(),
            bus_meters=self._bus_meters.copy(),
            loudness=Loudness(
                momentary_lufs=reading.momentary_lufs,
                short_term_lufs=reading.short_term_lufs,
                integrated_lufs=reading.integrated_lufs,
                loudness_range_lu=reading.loudness_range_lu,
                sample_peak_dbfs=reading.sample_peak_dbfs,
                true_peak_dbtp=reading.true_peak_dbtp,
            ),
        )

    def set_mix_gain_bark(self, gain_lin: NDArray[np.floating]) -> None:
        """Tell the masking kernel with which gain each critical band of each channel reaches the mix.

        ``gain_lin`` has shape ``(n_channels, 24)``.
        """
        table = np.ascontiguousarray(gain_lin, np.float32)
        self._lib.eh_engine_set_mix_gain_bark(self._engine, self._pointer("float *", table))

    def _features(self) -> NDArray[np.void]:
        records = self._lib.eh_engine_features(self._engine)
        size_bytes = self.n_channels * FEATURES_DTYPE.itemsize
        return np.frombuffer(self._ffi.buffer(records, size_bytes), FEATURES_DTYPE).copy()

    def _mix_features(self) -> NDArray[np.void]:
        mix = np.zeros((), MIX_FEATURES_DTYPE)
        self._lib.eh_engine_read_mix_features(self._engine, self._pointer("eh_mix_features *", mix))
        return mix

    def _pointer(self, kind: str, array: NDArray[Any]) -> Any:
        return self._ffi.cast(kind, array.ctypes.data)


def engine_extension() -> tuple[Any, Any]:
    """Return ``ffi`` and ``lib`` of the compiled engine, kernels included."""
    try:
        from . import _engine  # type: ignore[attr-defined]  # compiled
    except ImportError as error:
        raise EvenhandError("the engine is not built; run `make build`") from error
    return _engine.ffi, _engine.lib
