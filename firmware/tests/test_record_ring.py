"""The ring between engine and recorder: exact, counted, and indifferent to whatever the other end does."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.errors import EvenhandError
from firmware.recorder.ring_file import RingOwner, RingReader
from firmware.tests import record_rig as rig
from firmware.tests.harnesses import run
from firmware.wav_writer import WavWriter

ADDRESS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREAD = ("-O1", "-fsanitize=thread")
PURE_FUNCTIONS = {"memcpy", "memset"}
MAX_MARKS = 256
RING_FULL, XRUN = 1, 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ring"


@pytest.fixture
def source(path: Path) -> Iterator[rig.Source]:
    source = rig.Source(path, n_lanes=32, n_ring_frames=1000)
    with source.owner:
        yield source


@pytest.fixture
def reader(source: rig.Source, path: Path) -> Iterator[RingReader]:
    reader = RingReader(rig.native(), path, max_frames=5000)
    source.put_block(0)  # the audio thread sees that somebody records
    yield reader
    reader.close()


def take_checked(reader: RingReader, n_lanes: int) -> int:
    """Take what lies ready before the next gap; every sample must be that of the frame's number."""
    n_frames, inputs, mix = reader.take()
    first = reader.frame - n_frames
    np.testing.assert_array_equal(rig.unpacked(inputs, n_lanes), rig.numbered(first, n_frames, n_lanes))
    np.testing.assert_array_equal(rig.unpacked(mix, 2), rig.mix_of(first, n_frames))
    return n_frames


