"""The margin of a loop against loops that are run: they die out just under it and grow just over it."""

from __future__ import annotations

import numpy as np
import pytest

from ..errors import ProbeError
from ..room import Room, feedback_margin
from .paths import RATE_HZ


def grows(loop: np.ndarray, gain: float, n_frames: int) -> bool:
    """Run ``x[n] = gain * (loop * x)[n]`` from an impulse and return whether the end is louder than the middle."""
    taps, x = gain * loop[::-1], np.zeros(len(loop) + n_frames)
    x[len(loop)] = 1.0
    for n in range(len(loop) + 1, len(x)):
        x[n] = taps @ x[n - len(loop) + 1 : n + 1]
    third = n_frames // 3
    return bool(np.sum(x[-third:] ** 2) > np.sum(x[-2 * third : -third] ** 2))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_loop_dies_out_under_its_margin_and_grows_over_it(seed: int) -> None:
    rate_hz = 8000
    random = np.random.default_rng(seed)
    loop = np.concatenate([np.zeros(20), random.standard_normal(80) * np.exp(-np.arange(80) / 20)])
    loop -= np.mean(loop)  # nothing under the band that is looked at
    margin = feedback_margin(np.array([1.0]), loop, rate_hz)
    assert not grows(loop, 10 ** ((margin.max_gain_db - 0.5) / 20), 12000)
    assert grows(loop, 10 ** ((margin.max_gain_db + 0.5) / 20), 12000)


def test_a_plain_delay_rings_at_0_db() -> None:
    loop = np.zeros(100)
    loop[99] = 1.0
    assert feedback_margin(np.array([1.0]), loop, RATE_HZ).max_gain_db == pytest.approx(0.0, abs=0.05)


def test_6_db_more_in_the_box_are_6_db_less_margin() -> None:
    room = Room().response(RATE_HZ)
    once, twice = (feedback_margin(np.array([0.0, 0.0, g]), room, RATE_HZ) for g in (1.0, 2.0))
    assert once.max_gain_db - twice.max_gain_db == pytest.approx(6.02, abs=0.01)
    assert once.ringing_hz == twice.ringing_hz


def test_an_open_loop_is_refused() -> None:
    with pytest.raises(ProbeError, match="the loop is open"):
        feedback_margin(np.array([1.0]), np.zeros(100), RATE_HZ)
