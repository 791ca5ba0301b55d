"""The kernels around a model on the box: those that training ran, bound through the engine's own extension."""

from __future__ import annotations

from collections.abc import Sequence

from dsp_kernels.beat_tracker import BeatTracker as KernelBeatTracker
from dsp_kernels.model_input import ModelInput as KernelModelInput
from dsp_kernels.native import Library
from firmware.engine import engine_extension


class ModelInput(KernelModelInput):
    """``process(observation.features, observation.mix_features, trim_db)`` gives ``x`` and ``m`` of a tick."""

    def __init__(self, n_channels: int, is_stereo: Sequence[bool] | None = None) -> None:
        super().__init__(Library(*engine_extension()), n_channels, is_stereo)


class BeatTracker(KernelBeatTracker):
    """``process(beat, downbeat)`` makes tempo of the song network's activations, once a tick."""

    def __init__(self) -> None:
        super().__init__(Library(*engine_extension()))
