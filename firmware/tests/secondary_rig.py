"""The link between two cards for tests: as a library to call, and as a harness that simulates hours."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from dsp_kernels.build_ffi import C_FLAGS, SOURCE_DIR, build_library, declarations, kernel_headers, machine_flags
from dsp_kernels.native import aligned_bytes
from firmware.build_ffi import RT_DIR
from firmware.tests import harnesses

LIVE_DIR = RT_DIR / "live"
SOURCES = [LIVE_DIR / "secondary.c", LIVE_DIR / "card_clock.c", SOURCE_DIR / "resampler.c", SOURCE_DIR / "drift.c"]
RATE_HZ = 48000
Audio = NDArray[np.float32]


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="evenhand-secondary-")


@functools.cache
def library_path() -> Path:
    """Build the link with the kernels it is made of and return the library."""
    return build_library(Path(_scratch().name) / "secondary.so", flags=(f"-I{RT_DIR}",), sources=SOURCES)


@functools.cache
def harness(name: str, *flags: str, compiler: str = "cc") -> Path:
    """Build a harness with the link alone: the engine would take a minute under a sanitizer."""
    program = Path(_scratch().name) / "".join(c if c.isalnum() else "-" for c in "".join((name, compiler, *flags)))
    sources = [harnesses.HARNESS_DIR / f"{name}.c", *SOURCES]
    command = [compiler, *C_FLAGS, *machine_flags(), *flags, *harnesses.INCLUDES, *map(str, sources)]
    subprocess.run([*command, "-o", str(program), "-lm", "-lpthread"], check=True)
    return program


@functools.cache
def library() -> tuple[Any, Any]:
    """Return ``(ffi, lib)``."""
    ffi = FFI()
    headers = [*kernel_headers(), LIVE_DIR / "card_clock.h", LIVE_DIR / "secondary.h"]
    ffi.cdef(declarations(headers))
    return ffi, ffi.dlopen(str(library_path()))


class Link:
    """An ``eh_secondary``; time is told in frames of 48 kHz."""

    def __init__(self, *, target_frames: int = 512, n_lanes: int = 4, **config: float) -> None:
        self.ffi, self.lib = library()
        settings = {
            "writer_rate_hz": RATE_HZ, "reader_rate_hz": RATE_HZ, "max_write_frames": 64, "max_read_frames": 64
        }  # fmt: skip
        self.config = self.ffi.new("eh_secondary_config *")
        for name, value in {**settings, "target_frames": target_frames, "n_lanes": n_lanes, **config}.items():
            setattr(self.config, name, value)
        self.n_lanes = n_lanes
        self._memory = aligned_bytes(self.lib.eh_secondary_size_bytes(self.config))
        handle = self.ffi.new("eh_secondary **")
        memory = self.ffi.cast("void *", self._memory.ctypes.data)
        self.status = self.lib.eh_secondary_init(handle, self.config, memory)
        self._link = handle[0]

    def write(self, x: Audio, frames: float) -> None:
        """Write ``x`` when ``frames`` have passed."""
        x = np.ascontiguousarray(x, np.float32)
        self.lib.eh_secondary_write(self._link, self.ffi.cast("float *", x.ctypes.data), len(x), _ns(frames))

    def read(self, n_frames: int, frames: float) -> Audio:
        """Read ``n_frames`` when ``frames`` have passed."""
        out = np.full((n_frames + 1, self.n_lanes), np.nan, np.float32)
        self.lib.eh_secondary_read(self._link, self.ffi.cast("float *", out.ctypes.data), n_frames, _ns(frames))
        assert np.isnan(out[n_frames:]).all(), "wrote behind the block"
        return out[:n_frames]

    def writer_lost_frames(self) -> None:
        """Tell it of an xrun of the writer's card."""
        self.lib.eh_secondary_writer_lost_frames(self._link)

    def reader_lost_frames(self) -> None:
        """Tell it of an xrun of the reader's card."""
        self.lib.eh_secondary_reader_lost_frames(self._link)

    @property
    def delay_frames(self) -> int:
        """What the link says of its delay."""
        return int(self.lib.eh_secondary_delay_frames(self.config))

    @property
    def stats(self) -> Any:
        """The reader's counters."""
        return self.lib.eh_secondary_read_stats(self._link)


def _ns(frames: float) -> int:
    return round(10**12 + frames * 1e9 / RATE_HZ)


def two_clocks(
    *,
    seconds: float,
    drift_ppm: float,
    write_frames: int = 64,
    read_frames: int = 64,
    target_frames: int = 3072,
    stalls_per_minute: float = 0.0,
    losses_per_minute: float = 0.0,
    writer_hz: int = RATE_HZ,
    sound: Path | None = None,
    compiler: str = "cc",
) -> dict[str, float]:
    """Simulate two cards for ``seconds`` and return what the harness says."""
    arguments: Sequence[object] = (
        seconds, drift_ppm, write_frames, read_frames, target_frames, stalls_per_minute, losses_per_minute, writer_hz,
        sound or "-",
    )  # fmt: skip
    done = harnesses.run(harness("two_clocks", compiler=compiler), *map(str, arguments))
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}
