"""How much of each channel the rest of the mix hides, judged from critical-band powers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ANALYSIS

N_BARK = int(ANALYSIS["n_bark"])
MARGIN_DB = 6.0  # a band counts as masked once the others come within this of it
# Excitation falls by 25 dB/Bark towards lower bands and 10 dB/Bark towards higher ones (Schroeder, Atal, Hall, 1979).
_DISTANCE = np.arange(N_BARK)[:, None] - np.arange(N_BARK)[None, :]  # from masker (second axis) to masked band
SPREAD = 10.0 ** (np.where(_DISTANCE >= 0, -10.0 * _DISTANCE, 25.0 * _DISTANCE) / 10.0)


def masked_fraction(bark_dbfs: NDArray[np.floating], gain_lin: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the masked share of each channel, power-weighted over its bands, shape ``(n_channels,)``.

    ``bark_dbfs`` is what came in and ``gain_lin`` how it reaches the mix, both ``(n_channels, 24)``.
    """
    power = 10.0 ** (bark_dbfs.astype(np.float64) / 10.0) * gain_lin.astype(np.float64) ** 2
    excitation = power @ SPREAD.T
    others = excitation.sum(axis=0, keepdims=True) - excitation
    is_masked = others > excitation * 10.0 ** (-MARGIN_DB / 10.0)
    total = power.sum(axis=1)
    return np.where(total > 0.0, (power * is_masked).sum(axis=1) / np.maximum(total, 1e-30), 0.0)
