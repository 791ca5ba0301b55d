"""The loudness oracle: libebur128, the reference implementation that broadcasters use, called through cffi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

LIBRARY = "libebur128.so.1"
ALL_MODES = 0b111111  # M, S, I, LRA, sample peak, true peak

_DECLARATIONS = """
typedef struct ebur128_state ebur128_state;
ebur128_state *ebur128_init(unsigned int channels, unsigned long samplerate, int mode);
void ebur128_destroy(ebur128_state **st);
int ebur128_add_frames_float(ebur128_state *st, const float *src, size_t frames);
int ebur128_loudness_global(ebur128_state *st, double *out);
int ebur128_loudness_momentary(ebur128_state *st, double *out);
int ebur128_loudness_shortterm(ebur128_state *st, double *out);
int ebur128_loudness_range(ebur128_state *st, double *out);
int ebur128_sample_peak(ebur128_state *st, unsigned int channel, double *out);
int ebur128_true_peak(ebur128_state *st, unsigned int channel, double *out);
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What libebur128 says about a programme."""

    momentary_lufs: float
    short_term_lufs: float
    integrated_lufs: float
    loudness_range_lu: float
    sample_peak_dbfs: float
    true_peak_dbtp: float


def _opened() -> tuple[FFI, Any]:
    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    try:
        return ffi, ffi.dlopen(LIBRARY)
    except OSError as error:
        raise AssertionError(f"{LIBRARY} is missing; install the package libebur128-1") from error


def measure(x: NDArray[np.floating], rate_hz: float) -> Measured:
    """Measure ``x``, shape ``(n_frames, n_channels)``; one channel counts as left alone."""
    ffi, lib = _opened()
    frames = np.ascontiguousarray(x, np.float32)
    handle = ffi.new("ebur128_state **", lib.ebur128_init(frames.shape[1], int(rate_hz), ALL_MODES))
    out = ffi.new("double *")

    def value(function: Any, *arguments: int) -> float:
        assert function(handle[0], *arguments, out) == 0
        return float(out[0])

    def peak_db(function: Any) -> float:
        return float(20 * np.log10(max(1e-9, *(value(function, ch) for ch in range(frames.shape[1])))))

    try:
        assert lib.ebur128_add_frames_float(handle[0], ffi.cast("float *", frames.ctypes.data), len(frames)) == 0
        return Measured(
            momentary_lufs=value(lib.ebur128_loudness_momentary),
            short_term_lufs=value(lib.ebur128_loudness_shortterm),
            integrated_lufs=value(lib.ebur128_loudness_global),
            loudness_range_lu=value(lib.ebur128_loudness_range),
            sample_peak_dbfs=peak_db(lib.ebur128_sample_peak),
            true_peak_dbtp=peak_db(lib.ebur128_true_peak),
        )
    finally:
        lib.ebur128_destroy(handle)
