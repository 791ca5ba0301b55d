"""The K-weighting bank: mean squares that match BS.1770-4 at every rate."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import loudness as reference
from dsp_kernels.tests.measures import ODD_BLOCKS, white_noise

RATE_HZ = 48000.0
ERROR_FLOOR = 10 ** (-90 / 20)


def bank(library: Library, rate_hz: float = RATE_HZ, n_lanes: int = 12) -> Kernel:
    return Kernel(library, "kweight", rate_hz, n_lanes)


def feed(kernel: Kernel, x: NDArray[np.float32], block: int | None = None) -> Kernel:
    for start in range(0, len(x), block or len(x)):
        part = np.ascontiguousarray(x[start : start + (block or len(x))], np.float32)
        kernel.call("process", kernel.pointer(part), len(part))
    return kernel


def mean_squares(kernel: Kernel, n_lanes: int = 12) -> NDArray[np.float32]:
    out = np.zeros(n_lanes, np.float32)
    kernel.call("read", kernel.pointer(out))
    return out


def low_tones(n_frames: int, rate_hz: float = RATE_HZ, n_lanes: int = 12) -> NDArray[np.float32]:
    freqs_hz = np.geomspace(20.0, 0.4 * rate_hz, n_lanes)
    return np.sin(2 * np.pi * np.outer(np.arange(n_frames), freqs_hz) / rate_hz).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
def test_mean_square_matches_the_float64_reference_from_20_hz_up(library: Library, rate_hz: float) -> None:
    for x in (low_tones(9600, rate_hz), white_noise(9600, 12)):
        ours = mean_squares(feed(bank(library, rate_hz), x)).astype(np.float64)
        twin = np.mean(reference.k_weighted(x, rate_hz) ** 2, axis=0)
        assert np.max(np.abs(ours / twin - 1)) < ERROR_FLOOR


def test_published_coefficients_and_the_formula_for_other_rates_agree(library: Library) -> None:
    x = white_noise(48000, 12)
    at_48001_hz = np.mean(reference.k_weighted(x, 48000.001) ** 2, axis=0)
    assert np.allclose(np.mean(reference.k_weighted(x, 48000.0) ** 2, axis=0), at_48001_hz, rtol=1e-6)


def test_one_kilohertz_at_full_scale_reads_minus_3_lufs(library: Library) -> None:
    x = np.repeat(np.sin(2 * np.pi * 997 * np.arange(96000) / RATE_HZ)[:, None], 12, axis=1).astype(np.float32)
    assert np.allclose(10 * np.log10(mean_squares(feed(bank(library), x))) - 0.691, -3.01, atol=0.02)


@pytest.mark.parametrize("block", ODD_BLOCKS)
def test_sum_does_not_depend_on_the_block_size(library: Library, block: int) -> None:
    x = white_noise(2000, 12)
    assert np.array_equal(mean_squares(feed(bank(library), x, block)), mean_squares(feed(bank(library), x)))


def test_a_read_begins_a_new_sum(library: Library) -> None:
    x, kernel = white_noise(4800, 12), bank(library)
    weighted = reference.k_weighted(x, RATE_HZ)
    for start in range(0, 4800, 480):
        got = mean_squares(feed(kernel, x[start : start + 480]))
        assert np.allclose(got, np.mean(weighted[start : start + 480] ** 2, axis=0), rtol=1e-4)
    assert not mean_squares(kernel).any()


def test_reset_equals_fresh(library: Library) -> None:
    x, used = white_noise(1000, 12), bank(library)
    feed(used, white_noise(777, 12, seed=9)).call("reset")
    assert np.array_equal(mean_squares(feed(used, x)), mean_squares(feed(bank(library), x)))


def test_a_nan_stays_in_its_lane_and_reset_lane_heals_it(library: Library) -> None:
    x, kernel = white_noise(960, 12), bank(library)
    hurt = x.copy()
    hurt[100, 5] = np.nan
    got = mean_squares(feed(kernel, hurt))
    assert np.array_equal(np.flatnonzero(~np.isfinite(got)), [5])
    kernel.call("reset_lane", 5)
    healed = mean_squares(feed(kernel, x))
    assert np.isfinite(healed).all()
    assert healed[5] == mean_squares(feed(bank(library), x))[5]


def test_silence_and_denormals_stay_small_and_finite(library: Library) -> None:
    assert not mean_squares(feed(bank(library), np.zeros((500, 12), np.float32))).any()
    tiny = mean_squares(feed(bank(library), np.full((500, 12), 1e-40, np.float32)))
    assert np.isfinite(tiny).all()
    assert tiny.max() < 1e-30


@pytest.mark.parametrize(("rate_hz", "n_lanes", "reason"), [(100.0, 8, "sample rate"), (48000.0, 6, "lanes")])
def test_kweight_refuses_what_it_cannot_do(library: Library, rate_hz: float, n_lanes: int, reason: str) -> None:
    with pytest.raises(KernelError, match=reason):
        bank(library, rate_hz, n_lanes)
