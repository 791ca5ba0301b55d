"""The ducker: what the header promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import ducker as reference
from dsp_kernels.reference.ducker import Ducker
from dsp_kernels.tests.measures import assert_bit_equal, assert_keeps_the_bank_promises, error_db, white_noise

RATE_HZ = 48000.0
DEPTHS_DB = (0.0, 3.0, 6.0, 9.0, 12.0, 18.0, 24.0, 30.0)


class Keyed(Kernel):
    """A ducker whose key runs along with what it processes."""

    def __init__(self, library: Library, key: NDArray[np.float32], settings: Ducker, rate_hz: float = RATE_HZ) -> None:
        super().__init__(library, "ducker", rate_hz, 8)
        self.key, self.position = np.ascontiguousarray(key, np.float32), 0
        super().call("set", self.params("ducker", **vars(settings)))

    def call(self, verb: str, *arguments: Any) -> Any:
        if verb == "reset":
            self.position = 0
        if verb != "process":
            return super().call(verb, *arguments)
        pointer_in, pointer_out, n_frames = arguments
        key = self.key[self.position : self.position + n_frames]
        assert len(key) == n_frames, "the key is too short"
        self.position += n_frames
        return super().call("process", self.pointer(key), pointer_in, pointer_out, n_frames)


def phrases(*level_dbfs_and_ms: tuple[float, float]) -> NDArray[np.float32]:
    """Return noise in steps of level, -200 for silence."""
    level = np.concatenate([np.full(int(ms * RATE_HZ / 1000), 10 ** (db / 20)) for db, ms in level_dbfs_and_ms])
    return (white_noise(len(level), 1, 0.0, seed=2)[:, 0] * level).astype(np.float32)


def make(library: Library, key: NDArray[np.float32], settings: Ducker, rate_hz: float = RATE_HZ) -> Keyed:
    kernel = Keyed(library, key, settings, rate_hz)
    for lane, depth_db in enumerate(DEPTHS_DB):
        kernel.call("set_depth", lane, depth_db, 50.0)
    kernel.call("reset")  # all ramps at their end
    return kernel


def test_ducker_keeps_the_bank_promises(library: Library) -> None:
    key = phrases((-20, 30), (-200, 100))
    settings = Ducker(attack_ms=5, hold_ms=10, release_ms=20)
    # In the promise of a reset the kernel runs twice.
    assert_keeps_the_bank_promises(lambda: make(library, np.tile(key, 2), settings), white_noise(3001, 8))


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0])
@pytest.mark.parametrize("settings", [Ducker(hold_ms=100, release_ms=200), Ducker(attack_ms=1000, release_ms=10000)])
def test_ducker_matches_its_float64_reference(library: Library, rate_hz: float, settings: Ducker) -> None:
    key = phrases((-200, 100), (-20, 300), (-60, 250), (-30, 50), (-200, 1300))
    x = white_noise(len(key), 8)
    y = make(library, key, settings, rate_hz).process(x, 64)
    for lane, depth_db in enumerate(DEPTHS_DB):
        expected = reference.gain_lin(key, depth_db, settings, rate_hz)
        off_db = 20 * np.log10(y[:, lane] / x[:, lane].astype(np.float64) / expected)
        assert np.abs(off_db).max() < 0.01, f"depth {depth_db} dB"
        assert error_db(y[:, lane], x[:, lane] * expected) < -100, f"depth {depth_db} dB"


def test_ducker_goes_down_holds_and_comes_back(library: Library) -> None:
    key = phrases((-200, 100), (-20, 500), (-200, 4000))
    x = np.ones((len(key), 8), np.float32)
    kernel = make(library, key, Ducker())
    gains_db = 20 * np.log10(kernel.process(x)[:, DEPTHS_DB.index(9.0)])

    def at_ms(ms: float) -> float:
        return float(gains_db[int(ms * RATE_HZ / 1000)])

    assert at_ms(99) == 0
    assert at_ms(100 + 51) == pytest.approx(-9 * (1 - np.exp(-1)), abs=0.2)
    assert at_ms(599) == pytest.approx(-9, abs=0.01)
    # The detector falls from -20 to -45 dBFS in 58 ms, then the hold of 400 ms begins.
    assert at_ms(600 + 400) == pytest.approx(-9, abs=0.01)
    assert at_ms(600 + 458 + 800) == pytest.approx(-9 * np.exp(-1), abs=0.1)


def test_a_key_under_the_threshold_changes_no_bit(library: Library) -> None:
    key = phrases((-50, 500))
    x = white_noise(len(key), 8)
    x[::5] = -0.0
    assert_bit_equal(make(library, key, Ducker()).process(x), x, "key at -50 dBFS")


def test_depth_0_changes_no_bit(library: Library) -> None:
    key = phrases((-10, 200))
    x = white_noise(len(key), 8)
    y = make(library, key, Ducker()).process(x)
    assert_bit_equal(y[:, :1].copy(), x[:, :1].copy(), "depth 0")
    assert np.abs(y[-1, 1] / x[-1, 1]) < 0.8


def test_the_lane_is_back_to_the_bit_in_the_end(library: Library) -> None:
    key = phrases((-10, 100), (-200, 900))
    x = white_noise(len(key), 8)
    y = make(library, key, Ducker(hold_ms=10, release_ms=20)).process(x)
    assert_bit_equal(y[-9600:], x[-9600:], "after the release")


def test_depth_ramps_without_a_click(library: Library) -> None:
    key = phrases((-10, 1000))
    x = np.ones((len(key), 8), np.float32)
    kernel = make(library, key, Ducker(attack_ms=10))
    before = kernel.process(x[:24000])
    kernel.call("set_depth", 1, 18.0, 50.0)
    gains_db = 20 * np.log10(np.concatenate([before, kernel.process(x[24000:])])[20000:, 1])
    assert gains_db[0] == pytest.approx(-3, abs=0.01)
    assert gains_db[4000 + 1200] == pytest.approx(-10.5, abs=0.2)
    assert gains_db[4000 + 2400 + 16] == pytest.approx(-18, abs=0.01)
    assert np.abs(np.diff(gains_db)).max() < 0.01
    assert kernel.call("gain_db", 1) == pytest.approx(-18, abs=0.01)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_nan_does_not_reach_the_gain(library: Library, poison: float) -> None:
    key = phrases((-20, 100), (-200, 1000))
    x = white_noise(len(key), 8)
    key[100] = poison
    x[200, 3] = poison
    settings = Ducker(hold_ms=10, release_ms=20)
    y = make(library, key, settings).process(x)
    assert np.isfinite(np.delete(y, 200, axis=0)).all()
    assert_bit_equal(y[-4800:], x[-4800:], "after the release")


@pytest.mark.parametrize(("rate_hz", "n_lanes", "reason"), [(100.0, 8, "sample rate"), (48000.0, 6, "lanes")])
def test_ducker_refuses_what_it_cannot_do(library: Library, rate_hz: float, n_lanes: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        Kernel(library, "ducker", rate_hz, n_lanes)
