"""The same C for x86-64 and for the box's A64, which qemu-user runs: the same numbers, and the A64 instructions."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dsp_kernels.build_ffi import (
    C_FLAGS,
    INCLUDE_DIRS,
    ROOT,
    SOURCE_DIR,
    BuildError,
    kernel_sources,
    machine_flags,
)

from .counting import A64_COMPILER, BENCH_DIR

COMPILERS = {"x86_64": "cc", "aarch64": A64_COMPILER}
BUILD_DIR = ROOT / "build" / "aarch64"
# Lanes, frames a block, blocks: whole vectors and pairs of them, blocks that no kernel's tick divides. Each sees every
# kind of sound that digest.c makes, twice.
DIGEST_RUNS = (("32", "64", "168"), ("8", "48", "336"), ("4", "1", "1680"))


def built(
    name: str, machine: str, sources: Sequence[Path], *, objects: Sequence[Path] = (), includes: Sequence[Path] = (),
    flags: Sequence[str] = (), is_part: bool = False,
) -> Path:  # fmt: skip
    """Return a program, or with ``is_part`` an object to link with, of ``sources`` with the product's own flags.

    It is kept under ``build/aarch64`` by what it was made of.

    Raises
    ------
    BuildError
        When there is no such compiler, or with its own words.
    """
    compiler = COMPILERS[machine]
    if not shutil.which(compiler):
        raise BuildError(f"{compiler}: is not there; apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
    command = [compiler, *C_FLAGS, *machine_flags(machine), *flags, *(["-r", "-nostdlib"] if is_part else [])]
    command += [f"-I{folder}" for folder in (*INCLUDE_DIRS, SOURCE_DIR, BENCH_DIR, *includes)]
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    out = BUILD_DIR / f"{name}-{machine}-{_digest([version, *command], [*sources, *objects], includes)}"
    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"{out.name}.{os.getpid()}")
    command += [*map(str, sources), *map(str, objects), "-o", str(beside), *([] if is_part else ["-lm"])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{compiler} could not build {name}:\n{done.stderr.strip()}")
    return beside.replace(out)


def _digest(words: Sequence[str], files: Sequence[Path], includes: Sequence[Path]) -> str:
    sums = hashlib.sha256("\0".join(words).encode())
    headers = [h for folder in (*INCLUDE_DIRS, SOURCE_DIR, BENCH_DIR, *includes) for h in sorted(folder.rglob("*.h"))]
    for path in (*files, *headers):
        sums.update(path.read_bytes())
    return sums.hexdigest()[:16]


def kernels(machine: str, flags: Sequence[str] = ()) -> Path:
    """Return all kernels as one object to link with."""
    return built("kernels.o", machine, kernel_sources(), flags=flags, is_part=True)


def digest_program(machine: str, flags: Sequence[str] = ()) -> Path:
    """Return the program that prints a number a kernel."""
    sources = [BENCH_DIR / name for name in ("ours.c", "offline.c", "digest.c")]
    return built("kernel_digest", machine, sources, objects=[kernels(machine, flags)])


def runner(machine: str) -> list[str]:
    """Return the words before a program's name that run it on this machine."""
    return ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"] if machine == "aarch64" else []


def digests(program: Path, machine: str, arguments: Sequence[str]) -> dict[str, str]:
    """Return what a digest program prints, by name."""
    command = [*runner(machine), str(program), *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split() for line in said.splitlines())


def different(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names that have another number in ``other``, or that only one of them has."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
