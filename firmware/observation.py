"""What the engine shows and the control process sees, once a tick; and what a mixer's channels are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TICK_MS = 20  # how often control looks at the engine: two feature hops


@dataclass(frozen=True, kw_only=True)
class ChannelSetup:
    """A strip as the installer or the session names it; ``role`` is None when nobody said."""

    name: str
    is_stereo: bool = False
    role: str | None = None


@dataclass(frozen=True, kw_only=True)
class Loudness:
    """Reading of the BS.1770 meter behind the record limiter; EH_SILENCE_DBFS (-100) when there is nothing."""

    momentary_lufs: float
    short_term_lufs: float
    integrated_lufs: float
    loudness_range_lu: float
    sample_peak_dbfs: float
    true_peak_dbtp: float


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One look at the engine.

    ``features`` and ``channel_meters`` have shape ``(n_channels,)`` of ``FEATURES_DTYPE`` and ``CHANNEL_METERS_DTYPE``,
    ``mix_features`` ``()`` of ``MIX_FEATURES_DTYPE``, ``bus_meters`` ``(n_buses,)`` of ``BUS_METERS_DTYPE`` in the
    order main L, main R, record L, record R, aux 1 to 6, monitor L, monitor R (``dsp_kernels.contract.layout``).
    Features are those of the last hop; what lasts a hop only, an onset, stands in two, so that each is seen once.
    """

    time_s: float
    features: NDArray[np.void]
    mix_features: NDArray[np.void]
    channel_meters: NDArray[np.void]
    bus_meters: NDArray[np.void]
    loudness: Loudness
