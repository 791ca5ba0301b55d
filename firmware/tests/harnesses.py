"""Builds the C harnesses beside this file, with the compiler and sanitizer that a test asks for."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dsp_kernels.build_ffi import C_FLAGS, INCLUDE_DIRS, SOURCE_DIR, machine_flags
from firmware.build_ffi import RT_DIR, engine_sources

HARNESS_DIR = Path(__file__).parent / "harness"
INCLUDES = tuple(f"-I{d}" for d in (*INCLUDE_DIRS, SOURCE_DIR, RT_DIR))


def build(
    name: str, *flags: str, compiler: str = "cc", sources: Sequence[Path] = (), own_flags: Sequence[str] = ()
) -> Path:
    """Compile harness ``name`` and ``sources`` and link them with the engine and the kernels; return the program.

    ``own_flags`` are for the harness and ``sources`` alone. A source of the engine among them stands for the engine's.
    """
    directory = _build_directory(compiler, flags)
    program = directory / "".join(c if c.isalnum() else "-" for c in "".join((name, *own_flags)))
    command = [compiler, *C_FLAGS, *machine_flags(), *flags, *own_flags, *INCLUDES]
    own = {source.stem for source in sources}
    shared = [str(o) for o in _objects(compiler, flags) if o.stem not in own]
    command += [str(HARNESS_DIR / f"{name}.c"), *map(str, sources), *shared]
    libraries = ["-lm", "-lpthread", *(["-lasound"] if any(s.name == "pcm.c" for s in sources) else [])]
    subprocess.run([*command, "-o", str(program), *libraries], check=True)
    return program


def run(program: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a harness and return what it said and how it ended."""
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="evenhand-harness-")


def _build_directory(compiler: str, flags: tuple[str, ...]) -> Path:
    directory = Path(_scratch().name) / "".join(c if c.isalnum() else "-" for c in "".join((compiler, *flags)))
    directory.mkdir(exist_ok=True)
    return directory


@functools.cache
def _objects(compiler: str, flags: tuple[str, ...]) -> list[Path]:
    """Compile engine and kernels once for these flags."""
    directory = _build_directory(compiler, flags)

    def compile_one(source: Path) -> Path:
        out = directory / f"{source.stem}.o"
        command = [compiler, *C_FLAGS, *machine_flags(), *flags, *INCLUDES, "-c", str(source), "-o", str(out)]
        subprocess.run(command, check=True)
        return out

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, engine_sources()))
