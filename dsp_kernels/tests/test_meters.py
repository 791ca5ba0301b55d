"""Meters: what a level is, and when it is read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Kernel, KernelError, Library
from dsp_kernels.reference import meters as reference_meters
from dsp_kernels.tests.measures import ODD_BLOCKS, white_noise

RATE_HZ = 48000.0
SILENCE_DBFS = -100.0


def make(library: Library, rate_hz: float = RATE_HZ) -> Kernel:
    return Kernel(library, "meters", rate_hz, 8)


def feed(meters: Kernel, x: NDArray[np.float32], block: int = 64) -> None:
    for start in range(0, len(x), block):
        part = np.ascontiguousarray(x[start : start + block])
        meters.call("process", meters.pointer(part), len(part))


def read(meters: Kernel, lane: int) -> tuple[float, float]:
    peak_dbfs, rms_dbfs = meters.ffi.new("float *"), meters.ffi.new("float *")
    meters.call("read", lane, peak_dbfs, rms_dbfs)
    return peak_dbfs[0], rms_dbfs[0]


def state(meters: Kernel) -> bytes:
    return bytes(meters.ffi.buffer(meters.struct))


def test_meters_do_not_depend_on_block_size(library: Library) -> None:
    x, whole = white_noise(2003, 8), make(library)
    feed(whole, x, len(x))
    for block in ODD_BLOCKS:
        meters = make(library)
        feed(meters, x, block)
        assert state(meters) == state(whole), f"blocks of {block} frames"


@pytest.mark.parametrize("rate_hz", [44100.0, 48000.0, 96000.0])
def test_meters_match_their_float64_reference(library: Library, rate_hz: float) -> None:
    meters = make(library, rate_hz)
    x = white_noise(30000, 8) * np.linspace(1, 0.01, 30000)[:, None].astype(np.float32)
    feed(meters, x)
    for lane in range(8):
        peak_dbfs, rms_dbfs = read(meters, lane)
        assert peak_dbfs == pytest.approx(20 * np.log10(np.abs(x[:, lane].astype(np.float64)).max()), abs=1e-4)
        expected = reference_meters.mean_square(x[:, lane], rate_hz)[-1]
        assert rms_dbfs == pytest.approx(10 * np.log10(expected), abs=1e-3)


def test_a_full_scale_sine_reads_0_and_minus_3(library: Library) -> None:
    meters = make(library)
    sine = np.sin(2 * np.pi * 1000 * np.arange(3 * 48000) / RATE_HZ)
    feed(meters, np.tile(sine[:, None], (1, 8)).astype(np.float32))
    peak_dbfs, rms_dbfs = read(meters, 0)
    assert peak_dbfs == pytest.approx(0, abs=0.01)
    assert rms_dbfs == pytest.approx(-3.01, abs=0.01)


def test_reading_begins_the_peak_anew(library: Library) -> None:
    meters = make(library)
    click = np.zeros((64, 8), np.float32)
    click[5, 3] = -0.5
    feed(meters, click)
    assert read(meters, 3)[0] == pytest.approx(-6.02, abs=0.01)
    assert read(meters, 2)[0] == SILENCE_DBFS
    feed(meters, np.zeros((64, 8), np.float32))
    assert read(meters, 3)[0] == SILENCE_DBFS


def test_silence_reads_the_floor_and_decays_reach_zero(library: Library) -> None:
    meters = make(library)
    assert read(meters, 0) == (SILENCE_DBFS, SILENCE_DBFS)
    feed(meters, white_noise(48000, 8))
    feed(meters, np.zeros((48000 * 15, 8), np.float32), 4800)
    assert list(meters.struct.mean_square[0:8]) == [0.0] * 8


def test_denormals_and_nan_are_survived(library: Library) -> None:
    meters, x = make(library), np.full((160, 8), 1e-40, np.float32)
    feed(meters, x)
    assert read(meters, 1) == (SILENCE_DBFS, SILENCE_DBFS)
    x = white_noise(160, 8)
    x[50, 2] = np.nan
    feed(meters, x)
    assert np.isfinite([read(meters, lane) for lane in range(8)]).all()
    meters.call("reset_lane", 2)
    feed(meters, white_noise(1600, 8))
    assert read(meters, 2)[1] > -40


def test_reset_equals_fresh(library: Library) -> None:
    used, fresh = make(library), make(library)
    feed(used, white_noise(1003, 8))
    used.call("reset")
    fresh.call("reset")
    assert state(used) == state(fresh)


@pytest.mark.parametrize(("rate_hz", "n_lanes"), [(100.0, 8), (48000.0, 6)])
def test_meters_refuse_what_they_cannot_do(library: Library, rate_hz: float, n_lanes: int) -> None:
    with pytest.raises(KernelError):
        Kernel(library, "meters", rate_hz, n_lanes)
