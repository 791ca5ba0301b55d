"""The gate: what the header promises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import gate as reference
from dsp_kernels.reference.gate import Gate
from dsp_kernels.tests.measures import assert_bit_equal, assert_keeps_the_bank_promises, error_db, white_noise

RATE_HZ = 48000.0
SETTINGS = [
    Gate(),
    Gate(ratio=20, range_db=80, attack_ms=0.1, hold_ms=0, release_ms=5),
    Gate(ratio=20, range_db=80, attack_ms=100, hold_ms=20, release_ms=2000, threshold_dbfs=-40),
    Gate(ratio=4, range_db=40, threshold_dbfs=-30, hold_ms=5, release_ms=30),
]


def make(library: Library, settings: list[Gate], rate_hz: float = RATE_HZ, n_lanes: int = 8) -> Kernel:
    kernel = Kernel(library, "gate", rate_hz, n_lanes)
    for lane, one in enumerate(settings):
        kernel.call("set", lane, kernel.params("gate", is_on=1, **vars(one)))
    return kernel


def swelling_noise(n_frames: int, n_lanes: int = 8) -> NDArray[np.float32]:
    """Return noise that rises and falls between -90 and -6 dBFS."""
    knots = [-80, -10, -30, -60, -70, -20, -20, -40, -90, -15, -6, -50, -80]
    level_db = np.interp(np.arange(n_frames), np.linspace(0, n_frames, len(knots)), knots)
    return (white_noise(n_frames, n_lanes, 0.0) * 10 ** (level_db[:, None] / 20)).astype(np.float32)


def steps(*levels_dbfs_and_ms: tuple[float, float]) -> NDArray[np.float32]:
    """Return a square wave at 1 kHz in steps of level, on eight lanes."""
    level = np.concatenate([np.full(int(ms * RATE_HZ / 1000), 10 ** (db / 20)) for db, ms in levels_dbfs_and_ms])
    sign = np.where(np.arange(len(level)) // 24 % 2, -1.0, 1.0)
    return np.repeat((level * sign)[:, None], 8, axis=1).astype(np.float32)


def gain_db(y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float64]:
    return 20 * np.log10(y.astype(np.float64) / x)


def test_gate_keeps_the_bank_promises(library: Library) -> None:
    def linked() -> Kernel:
        kernel = make(library, SETTINGS)
        kernel.call("link", 2, 1)
        return kernel

    assert_keeps_the_bank_promises(linked, swelling_noise(4001))


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
def test_gate_matches_its_float64_reference(library: Library, rate_hz: float) -> None:
    x = swelling_noise(24000)
    y = make(library, SETTINGS, rate_hz).process(x, 64)
    for lane, settings in enumerate(SETTINGS):
        expected = reference.gain_lin(x[:, lane], settings, rate_hz)
        heard = x[:, lane] != 0
        off_db = gain_db(y[heard, lane], x[heard, lane]) - 20 * np.log10(expected[heard])
        assert np.abs(off_db).max() < 0.01, f"lane {lane}"
        assert error_db(y[:, lane], x[:, lane] * expected) < -90, f"lane {lane}"


@pytest.mark.parametrize(("under_db", "lost_db"), [(2.0, 2.0), (5.0, 5.0), (8.0, 8.0), (12.0, 11.25), (30.0, 12.0)])
def test_gate_closed_follows_ratio_and_range(library: Library, under_db: float, lost_db: float) -> None:
    x = steps((-80, 100), (-50 - under_db, 400))
    kernel = make(library, [Gate(hold_ms=0, release_ms=10, attack_ms=1)])
    assert gain_db(kernel.process(x), x)[-1, 0] == pytest.approx(-lost_db, abs=0.01)
    assert kernel.call("gain_db", 0) == pytest.approx(-lost_db, abs=0.01)


def test_gate_stays_open_within_3_db_under_the_threshold(library: Library) -> None:
    settings = [Gate(ratio=20, range_db=60, hold_ms=0, release_ms=5)]
    x = steps((-45, 50), (-52.8, 300))
    assert gain_db(make(library, settings).process(x), x)[-1, 0] == pytest.approx(0, abs=0.001)
    x = steps((-45, 50), (-53.2, 300))
    assert gain_db(make(library, settings).process(x), x)[-1, 0] < -50


def test_gate_holds_before_it_closes(library: Library) -> None:
    x = steps((-20, 100), (-90, 200))
    y = make(library, [Gate(hold_ms=100, release_ms=20, range_db=40)]).process(x)
    closing_ms = np.argmax(gain_db(y[4800:, :1], x[4800:, :1]) < -0.1) * 1000 / RATE_HZ
    # The level needs ln(10^(33/20)) * 10 ms = 38 ms to fall by 33 dB, to 3 dB under the threshold.
    assert 138 <= closing_ms <= 140


def test_gate_opens_with_its_attack(library: Library) -> None:
    x = steps((-90, 1000), (-20, 50))
    y = make(library, [Gate(ratio=20, range_db=80, attack_ms=1, hold_ms=0, release_ms=20)]).process(x)
    open_ms = np.argmax(gain_db(y[48000:, :1], x[48000:, :1]) > -3) * 1000 / RATE_HZ
    assert open_ms <= 1.4  # 1.23 time constants and one gain computation


def test_linked_gates_open_together(library: Library) -> None:
    x = steps((-90, 200), (-20, 50))
    x[:, 1::2] *= 1e-3
    kernel = make(library, [Gate(ratio=20, range_db=40, hold_ms=0, release_ms=20)] * 8)
    kernel.call("link", 4, 1)
    gains = gain_db(kernel.process(x), x)[-1]
    assert gains[1] == pytest.approx(-40, abs=0.1)
    assert gains[4] == gains[5] == pytest.approx(0, abs=0.01)


def test_gate_off_passes_every_bit(library: Library) -> None:
    x = swelling_noise(3000)
    x[::7] = -0.0
    assert_bit_equal(Kernel(library, "gate", RATE_HZ, 8).process(x, 7), x, "off from the start")
    kernel = make(library, [Gate(ratio=20, range_db=60, hold_ms=0, release_ms=5)] * 8)
    closed = kernel.process(np.full((9600, 8), 1e-4, np.float32))
    assert closed[-1, 0] < 1e-6
    for lane in range(8):
        kernel.call("set", lane, kernel.params("gate", is_on=0))
    fade = kernel.process(np.ones((4800, 8), np.float32))
    assert np.abs(np.diff(fade[:, 0])).max() < 0.01
    assert fade[960, 0] > 0.998
    assert_bit_equal(kernel.process(x), x, "after switching off")


@pytest.mark.parametrize("neutral", [{"range_db": 0.0}, {"ratio": 1.0}])
def test_gate_without_effect_passes_every_bit(library: Library, neutral: dict[str, float]) -> None:
    x = swelling_noise(500)
    assert_bit_equal(make(library, [Gate(**neutral)] * 8).process(x), x, "neutral")


def test_gate_switched_at_any_frame_does_not_depend_on_block_size(library: Library) -> None:
    def run(block: int) -> NDArray[np.float32]:
        kernel, x, out = make(library, SETTINGS), swelling_noise(9003), []
        for start in range(0, 9003, 3001):
            out.append(kernel.process(x[start : start + 3001], block))
            for lane in range(4):
                kernel.call("set", lane, kernel.params("gate", is_on=float(start > 0), range_db=30.0))
        return np.concatenate(out)

    for block in (1, 7, 64):
        assert_bit_equal(run(block), run(3001), f"blocks of {block} frames")


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_nan_stays_in_its_lane_and_reset_heals_it(library: Library, poison: float) -> None:
    x = swelling_noise(2000)
    bad = x.copy()
    bad[500:520, 1] = poison
    kernel = make(library, SETTINGS)
    clean, dirty = make(library, SETTINGS).process(x), kernel.process(bad)
    others = [0, 2, 3, 4, 5, 6, 7]
    assert_bit_equal(dirty[:, others].copy(), clean[:, others].copy(), "the other lanes")
    assert np.isfinite(dirty[520:, 1]).all()
    kernel.call("reset_lane", 1)
    assert kernel.call("gain_db", 1) == 0.0
    assert np.isfinite(kernel.process(x)).all()


@pytest.mark.parametrize(("rate_hz", "n_lanes", "reason"), [(100.0, 8, "sample rate"), (48000.0, 6, "lanes")])
def test_gate_refuses_what_it_cannot_do(library: Library, rate_hz: float, n_lanes: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        Kernel(library, "gate", rate_hz, n_lanes)
