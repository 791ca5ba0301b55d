"""Lane gains: what the header promises."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import gain as reference_gain
from dsp_kernels.tests.measures import assert_keeps_the_bank_promises, error_db, white_noise

RATE_HZ = 48000.0


def make(library: Library) -> Kernel:
    kernel = Kernel(library, "gain", RATE_HZ, 8)
    kernel.call("set", 2, 0.5, 20.0)
    kernel.call("set", 5, -1.0, 3.0)
    return kernel


def test_gain_keeps_the_bank_promises(library: Library) -> None:
    assert_keeps_the_bank_promises(lambda: make(library), white_noise(2000, 8))


def test_gain_matches_its_float64_reference(library: Library) -> None:
    x = white_noise(2000, 8)
    y = make(library).process(x)
    assert error_db(y[:, 2], x[:, 2] * reference_gain.ramp(1.0, 0.5, 960, 2000)) < -120
    # Lanes 4 to 7 are one vector with one ramp.
    assert error_db(y[:, 5], x[:, 5] * reference_gain.ramp(1.0, -1.0, 144, 2000)) < -120
    assert np.array_equal(y[:, 0], x[:, 0])


@pytest.mark.parametrize(("rate_hz", "n_lanes", "reason"), [(100.0, 8, "sample rate"), (48000.0, 6, "lanes")])
def test_gain_refuses_what_it_cannot_do(library: Library, rate_hz: float, n_lanes: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        Kernel(library, "gain", rate_hz, n_lanes)
