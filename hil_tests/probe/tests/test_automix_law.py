"""The law that a box shows is told apart from laws that are near it."""

from __future__ import annotations

import numpy as np
import pytest

from ..automix_law import AutomixLaw, automix_law, law_signals, tone_levels_dbfs
from ..errors import ProbeError
from .paths import RATE_HZ


def law_of(gain_db_of: dict[int, float]) -> AutomixLaw:
    levels = {}
    for n_open, gain_db in gain_db_of.items():
        mix = law_signals(32, n_open, RATE_HZ).sum(axis=1) * 10 ** (gain_db / 20)
        levels[n_open] = tone_levels_dbfs(np.concatenate([np.zeros(176), mix])[: len(mix)], n_open, RATE_HZ)
    return automix_law(levels)


def test_sharing_by_power_is_the_law() -> None:
    found = law_of({n: -10 * np.log10(n) for n in (1, 2, 8, 32)})
    assert found.gain_db == pytest.approx(found.law_db, abs=0.01)
    assert found.figures()["worst_error_db"] < 0.01


def test_sharing_by_amplitude_is_another_law() -> None:
    """Eight idle microphones drop 18 dB each where gain is shared by amplitude, and not 9."""
    found = law_of({n: -20 * np.log10(n) for n in (1, 8)})
    assert found.figures()["worst_error_db"] == pytest.approx(9.03, abs=0.01)


def test_no_sharing_is_no_law() -> None:
    assert law_of({1: 0.0, 8: 0.0}).figures()["gain_of_8_open_db"] == pytest.approx(0.0, abs=0.01)


def test_a_microphone_that_is_not_heard_is_named() -> None:
    mix = law_signals(4, 4, RATE_HZ)
    mix[:, 2] = 0.0
    with pytest.raises(ProbeError, match="microphone 3 is not heard on main_l while 4 are open"):
        tone_levels_dbfs(mix.sum(axis=1), 4, RATE_HZ, where="main_l")
