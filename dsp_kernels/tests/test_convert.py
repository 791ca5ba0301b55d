"""Sample formats at every edge, and the guard at the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import Library
from dsp_kernels.reference import convert as reference_convert
from dsp_kernels.tests.measures import assert_bit_equal, white_noise

C_TYPES = {
    "float32": "float *",
    "int32": "int32_t *",
    "int16": "int16_t *",
    "uint8": "uint8_t *",
    "uint32": "uint32_t *",
}
GUARD = 77  # behind each buffer: must still be there
FORMATS = {"s16": (16, np.int16), "s24_3": (24, np.uint8), "s32": (32, np.int32)}


def pointer(library: Library, array: NDArray[Any]) -> Any:
    return library.ffi.cast(C_TYPES[array.dtype.name], array.ctypes.data)


def pack(samples: NDArray[np.integer], name: str) -> NDArray[Any]:
    """Return integers as the sound card has them."""
    if name == "s24_3":
        return np.ascontiguousarray(samples.astype("<i4")[:, None].view(np.uint8)[:, :3]).reshape(-1)
    return samples.astype(FORMATS[name][1])


def unpack(data: NDArray[Any], name: str) -> NDArray[np.int64]:
    if name == "s24_3":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = data.reshape(-1, 3)
        return (wide.view("<i4")[:, 0] >> 8).astype(np.int64)
    return data.astype(np.int64)


def from_card(library: Library, samples: NDArray[np.integer], name: str) -> NDArray[np.float32]:
    data, out = pack(samples, name), np.full(len(samples) + 4, GUARD, np.float32)
    getattr(library.lib, f"eh_convert_from_{name}")(pointer(library, data), pointer(library, out), len(samples))
    assert (out[len(samples) :] == GUARD).all(), "wrote behind the end"
    return out[: len(samples)]


def to_card(library: Library, x: NDArray[np.floating], name: str, *more: Any) -> NDArray[np.int64]:
    width = 3 if name == "s24_3" else 1
    data = np.full(len(x) * width + 16, GUARD, FORMATS[name][1])
    if name == "s16" and not more:
        more = (library.ffi.NULL,)
    x = np.ascontiguousarray(x, np.float32)
    getattr(library.lib, f"eh_convert_to_{name}")(pointer(library, x), pointer(library, data), len(x), *more)
    assert (data[len(x) * width :] == GUARD).all(), "wrote behind the end"
    return unpack(data[: len(x) * width], name)


def edges(n_bits: int) -> NDArray[np.int64]:
    """Return the integers where a conversion goes wrong: about zero, each power of two, both ends; and some others."""
    powers = 2 ** np.arange(n_bits - 1)
    near = np.concatenate([powers - 1, powers, powers + 1, [2 ** (n_bits - 1) - 1]])
    some = np.random.default_rng(5).integers(-(2 ** (n_bits - 1)), 2 ** (n_bits - 1), 4001)
    return np.clip(
        np.concatenate([near, -near, [-(2 ** (n_bits - 1))], some]), -(2 ** (n_bits - 1)), 2 ** (n_bits - 1) - 1
    )


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_reads_as_its_reference(library: Library, name: str) -> None:
    n_bits = FORMATS[name][0]
    samples = edges(n_bits)
    expected = reference_convert.to_float(samples, n_bits).astype(np.float32)
    assert_bit_equal(from_card(library, samples, name), expected, name)


def test_every_s16_returns_as_it_came(library: Library) -> None:
    samples = np.arange(-32768, 32768)
    np.testing.assert_array_equal(to_card(library, from_card(library, samples, "s16"), "s16"), samples)


def test_s24_returns_as_it_came(library: Library) -> None:
    some = np.arange(-(2**23), 2**23, 7, dtype=np.int32)  # 7 is odd: every residue of every byte
    samples = np.concatenate([some, np.arange(-(2**17), 2**17, dtype=np.int32), edges(24).astype(np.int32)])
    np.testing.assert_array_equal(to_card(library, from_card(library, samples, "s24_3"), "s24_3"), samples)
    s24_in_s32 = samples[::16] * 256
    np.testing.assert_array_equal(to_card(library, from_card(library, s24_in_s32, "s32"), "s32"), s24_in_s32)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_rounds_to_even_and_saturates(library: Library, name: str) -> None:
    n_bits = FORMATS[name][0]
    lsb = 2.0 ** (1 - n_bits)
    halves = (np.arange(-9, 10) / 2) * lsb
    hostile = np.array([0.0, -0.0, 1e-42, -1e-42, 1e-38, 1.0, -1.0, 2.0, -2.0, 1e30, -1e30, np.inf, -np.inf, np.nan])
    near_full = np.concatenate([[1 - lsb * m, lsb * m - 1] for m in (0.25, 0.5, 0.75, 1, 1.5, 2)])
    just_under = np.nextafter(np.array([1, -1], np.float32), np.float32(0))
    loud = white_noise(5003, 1, 0.0)[:, 0]
    x = np.concatenate([halves, hostile, near_full, just_under, loud]).astype(np.float32)
    np.testing.assert_array_equal(to_card(library, x, name), reference_convert.to_integer(x, n_bits))


@pytest.mark.parametrize("name", FORMATS)
def test_full_scale_is_the_last_code(library: Library, name: str) -> None:
    full = 2 ** (FORMATS[name][0] - 1)
    assert to_card(library, np.array([1.0, -1.0, 9.0, -9.0, np.nan]), name).tolist() == [
        full - 1,
        -full,
        full - 1,
        -full,
        0,
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_any_count_of_samples_converts(library: Library, name: str) -> None:
    n_bits = FORMATS[name][0]
    samples, x = edges(n_bits), white_noise(40, 1)[:, 0]
    for n in range(40):
        expected = reference_convert.to_float(samples[:n], n_bits).astype(np.float32)
        assert_bit_equal(from_card(library, samples[:n], name), expected, f"{n} samples in")
        np.testing.assert_array_equal(to_card(library, x[:n], name), reference_convert.to_integer(x[:n], n_bits))


def test_dither_is_that_of_the_reference(library: Library) -> None:
    x, seed = white_noise(5000, 1)[:, 0], library.ffi.new("uint32_t *", 0xFFFFFF00)
    expected = reference_convert.to_integer(x, 16, reference_convert.triangle(0xFFFFFF00, 5000))
    actual = np.concatenate([to_card(library, part, "s16", seed) for part in np.split(x, [1, 8, 15, 72, 4000])])
    # The sum of sample and dither is rounded once to float32: now and then across a half.
    assert np.abs(actual - expected).max() <= 1
    assert np.count_nonzero(actual != expected) <= 5
    assert seed[0] == (0xFFFFFF00 + 5000) % 2**32
    again = library.ffi.new("uint32_t *", 0xFFFFFF00)
    np.testing.assert_array_equal(to_card(library, x, "s16", again), actual)


def test_dither_is_a_triangle_that_frees_the_error_from_the_signal(library: Library) -> None:
    # Lipshitz, Wannamaker, Vanderkooy, JAES 40(5), 1992: with TPDF mean and power of the error are 0 and 1/4 LSB^2.
    n = 200_000
    for level_lsb in (0.0, 0.25, 0.5, 100.3):
        seed = library.ffi.new("uint32_t *", 1)
        error = to_card(library, np.full(n, level_lsb / 32768), "s16", seed) - level_lsb
        assert abs(error.mean()) < 0.005, level_lsb
        assert abs(error.var() - 0.25) < 0.005, level_lsb
        spectrum = np.abs(np.fft.rfft(error - error.mean())) ** 2 / n
        assert spectrum.max() < 0.25 * 20, "the dither has a tone"  # exponential: 1e5 bins reach 0.25 * 11.5


def test_dither_does_not_break_full_scale(library: Library) -> None:
    seed = library.ffi.new("uint32_t *", 1)
    out = to_card(library, np.tile([1.0, -1.0], 500), "s16", seed)
    assert out[::2].min() >= 32766
    assert out[1::2].max() <= -32767


def scrub(
    library: Library, x: NDArray[np.float32], limit_lin: float = 4.0, *, in_place: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint32]]:
    out = x.copy() if in_place else np.full((len(x) + 1, x.shape[1]), GUARD, np.float32)
    source = out if in_place else x
    n_bad, n_clipped = np.full(x.shape[1], 10, np.uint32), np.full(x.shape[1], 20, np.uint32)
    counters = (pointer(library, n_bad), pointer(library, n_clipped))
    library.lib.eh_scrub(pointer(library, source), pointer(library, out), len(x), x.shape[1], limit_lin, *counters)
    assert in_place or (out[len(x) :] == GUARD).all(), "wrote behind the end"
    return out[: len(x)], n_bad - np.uint32(10), n_clipped - np.uint32(20)


def hostile_lanes() -> NDArray[np.float32]:
    tiny = np.finfo(np.float32).tiny
    odd = np.array(
        [np.nan, -np.nan, np.inf, -np.inf, 1e-40, -1e-45, 0, -0.0, tiny, -tiny, 1, -1, 0.99999994, 3.9, -4, 5, 3e38],
        np.float32,
    )
    x = white_noise(340, 8, -3.0)
    x[::20, 1] = odd
    x[::20, 6] = odd[::-1]
    x[5, 3] = np.array([0x7F800001], np.uint32).view(np.float32)[0]  # a signalling NaN
    return x


@pytest.mark.parametrize("in_place", [False, True])
def test_scrub_cleans_and_counts_as_its_reference(library: Library, in_place: bool) -> None:
    x = hostile_lanes()
    out, n_bad, n_clipped = scrub(library, x, in_place=in_place)
    clean, bad, clipped = reference_convert.scrub(x, 4.0)
    np.testing.assert_array_equal(out, clean)
    np.testing.assert_array_equal(n_bad, bad)
    np.testing.assert_array_equal(n_clipped, clipped)
    assert n_bad.tolist() == [0, 4, 0, 1, 0, 0, 4, 0]


def test_scrub_leaves_sound_alone(library: Library) -> None:
    x = white_noise(500, 8)
    out, n_bad, n_clipped = scrub(library, x)
    assert_bit_equal(out, x, "clean input")
    assert not n_bad.any()
    assert not n_clipped.any()


def test_scrub_does_not_depend_on_block_size(library: Library) -> None:
    x = hostile_lanes()
    parts = [scrub(library, part.copy()) for part in np.split(x, [1, 8, 40, 104])]
    out, n_bad, n_clipped = scrub(library, x)
    assert_bit_equal(np.concatenate([p[0] for p in parts]), out, "in blocks")
    np.testing.assert_array_equal(sum(p[1].astype(int) for p in parts), n_bad)
    np.testing.assert_array_equal(sum(p[2].astype(int) for p in parts), n_clipped)
