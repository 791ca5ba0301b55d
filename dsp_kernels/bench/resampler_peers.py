"""Variable-ratio resamplers that do the work of ``eh_resampler``: zita-resampler, soxr, speexdsp, if installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI

from .peers import Peer, noise

RATIO = 0.9998  # as ours: 200 ppm
# The least quality of each that is flat to 20 kHz; THD+N at 1 and 20 kHz: zita -138 and -95 dB, soxr -116 and -115,
# speexdsp -112 and -106, ours -124 and -106 (float32 tones of -1 dBFS, 48 kHz, ratio 0.9998).
QUALITIES = {"zita": 32, "soxr": 0, "speexdsp": 5}
LIBRARIES = {"zita": "zita-resampler", "soxr": "soxr", "speexdsp": "speexdsp"}
HEADERS = {"zita": "zita-resampler/vresampler.h", "soxr": "soxr.h", "speexdsp": "speex/speex_resampler.h"}
PACKAGES = {"zita": "libzita-resampler-dev", "soxr": "libsoxr-dev", "speexdsp": "libspeexdsp-dev"}


def _installed() -> list[str]:
    return [name for name, header in HEADERS.items() if (Path("/usr/include") / header).exists()]


def missing_tools() -> list[str]:
    """Return the Debian packages that would add peers."""
    compiler = [] if shutil.which("g++") else ["g++"]
    return [*compiler, *(package for name, package in PACKAGES.items() if name not in _installed())]


def available(n_lanes: int, n_frames: int, directory: Path) -> Iterator[Peer]:
    """Yield the peers that this machine has."""
    names = _installed()
    if not names or not shutil.which("g++"):
        return
    ffi = FFI()
    ffi.cdef(
        "void *peer_open(const char *name, double ratio, int n_lanes, int quality);"
        "void peer_run(void *peer, const float *in, size_t n_frames, float *out, size_t room, int n_blocks);"
    )
    lib = ffi.dlopen(str(_build(names, directory)))
    for name in names:
        yield _peer(ffi, lib, name, n_lanes, n_frames)


def _build(names: list[str], directory: Path) -> Path:
    source, library = Path(__file__).with_suffix(".cpp"), directory / "resampler_peers.so"
    links = [f"-l{LIBRARIES[name]}" for name in names]
    subprocess.run(["g++", "-shared", "-fPIC", "-O3", str(source), "-o", str(library), *links], check=True)
    return library


def _peer(ffi: Any, lib: Any, name: str, n_lanes: int, n_frames: int) -> Peer:
    x, out = noise(n_frames, n_lanes), np.zeros((2 * n_frames, n_lanes), np.float32)
    peer = lib.peer_open(name.encode(), RATIO, n_lanes, QUALITIES[name])
    x_pointer, out_pointer = (ffi.cast("float *", a.ctypes.data) for a in (x, out))

    def run(n_blocks: int, _keep: object = (x, out)) -> None:
        lib.peer_run(peer, x_pointer, n_frames, out_pointer, 2 * n_frames, n_blocks)

    return Peer(name=name, kernel="resampler", run=run)
