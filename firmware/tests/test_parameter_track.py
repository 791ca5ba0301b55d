"""A track gives back every snapshot it was given, to the bit, up to where it was cut off."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract.layout import default_params
from firmware.errors import EvenhandError
from firmware.parameter_track import N_SLOTS, ParameterTrack, read_track
from firmware.tests.segment_rig import kill, python

HEAD_BYTES, RECORD_BYTES, CHANGE_BYTES = 24, 12, 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "parameters.track"


def snapshots(n: int, seed: int = 1) -> list[np.ndarray]:
    """Return snapshots that each differ from the one before in a few numbers, odd ones among them."""
    rng = np.random.default_rng(seed)
    params, made = default_params(), []
    for _ in range(n):
        words = params.reshape(1).view(np.float32)
        at = rng.integers(0, N_SLOTS, rng.integers(0, 20))
        words[at] = rng.choice(np.array([0.0, -0.0, 1e-45, 3e38, np.inf, -3.25], np.float32), len(at))
        made.append(params.copy())
    return made


def write(path: Path, frames_and_params: list[tuple[int, np.ndarray]]) -> None:
    with ParameterTrack(path) as track:
        for frame, params in frames_and_params:
            track.write(frame, params)


def read(path: Path) -> list[tuple[int, bytes]]:
    return [(frame, params.tobytes()) for frame, params in read_track(path)]


def numbered(made: list[np.ndarray]) -> list[tuple[int, np.ndarray]]:
    return [(960 * (number + 1), params) for number, params in enumerate(made)]


def as_equal(rows: list[tuple[int, bytes]]) -> list[tuple[int, list[float]]]:
    """Compare by value: -0.0 after 0.0 is no change, and sounds like none."""
    return [(frame, np.frombuffer(params, np.float32).tolist()) for frame, params in rows]


def test_every_snapshot_comes_back_with_its_frame(path: Path) -> None:
    given = numbered(snapshots(50))
    write(path, given)
    assert as_equal(read(path)) == as_equal([(frame, params.tobytes()) for frame, params in given])


def test_frames_may_be_as_large_as_the_engine_counts(path: Path) -> None:
    write(path, [(2**64 - 1, default_params())])
    assert [frame for frame, _ in read_track(path)] == [2**64 - 1]


def test_a_snapshot_that_was_yielded_stays_as_it_was(path: Path) -> None:
    given = numbered(snapshots(5))
    write(path, given)
    kept = list(read_track(path))
    assert as_equal([(f, p.tobytes()) for f, p in kept]) == as_equal([(f, p.tobytes()) for f, p in given])


def test_a_track_cut_anywhere_gives_what_was_whole_and_goes_on_from_there(path: Path) -> None:
    given = numbered(snapshots(6))
    write(path, given)
    whole, everything = path.read_bytes(), read(path)
    ends = [HEAD_BYTES]
    while ends[-1] < len(whole):
        n_changes = struct.unpack_from("<I", whole, ends[-1] + 8)[0]
        ends.append(ends[-1] + RECORD_BYTES + CHANGE_BYTES * n_changes)
    last = default_params()
    last["system"]["panic.is_on"] = 1.0
    for n_bytes in range(len(whole) + 1):
        path.write_bytes(whole[:n_bytes])
        n_whole = sum(end <= n_bytes for end in ends[1:])
        if n_bytes >= HEAD_BYTES:
            assert read(path) == everything[:n_whole], f"cut at byte {n_bytes}"
        write(path, [(10**6, last)])
        assert as_equal(read(path)) == as_equal([*everything[:n_whole], (10**6, last.tobytes())]), f"cut at {n_bytes}"


WRITER = """
import sys
from pathlib import Path
import numpy as np
from dsp_kernels.contract.layout import default_params
from firmware.parameter_track import ParameterTrack
with ParameterTrack(Path(sys.argv[1])) as track:
    print("writes", flush=True)
    params, frame = default_params(), int(sys.argv[2])
    while True:
        frame += 960
        params.reshape(1).view(np.float32)[:200] = frame
        track.write(frame, params)
"""


def test_a_killed_writer_leaves_a_track_that_its_successor_goes_on_with(path: Path) -> None:
    frames: list[int] = []
    for _ in range(4):
        writer = python(WRITER, path, frames[-1] if frames else 0)
        assert writer.stdout.readline() == "writes\n"
        while path.stat().st_size < HEAD_BYTES + 1300 * (len(frames) + 20):
            assert writer.poll() is None
        kill(writer)
        rows = list(read_track(path))
        for frame, params in rows:
            assert (params.reshape(1).view(np.float32)[:200] == np.float32(frame)).all()
        assert [frame for frame, _ in rows][: len(frames)] == frames
        frames = [frame for frame, _ in rows]
        assert frames == list(range(960, 960 * len(frames) + 1, 960))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no parameter track"),
        (b"EHTRACK1", "is no parameter track"),
        (b"RIFF" + b"\0" * 100, "is no parameter track"),
        (b"EHTRACK1" + b"0123456789\0\0\0\0\0\0", "was written under contract 0123456789"),
        (b"EHTRACK1" + b"\xff" * 16, "was written under contract"),
    ],
)
def test_what_is_no_track_of_this_contract_is_refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(EvenhandError, match=said):
        list(read_track(path))
    if len(content) > HEAD_BYTES - 1:
        with pytest.raises(EvenhandError, match=said):
            ParameterTrack(path)
        assert path.read_bytes() == content, "what is another's was changed"


@pytest.mark.parametrize(
    "record",
    [
        struct.pack("<QI", 960, N_SLOTS + 1),
        struct.pack("<QI", 960, 2**32 - 1) + b"\0" * 1000,
        struct.pack("<QIHf", 960, 1, N_SLOTS, 1.0),
        struct.pack("<QIHf", 960, 1, 65535, 1.0),
    ],
)
def test_hostile_counts_and_slots_are_refused_with_their_frame(path: Path, record: bytes) -> None:
    write(path, [])
    with path.open("ab") as file:
        file.write(record)
    with pytest.raises(EvenhandError, match="is damaged at frame 960"):
        list(read_track(path))


def test_nothing_is_written_twice(path: Path) -> None:
    params = default_params()
    params["system"]["panic.is_on"] = 1.0
    write(path, [(960, params), (1920, params), (2880, params)])
    assert path.stat().st_size == HEAD_BYTES + 3 * RECORD_BYTES + CHANGE_BYTES
