"""Builds the C harnesses beside this file, with the compiler and sanitizer that a test asks for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from dsp_kernels.build_ffi import C_FLAGS, INCLUDE_DIRS, SOURCE_DIR, machine_flags
from firmware.build_ffi import RT_DIR, engine_sources

HARNESS_DIR = Path(__file__).parent / "harness"


def build(name: str, out_dir: Path, *flags: str, compiler: str = "cc") -> Path:
    """Compile harness ``name`` with the engine and the kernels; return the program."""
    program = out_dir / f"{name}-{compiler}{''.join(flags).replace('/', '_')}"
    includes = [f"-I{d}" for d in (*INCLUDE_DIRS, SOURCE_DIR, RT_DIR)]
    sources = [str(s) for s in (HARNESS_DIR / f"{name}.c", *engine_sources())]
    command = [
        compiler,
        *C_FLAGS,
        *machine_flags(),
        *flags,
        *includes,
        *sources,
        "-o",
        str(program),
        "-lm",
        "-lpthread",
    ]
    subprocess.run(command, check=True)
    return program


def run(program: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a harness and return what it said and how it ended."""
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
