"""Channel map and crosstalk of paths that were crossed, cut, turned round and leaky on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from ..channel_map import ChannelMap, map_signals, measure_map
from ..crosstalk import crosstalk_signals, measure_crosstalk
from ..errors import ProbeError
from .paths import RATE_HZ


def map_of(matrix: np.ndarray, *, delay: int = 176, noise_lin: float = 1e-4) -> ChannelMap:
    """Return what is seen of a path that gives ``played @ matrix`` later."""
    recorded = np.roll(map_signals(len(matrix), RATE_HZ) @ matrix, delay, axis=0)
    recorded += np.random.default_rng(1).standard_normal(recorded.shape) * noise_lin
    return measure_map(recorded.astype(np.float32), len(matrix), RATE_HZ)


def test_thirty_two_channels_are_each_in_their_place() -> None:
    found = map_of(np.eye(32))
    assert found.inputs == tuple((ch,) for ch in range(32))
    assert found.line() == "32 channels: each where it should be, and upright"
    assert {a.latency_frames for arrivals in found.arrivals for a in arrivals.values()} == {176}


def test_swapped_doubled_cut_and_inverted_channels_are_named() -> None:
    matrix = np.eye(8)
    matrix[[2, 3]] = matrix[[3, 2]]  # swapped
    matrix[4] = 0.0  # cut
    matrix[5, 6] = 0.5  # as well
    matrix[7] *= -1.0
    found = map_of(matrix)
    assert found.inputs == ((0,), (1,), (3,), (2,), (), (5, 6), (6,), (7,))
    assert found.line() == "8 channels: 2 > 3; 3 > 2; 4 > nowhere; 5 > 5,6; 7 inverted on 7"
    figures = found.figures()
    assert (figures["n_silent"], figures["n_elsewhere"], figures["n_inverted"]) == (1, 3, 1)
    assert figures["gain_spread_db"] == pytest.approx(6.02, abs=0.05)


def test_crosstalk_is_no_second_path() -> None:
    assert map_of(np.eye(4) + 0.003).inputs == ((0,), (1,), (2,), (3,))


def test_a_path_that_is_meant_to_cross_is_straight_when_it_crosses() -> None:
    recorded = map_signals(2, RATE_HZ)[:, ::-1]
    assert measure_map(recorded, 2, RATE_HZ, expected=((1,), (0,))).figures()["n_elsewhere"] == 0
    assert measure_map(recorded, 2, RATE_HZ).figures()["n_elsewhere"] == 2


def test_a_map_of_silence_is_refused() -> None:
    with pytest.raises(ProbeError, match="nothing came back on any of 4 inputs"):
        map_of(np.zeros((4, 4)), noise_lin=0.0)


def test_a_short_map_is_refused() -> None:
    with pytest.raises(ProbeError, match="a map of 8 outputs needs"):
        measure_map(np.zeros((100, 8)), 8, RATE_HZ)


def test_crosstalk_is_what_was_leaked() -> None:
    matrix = np.eye(4)
    matrix[1, 2], matrix[3, 0] = 10 ** (-60 / 20), 10 ** (-85 / 20)
    played = crosstalk_signals(4, RATE_HZ)
    recorded = np.concatenate([np.zeros((176, 4)), played @ matrix])
    recorded += np.random.default_rng(1).standard_normal(recorded.shape) * 10 ** (-110 / 20)
    found = measure_crosstalk(recorded, 4, RATE_HZ, latency_frames=176)
    assert found.crosstalk_db[1, 2] == pytest.approx(-60.0, abs=0.1)
    assert found.crosstalk_db[3, 0] == pytest.approx(-85.0, abs=0.5)
    assert np.allclose(np.diag(found.crosstalk_db), 0.0)
    assert found.worst()[:2] == (1, 2)
    assert found.crosstalk_db[0, 1] < -110.0
    assert found.floor_db[0, 1] == pytest.approx(found.crosstalk_db[0, 1], abs=12.0)


def test_crosstalk_that_rises_with_frequency_is_told_at_its_worst() -> None:
    played = crosstalk_signals(2, RATE_HZ)
    leak = np.diff(played[:, 0], prepend=0.0) * 1e-3
    found = measure_crosstalk(np.stack([played[:, 0], leak + played[:, 1]], axis=1), 2, RATE_HZ, latency_frames=0)
    known_db = 20 * np.log10(1e-3 * 2 * np.sin(np.pi * 10000 / RATE_HZ))
    assert found.crosstalk_db[0, 1] == pytest.approx(known_db, abs=0.05)


def test_a_bound_of_noise_is_told_as_a_bound() -> None:
    played = crosstalk_signals(2, RATE_HZ)
    recorded = played + np.random.default_rng(1).standard_normal(played.shape) * 1e-4
    assert "at most" in measure_crosstalk(recorded, 2, RATE_HZ, latency_frames=0).line()


def test_crosstalk_of_a_dead_output_is_refused() -> None:
    played = crosstalk_signals(3, RATE_HZ)
    with pytest.raises(ProbeError, match="output 1 came back on no input"):
        measure_crosstalk(played @ np.diag([1.0, 0.0, 1.0]), 3, RATE_HZ, latency_frames=0)
