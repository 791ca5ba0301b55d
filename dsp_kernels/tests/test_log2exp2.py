"""The vector polynomials of ``src/log2exp2.h``: within what they state, from constants that the fit still gives."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cffi import FFI
from numpy.typing import NDArray

from dsp_kernels.build_ffi import SOURCE_DIR, build_library
from dsp_kernels.reference import log2exp2 as fits

DB_PER_LOG2 = 20 * np.log10(2)
NAMES = ("log2", "exp2", "covered")
WRAPPER = """
#include "log2exp2.h"
#define EACH(name)                                                                     \\
    void name(const float *x, float *y, int n) {                                       \\
        for (int i = 0; i < n; i += 4) v4_store(y + i, v4_##name(v4_load(x + i)));     \\
    }
EACH(log2) EACH(exp2) EACH(covered)
"""
Evaluate = Callable[[str, NDArray[np.float64]], NDArray[np.float64]]


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Evaluate:
    """Return a function of a name and arguments that calls the C."""
    folder: Path = tmp_path_factory.mktemp("log2exp2")
    source = folder / "wrapper.c"
    source.write_text(WRAPPER)
    built = build_library(
        folder / "wrapper.so", compiler=os.environ.get("CC", "cc"), flags=("-fno-builtin",), sources=[source]
    )
    ffi = FFI()
    ffi.cdef("".join(f"void {name}(const float *x, float *y, int n);" for name in NAMES))
    library = ffi.dlopen(str(built))

    def run(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        a = np.ascontiguousarray(x[: len(x) // 4 * 4], np.float32)
        y = np.empty_like(a)
        getattr(library, name)(ffi.from_buffer("float[]", a), ffi.from_buffer("float[]", y), len(a))
        return y.astype(np.float64)

    return run


def test_log2_is_within_0_0001_db(evaluate: Evaluate) -> None:
    x = np.geomspace(1e-9, 1024, 100_000).astype(np.float32).astype(np.float64)
    assert np.abs(evaluate("log2", x) - np.log2(x)).max() * DB_PER_LOG2 < 0.0001


def test_exp2_is_within_0_0001_db_and_exact_at_0(evaluate: Evaluate) -> None:
    x = np.linspace(-40, 12, 100_000).astype(np.float32).astype(np.float64)
    assert np.abs(np.log2(evaluate("exp2", x)) - x).max() * DB_PER_LOG2 < 0.0001
    assert (evaluate("exp2", np.zeros(4)) == 1.0).all()
    assert np.isfinite(evaluate("exp2", np.array([-120.0, 120.0, -120.0, 120.0]))).all()


def test_covered_keeps_its_digits_for_long_time_constants(evaluate: Evaluate) -> None:
    z = np.geomspace(1e-6, 1.25, 100_000).astype(np.float32).astype(np.float64)
    relative = evaluate("covered", z) / -np.expm1(-z * np.log(2)) - 1
    assert np.abs(relative).max() < 5e-7


@pytest.mark.parametrize(
    ("function", "fit"),
    [("v4_log2", fits.log2_of_mantissa), ("v4_exp2", fits.exp2_of_fraction), ("v4_covered", fits.covered)],
)
def test_the_constants_are_those_of_the_fit(function: str, fit: Callable[[], NDArray[np.float64]]) -> None:
    text = (SOURCE_DIR / "log2exp2.h").read_text()
    body = text[text.index(f"static inline v4 {function}(") :].split("\n}\n")[0]
    constants = [float(c) for c in re.findall(r"v4_set1\((-?[\d.]+)f\)", body)]
    for wanted in fit():
        assert min(abs(c - wanted) for c in constants) < 1e-5 * abs(wanted) + 1e-9, f"{wanted} is not in {function}"
