"""``python -m firmware.bench``: the whole mixer beside the naive C of the same chain, interleaved in one process.

Then the live loop beside cyclictest: ``python -m firmware.bench.service``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI
from rich.console import Console
from rich.table import Table

from dsp_kernels.bench import counting
from dsp_kernels.bench.timing import best_ns
from dsp_kernels.build_ffi import BuildError, build_library
from firmware.build_ffi import RT_DIR, engine_sources
from firmware.errors import EvenhandError

from . import peers
from .service.measure import measure as measure_service
from .service.tables import show as show_service

SAMPLE_RATE_HZ = 48000
CHANNELS = (8, 16, 32)
FRAMES = (32, 64, 128)
COUNTED_WITH_ANALYSIS_FRAMES = 64
FRAMES_PER_RUN = 15360  # 320 ms: whole hops of the analysis for each block size
NAIVE_FRAMES_PER_RUN = 3840
BLOCK_CHANNELS, BLOCK_FRAMES, N_BLOCKS, BLOCK_ROUNDS = 32, 32, 100_000, 3
BLOCK_PERCENTILES = {"p50_us": 50.0, "p99_us": 99.0, "p999_us": 99.9, "p9999_us": 99.99}
BLOCK_GOAL = 0.5  # of a period at p99.99
CHAIN = Path(__file__).parent / "chain.c"


def open_bench(directory: Path) -> tuple[FFI, Any]:
    """Return the mixer and the naive chain in one library."""
    sources = [*engine_sources(), CHAIN, *counting.BENCH_SOURCES]
    flags = (f"-I{RT_DIR}", f"-I{counting.BENCH_DIR}", "-lm")
    ffi = FFI()
    ffi.cdef(
        "void eh_chain_prepare(int n_channels, int n_frames); double eh_chain_run(int n_blocks, int with_analysis);"
        "void eh_chain_block_ns(int n_blocks, float *block_ns);"
        "void eh_bench_prepare(const char *name, int n_lanes, int n_frames);"
        "double eh_bench_run(const char *name, int n_blocks);"
    )
    return ffi, ffi.dlopen(str(build_library(directory / "chain.so", flags=flags, sources=sources)))


def measure(lib: Any, n_channels: int, n_frames: int) -> dict[str, float]:
    """Return nanoseconds per frame and channel, real-time ratios and the naive chain's ratio."""
    n_blocks, n_naive_blocks = FRAMES_PER_RUN // n_frames, NAIVE_FRAMES_PER_RUN // n_frames
    lib.eh_chain_prepare(n_channels, n_frames)
    lib.eh_bench_prepare(b"naive_chain", n_channels, n_frames)
    chain_ns, analysis_ns, naive_ns = best_ns(
        [
            lambda: lib.eh_chain_run(n_blocks, 0) / FRAMES_PER_RUN,
            lambda: lib.eh_chain_run(n_blocks, 1) / FRAMES_PER_RUN,
            lambda: lib.eh_bench_run(b"naive_chain", n_naive_blocks) / NAIVE_FRAMES_PER_RUN,
        ]
    )
    frame_ns = 1e9 / SAMPLE_RATE_HZ
    return {
        "channels": n_channels,
        "frames": n_frames,
        "chain_ns": chain_ns / n_channels,
        "with_analysis_ns": analysis_ns / n_channels,
        "naive_ns": naive_ns / n_channels,
        "naive_ratio": naive_ns / chain_ns,
        "real_time_ratio": frame_ns / chain_ns,
        "real_time_ratio_with_analysis": frame_ns / analysis_ns,
    }


def measure_blocks(lib: Any, ffi: FFI) -> dict[str, float]:
    """Return percentiles of a block's processor time, us, at the shortest period of a board: figure T5.

    Of ``BLOCK_ROUNDS`` rounds the one with the least p99.99 counts: what a neighbour does to the machine is not ours.
    """
    lib.eh_chain_prepare(BLOCK_CHANNELS, BLOCK_FRAMES)
    block_ns = np.zeros(N_BLOCKS, np.float32)
    rounds = []
    for _ in range(BLOCK_ROUNDS):
        lib.eh_chain_block_ns(N_BLOCKS, ffi.cast("float *", block_ns.ctypes.data))
        rounds.append(np.percentile(block_ns, list(BLOCK_PERCENTILES.values())) / 1000.0)
    best = min(rounds, key=lambda percentiles: percentiles[-1])
    record = {name: float(us) for name, us in zip(BLOCK_PERCENTILES, best, strict=True)}
    return {"channels": BLOCK_CHANNELS, "frames": BLOCK_FRAMES, "period_us": 1e6 * BLOCK_FRAMES / SAMPLE_RATE_HZ,
            **record}  # fmt: skip


