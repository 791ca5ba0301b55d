"""Shards read back: sessions by number, from disk as they are needed, the last ones kept in memory up to a bound."""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..nets.layout import N_MIX_INPUT, N_MODEL_INPUT

INPUT_SCALE = 1.0 / 127.0


@dataclass(frozen=True, kw_only=True)
class Session:
    """One session as the shards hold it: model inputs as int8 (127 is 1.0), labels beside them."""

    x: NDArray[np.int8]  # (n_ticks, n_channels, 104)
    m: NDArray[np.int8]  # (n_ticks, 56)
    role: NDArray[np.int16]  # (n_channels,)
    family: NDArray[np.uint32]  # (n_channels,), 0 where nobody plays
    active: NDArray[np.bool_]  # (n_ticks, n_channels)
    importance: NDArray[np.uint8]  # (n_ticks, n_channels)
    offset_lu: NDArray[np.float16]  # (3, n_seconds, n_channels)
    pan_abs: NDArray[np.float32]  # (3, n_channels)
    tone_db: NDArray[np.float32]  # (n_channels, 4)
    compressor: NDArray[np.float32]  # (n_channels, 2): threshold re slow loudness in dB, ratio
    send_db: NDArray[np.float16]  # (3, n_seconds, n_channels)
    genre: NDArray[Any]
    scene_kind: NDArray[Any]
    section: NDArray[np.int8]  # (n_ticks,)
    boundary: NDArray[np.bool_]  # (n_ticks,)
    beat: NDArray[np.uint8]  # (n_ticks,)
    key: NDArray[Any]
    is_bleed: NDArray[np.bool_]  # (n_ticks, n_channels)
    bleed_db: NDArray[np.float16]  # (n_channels, n_channels)
    gain_fault_db: NDArray[np.float32]  # (n_channels,)

    @property
    def n_ticks(self) -> int:
        """Length."""
        return int(self.x.shape[0])

    @property
    def n_channels(self) -> int:
        """Width."""
        return int(self.x.shape[1])


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is known of a session without reading its inputs."""

    path: Path
    prefix: str
    shard: int
    role: NDArray[np.int16]
    family: NDArray[np.uint32]
    active: NDArray[np.bool_]
    difficulty: float  # loudest bleed above -40 dB and largest gain fault, both in dB

    @property
    def n_channels(self) -> int:
        """Width."""
        return len(self.role)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One source alone, for the role network."""

    shard: int
    x: NDArray[np.int8]  # (n_ticks, 104)
    role: int
    family: int
    active: NDArray[np.bool_]  # (n_ticks,)


class Sessions:
    """The sessions of one split, and its clips. Several threads may read."""

    def __init__(self, folder: Path, *, cache_mb: int) -> None:
        paths = sorted(folder.glob("shard_*.npz"))
        if not paths:
            raise ModelError(f"{folder}: no shard_*.npz; make them with `evenhand-model data`, or name --data")
        self.heads = [head for shard, path in enumerate(paths) for head in _heads(path, shard)]
        clips = enumerate(sorted(folder.glob("clips_*.npz")))
        self.clips = [clip for shard, path in clips for clip in _clips(path, shard)]
        self._cache: OrderedDict[int, Session] = OrderedDict()
        self._left = cache_mb * 1_000_000
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, number: int) -> Session:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
            session = _read(self.heads[number])
            self._cache[number] = session
            self._left -= session.x.nbytes
            while self._left < 0 and len(self._cache) > 1:
                _, old = self._cache.popitem(last=False)
                self._left += old.x.nbytes
            return session


def _heads(path: Path, shard: int) -> list[Head]:
    with _opened(path) as arrays:
        return [_head(path, f"s{k}", shard, arrays) for k in range(int(arrays["n_items"]))]


def _clips(path: Path, shard: int) -> list[Clip]:
    with _opened(path) as arrays:
        return [
            Clip(
                shard=shard,
                x=arrays[f"c{k}_x"],
                role=int(arrays[f"c{k}_role"]),
                family=int(arrays[f"c{k}_family"]),
                active=arrays[f"c{k}_active"],
            )
            for k in range(int(arrays["n_items"]))
        ]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{path}: not a shard ({error}); delete it and run `evenhand-model data` again") from None


def _head(path: Path, prefix: str, shard: int, arrays: Any) -> Head:
    bleed_db = np.asarray(arrays[f"{prefix}_bleed_db"], np.float32)
    np.fill_diagonal(bleed_db, -100.0)
    fault_db = np.abs(arrays[f"{prefix}_gain_fault_db"])
    difficulty = max(0.0, float(bleed_db.max(initial=-100.0)) + 40.0) + float(fault_db.max(initial=0.0))
    return Head(
        path=path,
        prefix=prefix,
        shard=shard,
        role=arrays[f"{prefix}_role"],
        family=arrays[f"{prefix}_family"],
        active=arrays[f"{prefix}_active"],
        difficulty=difficulty,
    )


def _read(head: Head) -> Session:
    with _opened(head.path) as arrays:
        session = Session(**{f.name: arrays[f"{head.prefix}_{f.name}"] for f in fields(Session)})
    if session.x.shape[2] != N_MODEL_INPUT or session.m.shape[1] != N_MIX_INPUT:
        raise ModelError(
            f"{head.path}: {session.x.shape[2]} and {session.m.shape[1]} columns, expected {N_MODEL_INPUT} and "
            f"{N_MIX_INPUT}; the features have changed: run `evenhand-model data` again"
        )
    return session
