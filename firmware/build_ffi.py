"""Compiles the engine and the kernels it is made of into the cffi extension ``firmware._engine``."""

from __future__ import annotations

import sys
from pathlib import Path

from cffi import FFI

from dsp_kernels.build_ffi import BuildError, compile_in_place, extension, kernel_headers, kernel_sources

RT_DIR = Path(__file__).parent / "rt"
ENGINE_HEADER = RT_DIR / "engine.h"


def engine_sources() -> list[Path]:
    """Return every C file of the engine, kernels included."""
    return [*sorted(RT_DIR.glob("*.c")), *kernel_sources()]


def engine_builder() -> FFI:
    """Return the builder of ``firmware._engine``."""
    headers = [*kernel_headers(), ENGINE_HEADER]
    return extension("firmware._engine", headers, engine_sources(), '#include "engine.h"', include_dirs=["firmware/rt"])


if __name__ == "__main__":
    try:
        print(f"built {compile_in_place(engine_builder()).name}")
    except BuildError as error:
        sys.exit(f"error: {error}")
