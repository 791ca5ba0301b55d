"""The mixer that is measured: every strip with everything on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.layout import default_params

RATE_HZ = 48000
N_OUTPUTS = 12


def full_strips() -> NDArray[np.void]:
    """Return a snapshot with filters, dynamics, gain sharing and sends at work on all channels."""
    params = default_params()
    channel = params["channel"]
    for name in ("hpf.is_on", "gate.is_on", "compressor.is_on", "saturation.is_on", "automix.group"):
        channel[name] = 1.0
    for band in range(1, 5):
        channel[f"eq.{band}.gain_db"] = 3.0
    channel["gate.threshold_dbfs"] = -18.0
    channel["fader.level_db"] = -12.0
    for send in ("send.1", "send.2", "send.3", "send.4", "send.5", "send.6", "fx_send.1", "fx_send.2"):
        channel[f"{send}.level_db"] = -12.0
    params["record"]["limiter.is_true_peak"] = 1.0
    return params
