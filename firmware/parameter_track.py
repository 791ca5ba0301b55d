"""Every change of a parameter with its frame, in a file: with the recorded inputs it replays a live mix.

One record a snapshot: frame (u64), number of changes (u32), then slot (u16) and value (f32) each, little-endian; the
slots are those of the snapshot as one row of floats. A record that was cut off by a power cut ends the track.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import CONTRACT_ID
from dsp_kernels.contract.layout import PARAMS_DTYPE, default_params

from .errors import EvenhandError

MAGIC = b"EHTRACK1"
_HEAD = struct.Struct("<8s16s")
_RECORD = struct.Struct("<QI")
_CHANGE = np.dtype([("slot", "<u2"), ("value", "<f4")])
N_SLOTS = PARAMS_DTYPE.itemsize // 4


class ParameterTrack:
    """Appends to a track; goes on with the one of a predecessor. A context manager."""

    def __init__(self, path: Path) -> None:
        self._values = default_params().reshape(1).view(np.float32)
        head = _HEAD.pack(MAGIC, CONTRACT_ID.encode())
        self._file = path.open("a+b")
        self._file.seek(0)
        if head.startswith(self._file.read(_HEAD.size - 1)) and self._file.tell() == path.stat().st_size:
            self._file.truncate(0)  # new, or a predecessor was killed in its first breath
            self._file.write(head)
            return
        self._file.seek(0)
        _check_head(self._file, path)
        end = self._file.tell()
        for _, changes in _records(self._file, path):
            self._values[changes["slot"]] = changes["value"]
            end = self._file.tell()
        self._file.seek(end)
        self._file.truncate()  # what a killed predecessor left half written

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, frame: int, params: NDArray[np.void]) -> None:
        """Append what changed since the last call."""
        values = np.ascontiguousarray(params).reshape(1).view(np.float32)
        slots = np.flatnonzero(values != self._values)
        changes = np.empty(len(slots), _CHANGE)
        changes["slot"], changes["value"] = slots, values[slots]
        self._file.write(_RECORD.pack(frame, len(slots)) + changes.tobytes())
        self._file.flush()
        self._values = values.copy()


def read_track(path: Path) -> Iterator[tuple[int, NDArray[np.void]]]:
    """Yield each frame with the snapshot that held from there on.

    Raises
    ------
    EvenhandError
        When the file is no track of this contract.
    """
    with path.open("rb") as file:
        _check_head(file, path)
        values = default_params().reshape(1).view(np.float32)
        for frame, changes in _records(file, path):
            values[changes["slot"]] = changes["value"]
            yield frame, np.ndarray((), PARAMS_DTYPE, buffer=values.copy())  # much faster than field by field


def _check_head(file: BinaryIO, path: Path) -> None:
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(MAGIC):
        raise EvenhandError(f"{path}: is no parameter track")
    contract_id = _HEAD.unpack(head)[1].rstrip(b"\0").decode(errors="replace")
    if contract_id != CONTRACT_ID:
        raise EvenhandError(f"{path}: was written under contract {contract_id}, this build has {CONTRACT_ID}")


def _records(file: BinaryIO, path: Path) -> Iterator[tuple[int, NDArray[np.void]]]:
    while len(record := file.read(_RECORD.size)) == _RECORD.size:
        frame, n_changes = _RECORD.unpack(record)
        body = file.read(min(n_changes, N_SLOTS) * _CHANGE.itemsize)
        changes = np.frombuffer(body[: len(body) // _CHANGE.itemsize * _CHANGE.itemsize], _CHANGE)
        if n_changes > N_SLOTS or (len(changes) and int(changes["slot"].max()) >= N_SLOTS):
            raise EvenhandError(f"{path}: is damaged at frame {frame}")
        if len(changes) < n_changes:
            return
        yield frame, changes
