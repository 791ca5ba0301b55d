"""What the recorder's tests share: the ring as a library of its own, an engine's end of it, numbered frames."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.build_ffi import C_FLAGS, INCLUDE_DIRS, ROOT, build_library, machine_flags
from firmware.build_ffi import RT_DIR
from firmware.recorder.native import Native, opened
from firmware.recorder.ring_file import RingOwner

CONTRACT_SOURCE = ROOT / "dsp_kernels" / "contract" / "generated" / "eh_contract.c"
SOURCES = [RT_DIR / "live" / "record_ring.c", RT_DIR / "live" / "record_reader.c", CONTRACT_SOURCE]
HARNESS_DIR = Path(__file__).parent / "harness"
N_OUT_LANES, FIRST_MIX_LANE = 12, 2


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="evenhand-record-")


@functools.cache
def library() -> Path:
    """Build the ring once and return the file."""
    return build_library(Path(_scratch().name) / "record.so", sources=SOURCES)


@functools.cache
def native() -> Native:
    """Return the ring's functions."""
    return opened(library())


def build_harness(name: str, *flags: str) -> Path:
    """Compile a harness together with the ring."""
    program = Path(_scratch().name) / "".join(c if c.isalnum() else "-" for c in "".join((name, *flags)))
    includes = [f"-I{d}" for d in (*INCLUDE_DIRS, RT_DIR)]
    sources = [HARNESS_DIR / f"{name}.c", *SOURCES]
    command = ["cc", *C_FLAGS, *machine_flags(), *flags, *includes, *map(str, sources)]
    subprocess.run([*command, "-o", str(program), "-lm", "-lpthread"], check=True)
    return program


def numbered(first: int, n_frames: int, n_lanes: int) -> NDArray[np.int32]:
    """Return 24-bit samples that differ from frame to frame and lane to lane, ``(n_frames, n_lanes)``."""
    number = (first + np.arange(n_frames))[:, None] * 131 + np.arange(n_lanes) * 7919 + 1
    return ((number * 2654435761 >> 7) % (1 << 24) - (1 << 23)).astype(np.int32)


def as_float(samples: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return 24-bit samples as floats that hold them exactly."""
    return (samples * np.float32(2.0**-23)).astype(np.float32)


def unpacked(content: bytes | memoryview, n_lanes: int) -> NDArray[np.int32]:
    """Return packed 24-bit samples, ``(n_frames, n_lanes)``."""
    wide = np.zeros((len(content) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
    return (wide.view("<i4")[:, 0] >> 8).reshape(-1, n_lanes)


class Source:
    """An engine as the ring sees it: puts frames whose samples tell their number."""

    def __init__(
        self, path: Path, *, n_lanes: int, n_ring_frames: int = 0, sample_rate_hz: int = 48000, first_frame: int = 0
    ) -> None:
        self.native, self.n_lanes, self.n_put = native(), n_lanes, 0
        self.owner = RingOwner(
            self.native, path, sample_rate_hz=sample_rate_hz, n_input_lanes=n_lanes, n_ring_frames=n_ring_frames,
            generation=1, first_frame=first_frame,
        )  # fmt: skip

    def put(self, n_frames: int, block: int = 480) -> None:
        """Put ``n_frames`` more."""
        for start in range(0, n_frames, block):
            self.put_block(min(block, n_frames - start))

    def put_block(self, n_frames: int) -> None:
        """Put one block; its record bus is what ``mix_of`` says."""
        inputs = as_float(numbered(self.n_put, n_frames, self.n_lanes))
        out = np.full((n_frames, N_OUT_LANES), 0.25, np.float32)
        out[:, FIRST_MIX_LANE : FIRST_MIX_LANE + 2] = as_float(mix_of(self.n_put, n_frames))
        self.put_floats(inputs, out)

    def put_floats(self, inputs: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Put a block of any frames."""
        self.native.lib.eh_record_ring_put(
            self.owner.ring, self.floats(inputs), self.n_lanes, self.floats(out), N_OUT_LANES, FIRST_MIX_LANE, len(out)
        )
        self.n_put += len(out)

    def gap(self, n_lost_frames: int, cause: int = 2) -> None:
        """Tell of frames that the card lost."""
        self.native.lib.eh_record_ring_gap(self.owner.ring, n_lost_frames, cause)

    def floats(self, array: NDArray[np.float32]) -> Any:
        """Return a C pointer."""
        return self.native.ffi.cast("float *", array.ctypes.data)


def mix_of(first: int, n_frames: int) -> NDArray[np.int32]:
    """Return what ``Source`` puts as mix."""
    return numbered(first + 1_000_003, n_frames, 2)
