"""The ring's file in memory: the engine makes it, the recorder attaches to it. Each of them may come and go alone."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..errors import EvenhandError
from .native import Native

VERDICT_TEXT = {
    1: "is shorter than the ring it is said to hold; restart the engine",
    2: "holds no ring of the recorder; name the file that the engine makes",
    3: "holds a ring of another version; update the engine and the recorder together",
    4: "holds a ring of another contract; update the engine and the recorder together",
    5: "holds a ring of impossible measures; restart the engine",
}
STATUS_TEXT = {
    1: "the sample rate lies outside 8000 to 192000 Hz",
    2: "there must be 1 to 64 inputs",
    3: "the ring must hold 64 to 4194304 frames",
}


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Missing frames. ``frame`` is the engine's number of the frame behind; 0 lost frames are an unknown number."""

    frame: int
    n_lost_frames: int
    cause: int


class RingOwner:
    """The engine's end: a new file at ``path`` in place of any old one. ``ring`` is for C."""

    def __init__(
        self, native: Native, path: Path, *, sample_rate_hz: int, n_input_lanes: int, generation: int,
        n_ring_frames: int = 0, first_frame: int = 0,
    ) -> None:  # fmt: skip
        self._native, self._path = native, path
        ffi, lib = native.ffi, native.lib
        config = ffi.new("eh_record_config *")
        config.sample_rate_hz, config.n_input_lanes, config.n_ring_frames = sample_rate_hz, n_input_lanes, n_ring_frames
        config.generation, config.first_frame = generation, first_frame
        self.ring = ffi.new("eh_record_ring *")
        new = path.with_name(f".{path.name}.new")
        try:
            new.unlink(missing_ok=True)
            self._fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            size_bytes = max(lib.eh_record_ring_size_bytes(config), mmap.PAGESIZE)
            os.posix_fallocate(self._fd, 0, size_bytes)  # a page that is missing later would be a SIGBUS in the audio
            self._map = mmap.mmap(self._fd, size_bytes)
            self._memory = ffi.from_buffer(self._map)
            status = lib.eh_record_ring_init(self.ring, config, self._memory)
            if status != 0:
                raise EvenhandError(f"{path}: cannot be made: {STATUS_TEXT.get(status, f'status {status}')}")
            new.replace(path)
        except OSError as error:
            raise EvenhandError(f"{path}: cannot be made ({error.strerror}); is there memory left?") from None
        finally:
            new.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Say that no frame comes any more, and give up the file; a recorder takes what is left."""
        self._native.lib.eh_record_ring_close(self.ring)
        self._native.ffi.release(self._memory)
        self._map.close()
        if self._path.exists() and os.path.samestat(self._path.stat(), os.fstat(self._fd)):
            self._path.unlink()  # and not that of an engine which has already followed this one
        os.close(self._fd)


class RingReader:
    """The recorder's end of the ring at ``path``; at most one at a time.

    Raises
    ------
    FileNotFoundError
        When there is no ring yet.
    EvenhandError
        When the file is none that this recorder understands, or has its recorder already.
    """

    def __init__(self, native: Native, path: Path, max_frames: int) -> None:
        self._lib, self._ffi = native.lib, native.ffi
        self._path = path
        self._fd = _open_locked(path)
        try:
            size_bytes = os.fstat(self._fd).st_size
            self._map = mmap.mmap(self._fd, size_bytes)
            self._memory = self._ffi.from_buffer(self._map)
            self._reader = self._ffi.new("eh_record_reader *")
            verdict = self._lib.eh_record_reader_attach(self._reader, self._memory, size_bytes)
            if verdict != 0:
                raise EvenhandError(f"{path}: {VERDICT_TEXT.get(verdict, f'verdict {verdict}')}")
        except BaseException:
            os.close(self._fd)
            raise
        self._mark = self._ffi.new("eh_record_mark *")
        self._max_frames = max_frames
        self._inputs = self._buffer(max_frames * self.n_input_lanes)
        self._mix = self._buffer(max_frames * self.n_mix_lanes)
        self._lib.eh_record_reader_arm(self._reader)

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the engine."""
        return int(self._reader.sample_rate_hz)

    @property
    def n_input_lanes(self) -> int:
        """Inputs of a frame."""
        return int(self._reader.n_input_lanes)

    @property
    def n_mix_lanes(self) -> int:
        """Lanes of the mix."""
        return int(self._lib.EH_RECORD_MIX_LANES)

    @property
    def frame(self) -> int:
        """Engine's number of the next frame that is taken."""
        return int(self._reader.frame)

    def is_replaced(self) -> bool:
        """Whether another ring lies at the path, or nonsense in this one: the engine was started anew."""
        if self._reader.is_broken:
            return True
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def take_gap(self) -> Gap | None:
        """Return the gap before the next frame, if there is one."""
        if not self._lib.eh_record_reader_take_mark(self._reader, self._mark):
            return None
        mark = self._mark
        return Gap(frame=int(mark.frame), n_lost_frames=int(mark.n_lost_frames), cause=int(mark.cause))

    def take(self) -> tuple[int, memoryview, memoryview]:
        """Return frames up to the next gap: how many, inputs and mix; valid until the next call."""
        n = self._lib.eh_record_reader_take_s24(self._reader, self._inputs[0], self._mix[0], self._max_frames)
        return n, self._inputs[1][: 3 * n * self.n_input_lanes], self._mix[1][: 3 * n * self.n_mix_lanes]

    def close(self) -> None:
        """Let the engine know that nobody records, and detach."""
        self._lib.eh_record_reader_disarm(self._reader)
        self._ffi.release(self._memory)
        self._map.close()
        os.close(self._fd)

    def _buffer(self, n_samples: int) -> tuple[Any, memoryview]:
        samples = self._ffi.new("uint8_t[]", 3 * n_samples)
        return samples, memoryview(self._ffi.buffer(samples))


def _open_locked(path: Path) -> int:
    """Open the ring's file and lock it: the lock goes with the process, however it ends."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be opened ({error.strerror}); name the ring of the engine") from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or os.fstat(fd).st_size == 0:
            raise EvenhandError(f"{path}: {VERDICT_TEXT[2]}")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise EvenhandError(f"{path}: another recorder takes its frames; stop it first") from None
    except BaseException:
        os.close(fd)
        raise
    return fd
