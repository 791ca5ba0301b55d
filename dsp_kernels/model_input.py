"""What a model is shown, for Python: records of a tick in, arrays out. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .contract.layout import FEATURES_DTYPE, MIX_FEATURES_DTYPE, N_MIX_INPUT, N_MODEL_INPUT
from .native import Kernel, Library

TICK_S = 0.02  # two feature hops


class ModelInput:
    """The kernel ``eh_model_input`` over ``n_channels``.

    Parameters
    ----------
    library
        Where the kernel comes from: the kernels' own extension, or one that has them in it.
    n_channels
        1 to 64.
    is_stereo
        Of each channel; None for all mono.

    Raises
    ------
    KernelError
        When there are too many channels.
    """

    def __init__(self, library: Library, n_channels: int, is_stereo: Sequence[bool] | None = None) -> None:
        self.n_channels = n_channels
        self._kernel = Kernel(library, "model_input", n_channels, TICK_S, size_arguments=(n_channels,))
        self._cast = library.ffi.cast
        for channel, stereo in enumerate(is_stereo or ()):
            self._kernel.call("set_stereo", channel, int(stereo))

    def process(
        self, records: NDArray[np.void], mix_features: NDArray[np.void], trim_db: NDArray[np.floating]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return ``x``, shape ``(n_channels, N_MODEL_INPUT)``, and ``m``, ``(N_MIX_INPUT,)``, of a tick.

        ``records`` has shape ``(n_channels,)`` of ``FEATURES_DTYPE``, ``mix_features`` ``()`` of
        ``MIX_FEATURES_DTYPE``, ``trim_db`` ``(n_channels,)``: the trim that the records were made behind.
        """
        x = np.empty((self.n_channels, N_MODEL_INPUT), np.float32)
        m = np.empty(N_MIX_INPUT, np.float32)
        self.process_into(records, mix_features, np.ascontiguousarray(trim_db, np.float32), x, m)
        return x, m

    def process_into(
        self, records: NDArray[np.void], mix_features: NDArray[np.void], trim_db: NDArray[np.float32],
        x: NDArray[np.float32], m: NDArray[np.float32],
    ) -> None:  # fmt: skip
        """Do the same into arrays of the caller's; ``trim_db`` is float32 here."""
        if records.dtype != FEATURES_DTYPE or records.shape != (self.n_channels,) or not records.flags.c_contiguous:
            raise TypeError(f"records have shape ({self.n_channels},) and FEATURES_DTYPE")
        if mix_features.dtype != MIX_FEATURES_DTYPE or trim_db.shape != (self.n_channels,):
            raise TypeError(f"mix_features have MIX_FEATURES_DTYPE, and trim_db has shape ({self.n_channels},)")
        cast, mix = self._cast, np.asarray(mix_features)
        self._kernel.call(
            "process", cast("eh_channel_features *", records.ctypes.data),
            cast("eh_mix_features *", mix.ctypes.data), self._kernel.pointer(trim_db),
            self._kernel.pointer(x), self._kernel.pointer(m),
        )  # fmt: skip

    def reset(self) -> None:
        """Forget all sound."""
        self._kernel.call("reset")

    def reset_channel(self, channel: int) -> None:
        """Forget the sound of a channel: something else is plugged in."""
        self._kernel.call("reset_channel", channel)
