"""Mixing matrix and pan laws: what the header promises."""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import mix as reference
from dsp_kernels.tests.measures import ODD_BLOCKS, assert_bit_equal, error_db, white_noise

RATE_HZ, N_LANES, N_BUSES, RAMP_MS = 48000.0, 12, 8, 20.0


def gains(seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    lin = rng.uniform(-1, 1, (N_LANES, N_BUSES)).astype(np.float32)
    lin[4:8, 4:] = 0.0  # a group that feeds one of the two bus vectors only
    return lin


def make(library: Library, lin: np.ndarray, ramp_ms: float = RAMP_MS) -> Kernel:
    kernel = Kernel(library, "mix", RATE_HZ, N_LANES, N_BUSES)
    for lane in range(N_LANES):
        kernel.call("set", lane, kernel.pointer(np.ascontiguousarray(lin[lane])), ramp_ms)
    return kernel


def run(kernel: Kernel, x: np.ndarray, block: int | None = None) -> np.ndarray:
    return kernel.process(x, block, out_lanes=N_BUSES)


def test_mix_matches_its_float64_reference(library: Library) -> None:
    x = white_noise(3000, N_LANES)
    assert error_db(run(make(library, gains()), x), reference.mix(x, gains(), 960)) < -120


@pytest.mark.parametrize("block", ODD_BLOCKS)
def test_mix_does_not_depend_on_block_size_while_some_gains_ramp(library: Library, block: int) -> None:
    x = white_noise(3000, N_LANES)

    def moved() -> Kernel:
        kernel = make(library, gains())
        kernel.call("reset")
        kernel.call("set", 5, kernel.pointer(np.full(N_BUSES, 0.5, np.float32)), 13.0)
        return kernel

    assert_bit_equal(run(moved(), x, block), run(moved(), x), f"blocks of {block} frames")


def test_mix_adds_to_what_the_buses_hold(library: Library) -> None:
    x = white_noise(100, N_LANES)
    kernel = make(library, gains(), 0.0)
    kernel.call("reset")
    out = np.ones((100, N_BUSES), np.float32)
    kernel.call("process", kernel.pointer(x), kernel.pointer(out), 100)
    assert error_db(out, 1.0 + x.astype(np.float64) @ gains()) < -120


def test_a_gain_set_again_in_the_middle_of_a_ramp_goes_on_from_where_it_is(library: Library) -> None:
    kernel = make(library, np.ones((N_LANES, N_BUSES), np.float32))
    ones = np.ones((2000, N_LANES), np.float32)
    first = run(kernel, ones[:400])
    for lane in range(N_LANES):
        kernel.call("set", lane, kernel.pointer(np.zeros(N_BUSES, np.float32)), RAMP_MS)
    both = np.concatenate([first, run(kernel, ones)])[:, 0]
    assert np.abs(np.diff(both)).max() < 1.5 * N_LANES / 960, "the gain jumps"
    assert both[-1] == 0.0


def test_a_gain_told_ahead_is_the_gain_applied(library: Library) -> None:
    kernel = make(library, np.full((N_LANES, N_BUSES), 0.8, np.float32))
    told = [kernel.call("gain_lin", 3, 2, n) for n in (0, 100, 959, 5000)]
    x = np.zeros((5001, N_LANES), np.float32)
    x[:, 3] = 1.0
    y = run(kernel, x)[:, 2]
    assert told == pytest.approx([y[0], y[100], y[959], y[5000]], abs=1e-7)


def test_silent_lanes_cost_nothing_and_stay_silent(library: Library) -> None:
    kernel = Kernel(library, "mix", RATE_HZ, N_LANES, N_BUSES)
    assert not run(kernel, white_noise(500, N_LANES)).any()
    assert not any(kernel.struct.active)


def test_mix_refuses_an_odd_number_of_buses(library: Library) -> None:
    with pytest.raises(KernelError, match="argument"):
        Kernel(library, "mix", RATE_HZ, N_LANES, 6)


@pytest.mark.parametrize("position", [-1.0, -0.5, 0.0, 0.3, 1.0])
def test_mono_pan_keeps_the_power(library: Library, position: float) -> None:
    lin = library.ffi.new("float[2]")
    library.lib.eh_pan_mono(position, lin)
    assert list(lin) == pytest.approx(list(reference.pan_mono(position)), abs=1e-6)
    assert lin[0] ** 2 + lin[1] ** 2 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("position", "width"), [(0.0, 1.0), (0.0, 0.0), (0.7, 0.5), (-1.0, 1.0)])
def test_stereo_pan_is_balance_and_width(library: Library, position: float, width: float) -> None:
    lin = library.ffi.new("float[2][2]")
    library.lib.eh_pan_stereo(position, width, lin)
    got = np.array([[lin[i][j] for j in range(2)] for i in range(2)])
    assert np.allclose(got, reference.pan_stereo(position, width), atol=1e-6)
    if position == 0.0 and width == 1.0:
        assert np.array_equal(got, np.eye(2)), "a stereo channel in the centre passes as it came"