@pytest.mark.parametrize("block", [1, 7, 64, 480, 999])
def test_all_inputs_and_the_record_bus_arrive_bit_exact_whatever_the_block(
    source: rig.Source, reader: RingReader, block: int
) -> None:
    n_taken = 0
    for _ in range(5000 // block):
        source.put_block(block)
        n_taken += take_checked(reader, 32)
    assert n_taken == source.n_put
    assert reader.take_gap() is None
    assert rig.native().lib.eh_record_ring_is_armed(source.owner.ring)


def test_a_full_ring_loses_the_newest_frames_and_says_where_and_how_many(
    source: rig.Source, reader: RingReader
) -> None:
    source.put(1300, block=100)
    assert take_checked(reader, 32) == 1000
    source.put(100)
    gap = reader.take_gap()
    assert (gap.frame, gap.n_lost_frames, gap.cause) == (1300, 300, RING_FULL)
    assert take_checked(reader, 32) == 100


def test_a_ring_that_ran_full_makes_one_gap_and_not_many(source: rig.Source, reader: RingReader) -> None:
    source.put(1000, block=100)
    source.put(100)
    reader._max_frames = 100
    for _ in range(2):  # room for a block, then for another, but not yet for a quarter of the ring
        assert take_checked(reader, 32) == 100
        source.put(100)
    reader._max_frames = 5000
    take_checked(reader, 32)
    source.put(100)
    assert reader.take_gap().n_lost_frames == 300
    assert take_checked(reader, 32) == 100


def test_gaps_of_the_card_lie_between_the_frames_they_belong_between(source: rig.Source, reader: RingReader) -> None:
    source.gap(5)
    source.put(100)
    source.gap(0, cause=3)
    source.gap(7)
    source.put(50)
    told: list[int | tuple[int, int, int]] = []
    for _ in range(3):
        while gap := reader.take_gap():
            told.append((gap.frame, gap.n_lost_frames, gap.cause))
        told.append(take_checked(reader, 32))
    assert told == [(0, 5, XRUN), 100, (100, 0, 3), (100, 7, XRUN), 50, 0]


def test_more_gaps_than_there_is_room_for_lose_frames_but_never_the_count(
    source: rig.Source, reader: RingReader
) -> None:
    for _ in range(MAX_MARKS + 44):
        source.gap(3)
        source.put_block(1)
    n_frames = n_lost = 0
    for _ in range(2):
        for _ in range(2 * MAX_MARKS):
            while gap := reader.take_gap():
                n_lost += gap.n_lost_frames
            n_frames += take_checked(reader, 32)
        source.put_block(300)  # room again: what was pending comes before it
    assert (n_frames, n_lost) == (MAX_MARKS + 300, 3 * (MAX_MARKS + 44) + 44)


def test_nothing_is_put_while_nobody_records(source: rig.Source, path: Path) -> None:
    before = path.read_bytes()
    assert not rig.native().lib.eh_record_ring_is_armed(source.owner.ring)
    source.put(10_000)
    source.gap(100)
    assert path.read_bytes() == before
    assert source.n_put == source.owner.ring.frame


def test_a_recorder_that_comes_after_a_dead_one_begins_with_the_next_frame(
    source: rig.Source, path: Path, reader: RingReader
) -> None:
    source.put(5000, block=100)
    source.gap(9)
    fcntl.flock(reader._fd, fcntl.LOCK_UN)  # as when killed: the lock goes, nothing is said
    second = RingReader(rig.native(), path, max_frames=5000)
    source.put(300, block=100)
    assert second.take_gap() is None
    assert take_checked(second, 32) == 300
    assert second.frame == 5300
    second.close()


def test_a_dead_recorder_costs_the_audio_thread_nothing_but_a_count(source: rig.Source, reader: RingReader) -> None:
    source.put(1000, block=100)
    before = rig.native().ffi.buffer(source.owner._memory)[:]
    source.put(20_000, block=100)
    assert rig.native().ffi.buffer(source.owner._memory)[:] == before
    assert source.owner.ring.pending.n_lost_frames == 20_000


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ptgr"), st.integers(1, 700)), max_size=60))
def test_whatever_happens_each_frame_is_the_one_its_number_says(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "ring"
    source = rig.Source(path, n_lanes=3, n_ring_frames=1000)
    with source.owner:
        reader = RingReader(rig.native(), path, max_frames=400)
        source.put_block(0)
        n_taken = n_lost = first = 0
        for what, n in events:
            if what == "p":
                source.put_block(n)
            elif what == "g":
                source.gap(n)
            elif what == "r":
                reader.close()
                reader = RingReader(rig.native(), path, max_frames=400)
                source.put_block(0)
                n_taken, n_lost, first = 0, 0, source.n_put
            else:
                while gap := reader.take_gap():
                    n_lost += gap.n_lost_frames if gap.cause == RING_FULL else 0
                n_taken += take_checked(reader, 3)
                assert reader.frame <= source.n_put
                assert first + n_taken <= reader.frame
        reader.close()


def test_lanes_that_are_missing_are_silent(source: rig.Source, reader: RingReader) -> None:
    ffi, lib = rig.native().ffi, rig.native().lib
    lanes = np.full((10, 40), 0.5, np.float32)
    cases = [
        (source.floats(lanes), 40, source.floats(lanes), 3, 2, 32, 1),
        (source.floats(lanes), 4, source.floats(lanes), 2, 2, 4, 0),
        (ffi.NULL, 0, ffi.NULL, 0, 0, 0, 0),
    ]
    for inputs, n_in, out, n_out, first_mix, n_heard, n_mixed in cases:
        lib.eh_record_ring_put(source.owner.ring, inputs, n_in, out, n_out, first_mix, 10)
        _, got, mix = reader.take()
        assert np.count_nonzero(rig.unpacked(got, 32)) == 10 * n_heard
        assert np.count_nonzero(rig.unpacked(mix, 2)) == 10 * n_mixed


def test_samples_are_packed_as_the_render_writes_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    edges = [1, -1, 1.5, -1.5, 9e9, -9e9, 0.0, -0.0, 1e-38, -1e-38, 1 - 2**-24, -1 + 2**-24, np.inf, -np.inf]
    steps = [sign * k * 2.0**-e for e in (23, 24, 25, 31, 32, 33) for k in (1, 3, 5) for sign in (1, -1)]
    noise = [rng.normal(0, scale, 50_000) for scale in (0.5, 1e-3, 1e-6, 1e-9)]
    samples = np.concatenate([edges, steps, *noise]).astype(np.float32)
    target = tmp_path / "mix.wav"
    with WavWriter(target, target, sample_rate_hz=48000, n_channels=1, n_frames=len(samples)) as writer:
        writer.write(samples[:, None])
    content = target.read_bytes()
    start = content.index(b"data") + 8
    packed = np.zeros(3 * len(samples), np.uint8)
    native = rig.native()
    native.lib.eh_record_pack_s24(
        native.ffi.cast("float *", samples.ctypes.data), native.ffi.from_buffer("uint8_t[]", packed), len(samples)
    )
    np.testing.assert_array_equal(packed, np.frombuffer(content[start : start + len(packed)], np.uint8))


def test_what_is_no_number_is_recorded_as_silence() -> None:
    native = rig.native()
    packed = native.ffi.new("uint8_t[3]", [1, 1, 1])
    native.lib.eh_record_pack_s24(native.ffi.new("float[1]", [float("nan")]), packed, 1)
    assert list(packed) == [0, 0, 0]


# Offset in the shared memory, what is written there, what the refusal says.
FOREIGN = [
    (0, b"\0", "holds no ring"),
    (8, b"\x02", "another version"),
    (16, b"f", "another contract"),
    (16, b"0123456789abcdef0123456789abcdef", "another contract"),
    (48, b"\0\0\0\0", "impossible measures"),  # sample rate
    (52, b"\0\0\0\0", "impossible measures"),  # inputs
    (52, b"\xff\xff\xff\xff", "impossible measures"),
    (52, b"\x40", "shorter than the ring"),
    (56, b"\x03", "impossible measures"),  # mix lanes
    (60, b"\0\0\0\0", "impossible measures"),  # frames
    (60, b"\xff\xff\xff\xff", "impossible measures"),
    (60, b"\0\0\x40", "shorter than the ring"),
]


@pytest.mark.parametrize(("offset", "content", "refusal"), FOREIGN)
def test_a_foreign_stale_or_hostile_ring_is_refused(
    source: rig.Source, path: Path, offset: int, content: bytes, refusal: str
) -> None:
    with path.open("r+b") as file:
        was = file.read(64)[offset : offset + len(content)]
        file.seek(offset)
        file.write(content if content != b"f" or was != b"f" else b"e")
    with pytest.raises(EvenhandError, match=refusal):
        RingReader(rig.native(), path, max_frames=100)


@pytest.mark.parametrize("size_bytes", [0, 1, 63, 64, 4096])
def test_a_file_that_is_too_short_is_refused(source: rig.Source, path: Path, size_bytes: int) -> None:
    short = path.with_name("short")
    short.write_bytes(path.read_bytes()[:size_bytes])
    with pytest.raises(EvenhandError, match=r"holds no ring|shorter"):
        RingReader(rig.native(), short, max_frames=100)


def test_what_is_no_plain_file_is_refused_without_waiting(tmp_path: Path, source: rig.Source, path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(path)
    for name in ("fifo", "link", "."):
        with pytest.raises(EvenhandError):
            RingReader(rig.native(), tmp_path / name, max_frames=100)


def test_only_one_recorder_takes_frames(reader: RingReader, path: Path) -> None:
    with pytest.raises(EvenhandError, match="another recorder"):
        RingReader(rig.native(), path, max_frames=100)


@pytest.mark.parametrize(
    "bad", [{"sample_rate_hz": 0}, {"n_input_lanes": 0}, {"n_input_lanes": 65}, {"n_ring_frames": 9}]
)
def test_an_impossible_ring_is_not_made(path: Path, bad: dict[str, int]) -> None:
    config = {"sample_rate_hz": 48000, "n_input_lanes": 2, "generation": 1, **bad}
    with pytest.raises(EvenhandError, match="cannot be made"):
        RingOwner(rig.native(), path, **config)
    assert list(path.parent.iterdir()) == []


def test_nothing_in_the_shared_memory_moves_an_access_out_of_it() -> None:
    """The other end scribbles over everything; both ends stay inside, which guard bytes around the memory show."""
    native = rig.native()
    ffi, lib = native.ffi, native.lib
    rng = np.random.default_rng(3)
    config = ffi.new("eh_record_config *", {"sample_rate_hz": 48000, "n_input_lanes": 3, "n_ring_frames": 500})
    size_bytes = lib.eh_record_ring_size_bytes(config)
    guard = 1 << 16
    raw = np.full(size_bytes + 2 * guard + 64, 0xA5, np.uint8)
    start = guard + (-(raw.ctypes.data + guard)) % 64
    inside = raw[start : start + size_bytes]
    memory = ffi.cast("void *", inside.ctypes.data)
    ring, reader, mark = ffi.new("eh_record_ring *"), ffi.new("eh_record_reader *"), ffi.new("eh_record_mark *")
    assert lib.eh_record_ring_init(ring, config, memory) == 0
    assert lib.eh_record_reader_attach(reader, memory, size_bytes) == 0
    header_bytes = size_bytes - 500 * 5 * 4 - 128
    frames = np.ones((700, 3), np.float32)
    buffers = [ffi.new("uint8_t[]", 3 * 400 * 3), ffi.new("uint8_t[]", 3 * 400 * 2)]
    for _ in range(3000):
        lib.eh_record_reader_arm(reader)
        reader.is_broken = 0
        for _ in range(3):
            at = rng.integers(0, header_bytes - 64)
            inside[at : at + 64] = rng.integers(0, 256, 64) if rng.random() < 0.5 else 0xFF * rng.integers(0, 2)
            pointer = ffi.cast("float *", frames.ctypes.data)
            lib.eh_record_ring_gap(ring, 1, 2)
            lib.eh_record_ring_put(ring, pointer, 3, pointer, 3, 0, int(rng.integers(1, 700)))
            lib.eh_record_reader_take_mark(reader, mark)
            assert lib.eh_record_reader_take_s24(reader, *buffers, 400) <= 400
    assert (raw[:start] == 0xA5).all()
    assert (raw[start + size_bytes :] == 0xA5).all()


def test_the_audio_threads_end_calls_nothing_that_is_not_pure(tmp_path: Path) -> None:
    library = rig.build_library(tmp_path / "ring.so", sources=[rig.SOURCES[0], rig.CONTRACT_SOURCE])
    command = ["nm", "--dynamic", "--undefined-only", str(library)]
    undefined = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].split("@")[0] for line in undefined.splitlines()}
    assert {n for n in names if not n.startswith("_")} <= PURE_FUNCTIONS


def test_address_and_undefined_behaviour_sanitizers_find_nothing_in_the_ring() -> None:
    done = run(rig.build_harness("record_threads", *ADDRESS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_thread_sanitizer_finds_no_race_between_engine_and_recorder() -> None:
    done = run(rig.build_harness("record_threads", *THREAD))
    assert done.returncode == 0, done.stdout + done.stderr


def test_thread_sanitizer_sees_a_ring_without_its_memory_order() -> None:
    done = run(rig.build_harness("record_threads", *THREAD, "-DTORN_RECORD_RING"))
    assert "data race" in done.stderr
