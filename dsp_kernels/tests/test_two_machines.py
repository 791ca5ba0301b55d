"""The box's processor gives the bits that this machine gives, kernel by kernel. Run by ``make aarch64``."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsp_kernels.bench.two_machines import BENCH_DIR, DIGEST_RUNS, built, different, digest_program, digests, kernels
from dsp_kernels.build_ffi import SOURCE_DIR, BuildError

N_KERNELS = 25


def test_a_number_that_differs_and_a_kernel_that_is_missing_are_named() -> None:
    assert different({"gain": "1", "eq": "2", "gate": "3"}, {"gain": "1", "eq": "7"}) == ["eq", "gate"]


def test_c_that_does_not_compile_is_refused_with_the_compilers_words(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.c"
    wrong.write_text("int main(void) { return nothing; }")
    with pytest.raises(BuildError, match="nothing"):
        built("wrong", "x86_64", [wrong])


@pytest.mark.aarch64
@pytest.mark.parametrize("run", DIGEST_RUNS, ids="x".join)
def test_every_kernel_gives_the_same_bits_on_both_machines(run: tuple[str, ...]) -> None:
    here, there = (digests(digest_program(m), m, run) for m in ("x86_64", "aarch64"))
    assert len(here) == N_KERNELS
    assert different(here, there) == []


@pytest.mark.aarch64
def test_one_rounding_more_in_one_kernel_is_found_and_named(tmp_path: Path) -> None:
    source = (SOURCE_DIR / "meters.c").read_text()
    assert "v4_fma(" in source
    planted = tmp_path / "meters.c"
    planted.write_text(
        source.replace("v4_fma(", "twice_rounded(").replace(
            '#include "simd.h"', '#include "simd.h"\n#define twice_rounded(a, b, c) ((a) * (b) + (c))'
        )
    )
    sources = [planted, *(BENCH_DIR / name for name in ("ours.c", "offline.c", "digest.c"))]
    wrong = built("planted", "aarch64", sources, objects=[kernels("aarch64")], flags=["-Wl,-z,muldefs"])
    run = DIGEST_RUNS[1]
    assert different(digests(digest_program("x86_64"), "x86_64", run), digests(wrong, "aarch64", run)) == ["meters"]
