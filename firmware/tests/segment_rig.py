"""The engine's side of a segment in this process, and a hand that damages the file behind everybody's back."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from firmware.live_extension import live_extension
from firmware.segment import OBSERVATION_DTYPE
from firmware.tests import harnesses

EVENTS_HELD, OBSERVATIONS_HELD = 1024, 64


def engine_config(*, n_channels: int = 4, sample_rate_hz: float = 48000.0, is_stereo: tuple[int, ...] = ()) -> Any:
    """Return an ``eh_engine_config *``."""
    ffi, _ = live_extension()
    config = ffi.new("eh_engine_config *")
    config.sample_rate_hz, config.n_channels = sample_rate_hz, n_channels
    for ch in is_stereo:
        config.is_stereo[ch] = 1
    config.n_capture_lanes = n_channels + len(is_stereo)
    return config


class EngineSide:
    """A hold on a segment as its engine. A context manager; ``status`` says how the opening went."""

    def __init__(self, path: Path, **mixer: Any) -> None:
        self._ffi, self._lib = live_extension()
        self.hold = self._ffi.new("eh_segment_hold *")
        self.status = self._lib.eh_segment_open(
            self.hold, os.fsencode(path), self._lib.EH_SIDE_ENGINE, engine_config(**mixer)
        )
        self._c = _c_library()

    def __enter__(self) -> Self:
        assert self.status == self._lib.EH_HOLD_OK, self.why
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._lib.eh_segment_close(self.hold)

    @property
    def why(self) -> str:
        """What was refused or put aside."""
        return self._ffi.string(self.hold.why).decode()

    @property
    def is_taken(self) -> bool:
        """Whether another engine holds it."""
        return bool(self.status == self._lib.EH_HOLD_TAKEN)

    def put(self, frame: int) -> bool:
        """Put an observation that says ``frame`` everywhere; False where there was no room."""
        record = observation_of(frame)
        return bool(self._c.eh_segment_put_observation(self._segment, record.ctypes.data_as(ctypes.c_void_p)))

    def tell(self, frame: int) -> None:
        """Put an event."""
        event = self._ffi.new("eh_event *", {"frame": frame, "kind": 2, "value": -frame})
        self._c.eh_segment_tell(self._segment, ctypes.c_void_p(int(self._ffi.cast("uintptr_t", event))))

    def take_params(self) -> bytes | None:
        """Take what was published last, as the audio thread does; None when nothing is new."""
        slots = self._segment.value + offsets()["params.slot"][0]
        size_bytes = offsets()["params.slot"][1] // 3
        triple = ctypes.c_void_p(self._segment.value + offsets()["params.triple"][0])
        slot = self._c.eh_triple_take(triple)
        return None if slot < 0 else ctypes.string_at(slots + slot * size_bytes, size_bytes)

    @property
    def _segment(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(int(self._ffi.cast("uintptr_t", self.hold.segment)))


def observation_of(frame: int) -> np.ndarray:
    """Return an observation in which a half that is another's would be seen."""
    record = np.zeros((), OBSERVATION_DTYPE)
    record.reshape(1).view(np.uint64)[:] = frame
    return record


@functools.cache
def offsets() -> dict[str, tuple[int, int]]:
    """Return where each field of the segment lies, and its size, in bytes."""
    with tempfile.TemporaryDirectory(prefix="evenhand-offsets-") as folder:
        program = Path(folder) / "segment_offsets"
        source = harnesses.HARNESS_DIR / "segment_offsets.c"
        subprocess.run(["cc", "-std=gnu11", *harnesses.INCLUDES, str(source), "-o", str(program)], check=True)
        said = harnesses.run(program).stdout.splitlines()
    return {name: (int(offset), int(size)) for name, offset, size in map(str.split, said)}


class Damage:
    """Writes into the file of a segment. A context manager."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

    def write(self, field: str, value: bytes, at: int = 0) -> None:
        """Overwrite ``field`` from its byte ``at`` on."""
        offset, size_bytes = offsets()[field]
        assert at + len(value) <= size_bytes
        self._map[offset + at : offset + at + len(value)] = value

    def number(self, field: str, value: int, at: int = 0) -> None:
        """Overwrite all of a number, or 4 or 8 bytes of a longer field."""
        size_bytes = min(offsets()[field][1], 8)
        self.write(field, (value % (1 << 8 * size_bytes)).to_bytes(size_bytes, "little"), at)

    def read(self, field: str) -> int:
        """Return a number."""
        offset, size_bytes = offsets()[field]
        return int.from_bytes(self._map[offset : offset + size_bytes], "little")


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run ``code`` in a process of its own, with ``arguments`` in ``sys.argv``."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def kill(process: subprocess.Popen[str]) -> None:
    """End a process as a crash would."""
    process.kill()
    with suppress(ValueError):
        process.communicate()


@functools.cache
def _c_library() -> ctypes.CDLL:
    """Return the compiled extension: what only the engine's threads call is in there too."""
    from firmware import _live  # type: ignore[attr-defined]

    return ctypes.CDLL(_live.__file__)