def add_counts(rows: list[dict[str, float]], directory: Path) -> None:
    """Add exact instruction counts per frame and channel, with analysis at one block size."""
    counter = counting.Counter(directory, [*engine_sources(), CHAIN], [RT_DIR])

    def count(row: dict[str, float]) -> None:
        n_channels, n_frames = int(row["channels"]), int(row["frames"])
        modes = {"chain": ""} | ({"analysis": "_with_analysis"} if n_frames == COUNTED_WITH_ANALYSIS_FRAMES else {})
        for mode, suffix in modes.items():
            arguments = (mode, str(n_channels), str(n_frames))
            row[f"a64_instructions{suffix}"] = counter.a64_per_frame(*arguments, n_frames=n_frames) / n_channels
            row[f"x86_instructions{suffix}"] = counter.x86_per_frame(*arguments, n_frames=n_frames) / n_channels

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # counts do not mind what else the machine does
        list(pool.map(count, rows))


def show(rows: list[dict[str, float]], blocks: dict[str, float], ffmpeg: dict[int, float]) -> None:
    """Print the tables."""
    console = Console()
    for title, suffix in (("The whole chain", ""), ("The whole chain and its analysis", "_with_analysis")):
        table = Table(title=f"{title}; ns and instructions per frame and channel")
        for heading in ("channels", "frames", "ns", "x real time\n(one core)", "A64", "x86", "naive C\n/ ours"):
            table.add_column(heading, justify="right")
        for row in rows:
            ns = row[f"{suffix.strip('_') or 'chain'}_ns"]
            counts = [row.get(f"{machine}_instructions{suffix}") for machine in ("a64", "x86")]
            table.add_row(
                str(row["channels"]),
                str(row["frames"]),
                f"{ns:.2f}",
                f"{row[f'real_time_ratio{suffix}']:.0f}",
                *["" if count is None else f"{count:.1f}" for count in counts],
                "" if suffix else f"{row['naive_ratio']:.1f}",
                end_section=row["frames"] == FRAMES[-1],
            )
        console.print(table)
    console.print(
        f"A block of {blocks['frames']:.0f} frames, {blocks['channels']:.0f} channels, processor time: "
        f"{blocks['p50_us']:.0f} us at p50, {blocks['p999_us']:.0f} at p99.9, {blocks['p9999_us']:.0f} at p99.99; "
        f"goal {BLOCK_GOAL * blocks['period_us']:.0f} of the period's {blocks['period_us']:.0f}.",
        highlight=False,
    )
    for n_channels, ns in ffmpeg.items():
        ours_ns = next(r["chain_ns"] for r in rows if (r["channels"], r["frames"]) == (n_channels, 64))
        console.print(f"FFmpeg, {n_channels} channels: {ns:.1f} ns, {ns / ours_ns:.1f} times ours", highlight=False)
    if ffmpeg:
        console.print(f"FFmpeg does less: {peers.WORK}.", highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return 0; 1 when something cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m firmware.bench", description=__doc__)
    parser.add_argument("--no-counts", action="store_true", help="leave out the instruction counts")
    parser.add_argument("--no-service", action="store_true", help="leave out the live loop")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args(arguments)
    missing = [] if options.no_counts else counting.missing_tools()
    with tempfile.TemporaryDirectory() as name:
        try:
            ffi, lib = open_bench(Path(name))
        except BuildError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        rows = [measure(lib, n_channels, n_frames) for n_channels in CHANNELS for n_frames in FRAMES]
        if not options.no_counts and not missing:
            add_counts(rows, Path(name))
        blocks = measure_blocks(lib, ffi)
        ffmpeg = {n: ns for n in CHANNELS if (ns := peers.ffmpeg_ns(n, Path(name))) is not None}
    missing += [] if ffmpeg else ["ffmpeg"]
    if missing:
        print(f"note: with `apt-get install {' '.join(missing)}` there would be more to see", file=sys.stderr)
    if not options.json:
        show(rows, blocks, ffmpeg)
    service = None
    if not options.no_service:
        try:
            service = measure_service(tell=lambda text: print(text, file=sys.stderr, flush=True))
        except EvenhandError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    if options.json:
        print(
            json.dumps(
                {"chain": rows, "blocks": blocks, "ffmpeg_ns": ffmpeg, "ffmpeg_work": peers.WORK, "service": service}
            )
        )
    elif service:
        show_service(service)
    return 0


if __name__ == "__main__":
    sys.exit(main())
