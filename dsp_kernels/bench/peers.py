"""Peers that do the same work: SciPy, Faust, libebur128. Each runs in this process, block by block beside ours."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cffi import FFI

RATE_HZ = 48000
FAUST_PROGRAMS = {
    "eq": """import("stdfaust.lib");
process = par(i, N, fi.highpass(2, 80) : fi.peak_eq_cq(3, 120, 1) : fi.peak_eq_cq(3, 480, 1)
    : fi.peak_eq_cq(3, 1920, 1) : fi.peak_eq_cq(3, 7680, 1));""",
    "compressor": """import("stdfaust.lib");
process = par(i, N, co.compressor_mono(3, -18, 0.01, 0.12));""",
    "gate": """import("stdfaust.lib");
process = par(i, N, ef.gate_mono(-18, 0.001, 0.05, 0.15));""",
    "mix": """import("stdfaust.lib");
process = si.bus(N) <: par(b, 6, par(i, N, *(0.1 + 0.05 * b)) :> _);""",
}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Somebody else's way to do the work of ``kernel``; ``run`` takes a number of blocks."""

    name: str
    kernel: str
    run: Callable[[int], None]


def available(n_lanes: int, n_frames: int, directory: Path) -> Iterator[Peer]:
    """Yield the peers that this machine has."""
    yield from _scipy(n_lanes, n_frames)
    if shutil.which("faust"):
        for kernel, source in FAUST_PROGRAMS.items():
            yield _faust(kernel, source, n_lanes, n_frames, directory)
    try:
        yield _libebur128(n_frames)
    except OSError:
        return


def missing_tools() -> list[str]:
    """Return the Debian packages that would add peers."""
    packages = [] if shutil.which("faust") else ["faust"]
    try:
        FFI().dlopen("libebur128.so.1")
    except OSError:
        packages.append("libebur128-1")
    return packages


def noise(n_frames: int, n_lanes: int) -> np.ndarray:
    """Return white noise at -18 dBFS, ``(n_frames, n_lanes)`` float32."""
    return (0.125 * np.random.default_rng(1).standard_normal((n_frames, n_lanes))).astype(np.float32)


def _scipy(n_lanes: int, n_frames: int) -> Iterator[Peer]:
    from scipy import signal

    sos = np.concatenate([signal.butter(2, 80, "high", fs=RATE_HZ, output="sos")] * 5).astype(np.float32)
    x = np.ascontiguousarray(noise(n_frames, n_lanes).T)
    state = np.zeros((len(sos), n_lanes, 2), np.float32)

    def run(n_blocks: int) -> None:
        nonlocal state
        for _ in range(n_blocks):
            _, state = signal.sosfilt(sos, x, axis=-1, zi=state)

    yield Peer(name="SciPy sosfilt", kernel="eq", run=run)


def _faust(kernel: str, source: str, n_lanes: int, n_frames: int, directory: Path) -> Peer:
    program = directory / f"{kernel}.dsp"
    program.write_text(f"N = {n_lanes};\n{source}\n")
    c_file, library = program.with_suffix(".c"), program.with_suffix(".so")
    class_name = f"faust_{kernel}"
    subprocess.run(["faust", "-lang", "c", "-cn", class_name, "-o", str(c_file), str(program)], check=True)
    glue = _FAUST_GLUE.replace("NAME", class_name)
    c_file.write_text(_FAUST_TYPES + c_file.read_text() + glue)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O3", "-march=x86-64-v3", "-w", str(c_file), "-o", str(library), "-lm"], check=True
    )
    ffi = FFI()
    ffi.cdef("void faust_prepare(int rate_hz, float *in, int n_lanes, int n_frames); void faust_run(int n_blocks);")
    lib = ffi.dlopen(str(library))
    x = np.ascontiguousarray(noise(n_frames, n_lanes).T)
    lib.faust_prepare(RATE_HZ, ffi.cast("float *", x.ctypes.data), n_lanes, n_frames)

    def run(n_blocks: int, _keep: object = (ffi, x)) -> None:
        lib.faust_run(n_blocks)

    return Peer(name="Faust", kernel=kernel, run=run)


_FAUST_TYPES = """
#include <stdlib.h>
#include <math.h>
#define FAUSTFLOAT float
typedef struct { void *glue; } MetaGlue_;
typedef struct {
    void *uiInterface;
    void (*openTabBox)(void *, const char *); void (*openHorizontalBox)(void *, const char *);
    void (*openVerticalBox)(void *, const char *); void (*closeBox)(void *);
    void (*addButton)(void *, const char *, float *); void (*addCheckButton)(void *, const char *, float *);
    void (*addVerticalSlider)(void *, const char *, float *, float, float, float, float);
    void (*addHorizontalSlider)(void *, const char *, float *, float, float, float, float);
    void (*addNumEntry)(void *, const char *, float *, float, float, float, float);
    void (*addHorizontalBargraph)(void *, const char *, float *, float, float);
    void (*addVerticalBargraph)(void *, const char *, float *, float, float);
    void (*addSoundfile)(void *, const char *, const char *, void **);
    void (*declare)(void *, float *, const char *, const char *);
} UIGlue;
typedef struct { void *metaInterface; void (*declare)(void *, const char *, const char *); } MetaGlue;
#ifndef max
#define max(a, b) ((a) < (b) ? (b) : (a))
#define min(a, b) ((a) < (b) ? (a) : (b))
#endif
"""
_FAUST_GLUE = """
static NAME *faust_dsp;
static float *faust_in[64], *faust_out[64];
static int faust_frames;
void faust_prepare(int rate_hz, float *in, int n_lanes, int n_frames) {
    faust_dsp = newNAME();
    initNAME(faust_dsp, rate_hz);
    faust_frames = n_frames;
    for (int i = 0; i < n_lanes; i++) faust_in[i] = in + i * n_frames;
    for (int i = 0; i < 64; i++) faust_out[i] = calloc(n_frames, sizeof(float));
}
void faust_run(int n_blocks) {
    for (int i = 0; i < n_blocks; i++) computeNAME(faust_dsp, faust_frames, faust_in, faust_out);
}
"""


def _libebur128(n_frames: int) -> Peer:
    ffi = FFI()
    ffi.cdef(
        "typedef struct { int mode; unsigned channels; unsigned long samplerate; void *d; } ebur128_state;"
        "ebur128_state *ebur128_init(unsigned channels, unsigned long rate_hz, int mode);"
        "int ebur128_add_frames_float(ebur128_state *st, const float *src, size_t frames);"
    )
    lib = ffi.dlopen("libebur128.so.1")
    loudness_and_true_peak = 0b111111  # M, S, I, LRA, sample peak, true peak
    state = lib.ebur128_init(2, RATE_HZ, loudness_and_true_peak)
    x = noise(n_frames, 2)
    pointer = ffi.cast("float *", x.ctypes.data)

    def run(n_blocks: int, _keep: object = x) -> None:
        for _ in range(n_blocks):
            lib.ebur128_add_frames_float(state, pointer, n_frames)

    return Peer(name="libebur128", kernel="loudness", run=run)


def spent_ns(run: Callable[[int], None], n_blocks: int) -> float:
    """Return the nanoseconds that ``run(n_blocks)`` takes."""
    start_ns = time.perf_counter_ns()
    run(n_blocks)
    return float(time.perf_counter_ns() - start_ns)
