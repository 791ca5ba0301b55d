"""The analysis FFT of four lanes, compiled by itself: it is no part of the public headers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cffi import FFI

from dsp_kernels.build_ffi import SOURCE_DIR, build_library
from dsp_kernels.native import aligned_bytes
from dsp_kernels.reference import fft as reference_fft
from dsp_kernels.tests.measures import error_db

ERROR_DB = -120.0
DECLARATIONS = """
typedef struct { unsigned char *base; size_t used_bytes; } eh_arena;
typedef struct { int n_real, n_complex; float *twiddle, *split; uint16_t *place; } eh_fft;
void eh_fft_init(eh_fft *f, int n_real, eh_arena *arena);
void eh_fft_power(const eh_fft *f, void *z, void *power, float scale);
void eh_fft_forward(const eh_fft *f, void *z, void *spectrum);
void eh_fft_inverse(const eh_fft *f, const void *spectrum, void *z, void *out);
"""
Run = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return ``run(verb, n, x, n_out, *more)``: one call of the compiled FFT of ``n`` points."""
    compiler = os.environ.get("CC", "cc")
    path = build_library(
        Path(tmp_path_factory.mktemp("fft")) / "fft.so", compiler=compiler, sources=[SOURCE_DIR / "fft.c"]
    )
    ffi = FFI()
    ffi.cdef(DECLARATIONS)
    lib = ffi.dlopen(str(path))

    def call(verb: str, n: int, x: np.ndarray, n_out: int, *more: float) -> np.ndarray:
        plan, arena = ffi.new("eh_fft *"), ffi.new("eh_arena *")
        lib.eh_fft_init(plan, n, arena)
        memory = aligned_bytes(arena.used_bytes)
        arena.base, arena.used_bytes = ffi.cast("unsigned char *", memory.ctypes.data), 0
        lib.eh_fft_init(plan, n, arena)
        buffers = [aligned_bytes(size * 16).view(np.float32).reshape(size, 4) for size in (len(x), n_out, n)]
        buffers[0][:] = x
        x_pointer, out_pointer, z_pointer = (ffi.cast("void *", b.ctypes.data) for b in buffers)
        scratch = (z_pointer,) if verb == "inverse" else ()
        getattr(lib, f"eh_fft_{verb}")(plan, x_pointer, *scratch, out_pointer, *more)
        return buffers[1]

    return call


def forward(run: Run, x: np.ndarray) -> np.ndarray:
    """Return the spectrum of ``x``, shape ``(n, 4)``."""
    pairs = run("forward", len(x), x, len(x) + 2).reshape(-1, 2, 4)
    return pairs[:, 0] + 1j * pairs[:, 1]


def white(n: int) -> np.ndarray:
    """Return noise in four lanes."""
    return np.random.default_rng(n).standard_normal((n, 4)).astype(np.float32)


def both_parts(z: np.ndarray) -> np.ndarray:
    """Return real and imaginary parts, to be compared as reals."""
    return np.stack([z.real, z.imag])


SIZES = [256, 512, 1024, 2048, 4096]


@pytest.mark.parametrize("n", SIZES)
def test_spectrum_matches_numpy(run: Run, n: int) -> None:
    x = white(n)
    expected = np.fft.rfft(x.astype(np.float64), axis=0)
    assert error_db(both_parts(forward(run, x)), both_parts(expected)) < ERROR_DB


@pytest.mark.parametrize("n", SIZES)
def test_inverse_matches_numpy(run: Run, n: int) -> None:
    x = white(n)
    spectrum = np.fft.rfft(x.astype(np.float64), axis=0)
    pairs = np.stack([spectrum.real, spectrum.imag], axis=1).reshape(-1, 4)
    assert error_db(run("inverse", n, pairs, n) / (n / 2), x) < ERROR_DB


def test_power_matches_numpy_and_sums_to_the_whole(run: Run) -> None:
    x = white(1024)
    power = run("power", 1024, x, 513, 2 / 1024**2)
    expected = np.abs(np.fft.rfft(x.astype(np.float64), axis=0)) ** 2 * 2 / 1024**2
    expected[[0, -1]] /= 2
    assert error_db(power, expected) < ERROR_DB
    assert np.allclose(power.sum(axis=0), np.mean(x.astype(np.float64) ** 2, axis=0), rtol=1e-5)


def test_impulse_has_a_flat_spectrum_and_a_cosine_has_one_bin(run: Run) -> None:
    x = np.zeros((1024, 4), np.float32)
    x[3, 0] = 1.0
    x[:, 1] = np.cos(2 * np.pi * 100 * np.arange(1024) / 1024)
    spectrum = forward(run, x)
    assert np.abs(np.abs(spectrum[:, 0]) - 1).max() < 1e-6
    assert np.argmax(np.abs(spectrum[:, 1])) == 100
    assert abs(spectrum[100, 1]) == pytest.approx(512, rel=1e-6)
    assert not spectrum[:, 2:].any(), "a lane leaks into another"


def test_power_spectrum_of_the_reference_sums_to_the_mean_square() -> None:
    x = np.random.default_rng(3).standard_normal(1024)
    window = reference_fft.hann(1024)
    mean_square = np.sum((x * window) ** 2) / np.sum(window**2)
    assert reference_fft.power_spectrum(x).sum() == pytest.approx(mean_square, rel=1e-12)
