"""Exact instruction counts: x86-64 by callgrind, A64 by qemu-user with a plugin. Repeatable to the last instruction."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from dsp_kernels.build_ffi import C_FLAGS, INCLUDE_DIRS, SOURCE_DIR, kernel_sources, machine_flags

BENCH_DIR = Path(__file__).parent
BENCH_SOURCES = [BENCH_DIR / name for name in ("ours.c", "naive.c", "naive_chain.c", "loop.c")]
FEW_BLOCKS, MORE_BLOCKS = 64, 320  # start-up cancels in the difference; features need whole hops
KERNELS = (
    "convert_from_s32", "convert_to_s32", "scrub", "gain", "align", "eq", "gate", "compressor", "saturation",
    "automix", "ducker", "meters", "mix", "kweight", "limiter", "true_peak_limiter", "features", "resampler",
)  # fmt: skip
STEREO_KERNELS = ("reverb", "delay", "loudness")  # per stereo frame, whatever the number of channels
A64_COMPILER = "aarch64-linux-gnu-gcc"
A64_ROOT = "/usr/aarch64-linux-gnu"


def missing_tools() -> list[str]:
    """Return what counting needs and this machine lacks, as Debian package names."""
    needed = {"valgrind": "valgrind", "qemu-aarch64": "qemu-user", A64_COMPILER: "gcc-aarch64-linux-gnu"}
    return [package for tool, package in needed.items() if not shutil.which(tool)]


def build_program(out: Path, sources: list[Path], includes: list[Path], *, compiler: str, machine: str) -> Path:
    """Compile ``sources`` into the program ``out``, with the kernels' own flags."""
    command = [compiler, *C_FLAGS, *machine_flags(machine), "-DEH_BENCH_MAIN", *[f"-I{d}" for d in includes]]
    subprocess.run([*command, *map(str, sources), "-o", str(out), "-lm"], check=True)
    return out


def build_plugin(directory: Path) -> Path:
    """Compile the plug-in with which qemu-user counts."""
    plugin = directory / "count.so"
    source = str(BENCH_DIR / "qemu_count.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", source, "-o", str(plugin)], check=True)
    return plugin


def count_a64(plugin: Path, program: Path, arguments: list[str]) -> int:
    """Return the A64 instructions that a program takes from start to end."""
    tool = ["qemu-aarch64", "-L", A64_ROOT, "-plugin", str(plugin), "-d", "plugin", str(program)]
    said = subprocess.run([*tool, *arguments], capture_output=True, text=True, check=True)
    return _number(r"instructions (\d+)", said.stderr + said.stdout)


class Counter:
    """Counts the instructions of a benchmark program on both machines."""

    def __init__(self, directory: Path, sources: list[Path] | None = None, includes: list[Path] | None = None) -> None:
        sources = sources or [*BENCH_SOURCES, *kernel_sources()]
        includes = [*INCLUDE_DIRS, SOURCE_DIR, BENCH_DIR, *(includes or [])]
        self._plugin = build_plugin(directory)
        self._x86 = build_program(directory / "bench-x86", sources, includes, compiler="cc", machine="x86_64")
        self._a64 = build_program(directory / "bench-a64", sources, includes, compiler=A64_COMPILER, machine="aarch64")

    def x86_per_frame(self, *arguments: str, n_frames: int) -> float:
        """Return x86-64 instructions per frame; ``arguments`` go before the number of blocks."""
        return self._per_frame(self._count_x86, arguments, n_frames)

    def a64_per_frame(self, *arguments: str, n_frames: int) -> float:
        """Return A64 instructions per frame."""
        return self._per_frame(self._count_a64, arguments, n_frames)

    def _per_frame(self, count: object, arguments: tuple[str, ...], n_frames: int) -> float:
        assert callable(count)
        few, more = count([*arguments, str(FEW_BLOCKS)]), count([*arguments, str(MORE_BLOCKS)])
        return (more - few) / ((MORE_BLOCKS - FEW_BLOCKS) * n_frames)

    def _count_x86(self, arguments: list[str]) -> int:
        tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(self._x86)]
        said = subprocess.run([*tool, *arguments], capture_output=True, text=True, check=True).stderr
        return _number(r"Collected : (\d+)", said)

    def _count_a64(self, arguments: list[str]) -> int:
        return count_a64(self._plugin, self._a64, arguments)


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"no count in: {text[-300:]}")
    return int(found.group(1))
