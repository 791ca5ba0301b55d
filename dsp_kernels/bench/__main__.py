"""``python -m dsp_kernels.bench``: each kernel beside the naive C and the peers, interleaved in one process."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from cffi import FFI
from rich.console import Console
from rich.table import Table

from dsp_kernels.build_ffi import BuildError, build_library, kernel_sources

from . import counting, peers, resampler_peers
from .counting import KERNELS, STEREO_KERNELS
from .timing import best_ns

N_LANES_FOR_STEREO = 4


def open_bench(directory: Path) -> Any:
    """Build and open the benchmarks as a cffi library."""
    flags = (f"-I{counting.BENCH_DIR}", "-lm")
    library = build_library(directory / "bench.so", flags=flags, sources=[*counting.BENCH_SOURCES, *kernel_sources()])
    ffi = FFI()
    ffi.cdef(
        "void eh_bench_prepare(const char *name, int n_lanes, int n_frames);"
        "double eh_bench_run(const char *name, int n_blocks); int eh_bench_exists(const char *name);"
        "double eh_bench_fma_peak_ns(void);"
    )
    return ffi.dlopen(str(library))


def measure(n_lanes: int, n_frames: int, directory: Path) -> list[dict[str, object]]:
    """Return one row a kernel: nanoseconds per frame and channel, ours, naive and peers, and their ratios."""
    lib = open_bench(directory)
    others = [m for module in (peers, resampler_peers) for m in module.available(n_lanes, n_frames, directory)]
    rows: list[dict[str, object]] = []
    for name in (*KERNELS, *STEREO_KERNELS):
        is_stereo = name in STEREO_KERNELS
        lanes = N_LANES_FOR_STEREO if is_stereo else n_lanes
        work = n_frames * (1 if is_stereo else lanes)
        n_blocks = max(8, 200_000 // (n_frames * lanes))
        naive = f"naive_{name}"
        has_naive = bool(lib.eh_bench_exists(naive.encode()))
        mine = [p for p in others if p.kernel == name]
        lib.eh_bench_prepare(name.encode(), lanes, n_frames)
        runs = [lambda n=name, b=n_blocks: lib.eh_bench_run(n.encode(), b)]
        if has_naive:
            lib.eh_bench_prepare(naive.encode(), lanes, n_frames)
            runs.append(lambda n=naive, b=n_blocks: lib.eh_bench_run(n.encode(), b))
        runs += [lambda p=p, b=n_blocks: peers.spent_ns(p.run, b) for p in mine]
        spent = [ns / (n_blocks * work) for ns in best_ns(runs)]
        row: dict[str, object] = {"kernel": name, "ours_ns": spent[0]}
        if has_naive:
            row["naive_ratio"] = spent[1] / spent[0]
        row["peers"] = {p.name: ns / spent[0] for p, ns in zip(mine, spent[1 + has_naive :], strict=True)}
        rows.append(row)
    rows.append({"kernel": "(one FMA vector, this core's peak)", "ours_ns": best_ns([lib.eh_bench_fma_peak_ns])[0]})
    return rows


def add_counts(rows: list[dict[str, object]], n_lanes: int, n_frames: int, directory: Path) -> None:
    """Add exact instruction counts per frame and channel to each row."""
    counter = counting.Counter(directory)
    for row in rows:
        name = str(row["kernel"])
        if name.startswith("("):
            continue
        is_stereo = name in STEREO_KERNELS
        lanes = N_LANES_FOR_STEREO if is_stereo else n_lanes
        per = 1 if is_stereo else lanes
        row["x86_instructions"] = counter.x86_per_frame(name, str(lanes), str(n_frames), n_frames=n_frames) / per
        row["a64_instructions"] = counter.a64_per_frame(name, str(lanes), str(n_frames), n_frames=n_frames) / per


def show(rows: list[dict[str, object]], n_lanes: int, n_frames: int) -> None:
    """Print the rows as a table."""
    table = Table(title=f"Kernels, {n_lanes} channels, {n_frames} frames a block; per frame and channel")
    for heading in ("kernel", "ns", "A64 instr.", "x86 instr.", "naive C / ours", "peers / ours"):
        table.add_column(heading, justify="left" if heading in ("kernel", "peers / ours") else "right")
    for row in rows:
        others = row.get("peers") or {}
        assert isinstance(others, dict)
        table.add_row(
            str(row["kernel"]) + (" (stereo frame)" if row["kernel"] in STEREO_KERNELS else ""),
            f"{row['ours_ns']:.3f}",
            f"{row['a64_instructions']:.1f}" if "a64_instructions" in row else "",
            f"{row['x86_instructions']:.1f}" if "x86_instructions" in row else "",
            f"{row['naive_ratio']:.1f}" if "naive_ratio" in row else "",
            ", ".join(f"{name} {ratio:.1f}" for name, ratio in others.items()),
        )
    Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 0."""
    parser = argparse.ArgumentParser(prog="python -m dsp_kernels.bench", description=__doc__)
    parser.add_argument("--channels", type=int, default=32, help="lanes, a multiple of 4 (32)")
    parser.add_argument("--frames", type=int, default=64, help="frames a block (64)")
    parser.add_argument("--no-counts", action="store_true", help="leave out the instruction counts")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args(arguments)
    missing = (
        peers.missing_tools()
        + resampler_peers.missing_tools()
        + ([] if options.no_counts else counting.missing_tools())
    )
    if missing:
        print(f"note: with `apt-get install {' '.join(missing)}` there would be more to see", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        try:
            rows = measure(options.channels, options.frames, Path(name))
            if not options.no_counts and not counting.missing_tools():
                add_counts(rows, options.channels, options.frames, Path(name))
        except BuildError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if options.json:
        print(json.dumps({"channels": options.channels, "frames": options.frames, "kernels": rows}))
    else:
        show(rows, options.channels, options.frames)
    return 0


if __name__ == "__main__":
    sys.exit(main())
