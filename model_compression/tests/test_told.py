"""What the mix network is told of roles while it learns."""

from __future__ import annotations

import numpy as np

from model_compression.nets.evidence import GIVEN_SHARE
from model_compression.nets.layout import N_ROLES
from model_compression.training.told import named


def test_a_name_outweighs_what_was_heard_and_other_channels_keep_theirs() -> None:
    own = np.zeros((2, 3, N_ROLES), np.float32)
    own[..., 7] = 1.0
    told = named(own, np.array([1, 1, 1]), np.array([True, False, True]))
    np.testing.assert_allclose(told[:, 0, 1], GIVEN_SHARE)
    np.testing.assert_allclose(told[:, 0, 7], 1.0 - GIVEN_SHARE, atol=1e-6)
    np.testing.assert_array_equal(told[:, 1], own[:, 1])
