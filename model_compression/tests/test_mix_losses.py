"""Losses of the mix network."""

from __future__ import annotations

import numpy as np
import pytest

from model_compression.nets.layout import MIX_HEADS, N_OUTPUT


@pytest.mark.parametrize(("beyond", "sure"), [(-3.0, False), (3.0, True)])
def test_a_sigma_beyond_its_range_finds_back(beyond: float, sure: bool) -> None:
    """A plain clip has no slope there: a network once far too sure of itself would stay so."""
    import tensorflow as tf

    from model_compression.training.losses import ln_sigmas

    y = np.zeros((1, N_OUTPUT["mix"]), np.float32)
    y[:, MIX_HEADS["ln_sigma"].columns] = beyond
    error = 1e-4 if sure else 1.0
    given = tf.constant(y)
    with tf.GradientTape() as tape:
        tape.watch(given)
        ln_sigma = ln_sigmas(given)
        loss = tf.reduce_sum(0.5 * (error * tf.exp(-ln_sigma)) ** 2 + ln_sigma)
    slope = tape.gradient(loss, given).numpy()[0, MIX_HEADS["ln_sigma"].columns]
    assert (np.sign(slope) == np.sign(beyond)).all()


def test_a_sigma_at_its_bound_is_not_driven_further_out() -> None:
    import tensorflow as tf

    from model_compression.training.losses import ln_sigmas

    y = np.zeros((1, N_OUTPUT["mix"]), np.float32)
    y[:, MIX_HEADS["ln_sigma"].columns] = 1.5
    given = tf.constant(y)
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = -tf.reduce_sum(ln_sigmas(given))
    assert not tape.gradient(loss, given).numpy().any()
