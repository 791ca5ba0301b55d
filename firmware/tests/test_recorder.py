"""From the ring to folders: time stays true, markers lie where they belong, nothing is overwritten."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from firmware.engine import Engine
from firmware.errors import EvenhandError
from firmware.observation import ChannelSetup
from firmware.recorder.disk import Guard, why
from firmware.recorder.markers import MAX_LINE_BYTES, MAX_TEXT_CHARACTERS, SpoolReader, SpoolWriter, parse
from firmware.recorder.recorder import ENGINE_WAIT_S, Recorder, Settings
from firmware.recorder.recording import MAX_MARKERS, Recording, Setup
from firmware.render import RECORD
from firmware.tests import record_rig as rig
from firmware.tests import wave_reading as wave
from firmware.wav_writer import WavWriter

N_LANES = 5
STARTED = datetime(2026, 3, 4, 21, 30, 5)


class Clock:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def now(self) -> datetime:
        return STARTED + timedelta(seconds=self.time_s - 100.0)

    def monotonic_s(self) -> float:
        return self.time_s


class Desk:
    """An engine, a recorder and a control that announces, all in the hands of the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack, self.clock = folder, stack, Clock()
        self.ring, self.spool_path = folder / "ring", folder / "spool"
        self.said: list[str] = []
        self.source = self.engine()
        self.spool = stack.enter_context(SpoolWriter(self.spool_path))
        (folder / "out").mkdir()
        self.recorder = self.start()

    def engine(self, n_lanes: int = N_LANES, **more: int) -> rig.Source:
        source = rig.Source(self.ring, n_lanes=n_lanes, **more)
        self.stack.callback(source.owner.close)
        return source

    def start(self, **more: int) -> Recorder:
        settings = Settings(
            ring=self.ring, root=self.folder / "out", title="Friday / 1", spool=self.spool_path,
            **{"reserve_bytes": 0, **more},
        )  # fmt: skip
        recorder = Recorder(
            rig.native(), settings, say=self.said.append, now=self.clock.now, monotonic_s=self.clock.monotonic_s
        )
        recorder.__enter__()
        return recorder

    def stop(self) -> Result:
        self.recorder.__exit__(None, None, None)
        return self.recordings()[-1]

    def run(self, n_frames: int) -> None:
        """Put frames and let the recorder take them as they come."""
        for start in range(0, n_frames, 4800):
            self.source.put(min(4800, n_frames - start))
            self.recorder.step()

    def recordings(self) -> list[Result]:
        return [Result(p) for p in sorted((self.folder / "out").iterdir())]


@dataclass
class Result:
    folder: Path

    @property
    def summary(self) -> dict:
        return json.loads((self.folder / "recording.json").read_text())

    @property
    def markers(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "markers.jsonl").read_text().splitlines()]

    def places(self, *kinds: str) -> list[tuple[int, str]]:
        return [(m["position_frames"], m["text"]) for m in self.markers if m["kind"] in kinds]

    def samples(self, name: str) -> np.ndarray:
        return soundfile.read(self.folder / f"{name}.wav", dtype="int32", always_2d=True)[0] >> 8

    def assert_holds(self, *pieces: int | tuple[int, int]) -> None:
        """Compare both files with frames (first, count) of the engine and silences (count), in this order."""
        for name, of, n_lanes in (("inputs", rig.numbered, N_LANES), ("mix", mix_of, 2)):
            expected = [np.zeros((p, n_lanes), int) if isinstance(p, int) else of(*p, n_lanes) for p in pieces]
            np.testing.assert_array_equal(self.samples(name), np.concatenate(expected))


def mix_of(first: int, n_frames: int, _n_lanes: int) -> np.ndarray:
    return rig.mix_of(first, n_frames)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        desk = Desk(tmp_path, stack)
        desk.recorder.step()
        desk.source.put_block(0)  # the audio thread sees that somebody records
        yield desk


def test_all_inputs_and_the_mix_are_on_disk_bit_exact_in_a_folder_of_their_own(desk: Desk) -> None:
    desk.run(100_001)
    got = desk.stop()
    got.assert_holds((0, 100_001))
    assert got.folder.name == "2026-03-04_21-30-05_Friday___1"
    assert sorted(p.name for p in got.folder.iterdir()) == ["inputs.wav", "markers.jsonl", "mix.wav", "recording.json"]
    assert got.summary["state"] == "complete"
    assert (got.summary["n_frames"], got.summary["n_gaps"], got.summary["ended_because"]) == (100_001, 0, "stopped")
    assert got.places("end") == [(100_001, "stopped")]
    assert len(desk.said) == 2


def test_frames_lost_by_the_card_become_silence_of_the_same_length(desk: Desk) -> None:
    desk.run(4800)
    desk.source.gap(777)
    desk.run(4800)
    desk.source.gap(0, cause=3)
    desk.run(4800)
    got = desk.stop()
    got.assert_holds((0, 4800), 777, (4800, 9600))
    gaps = [m for m in got.markers if m["kind"] == "gap"]
    assert [(m["position_frames"], m["frame"], m["cause"], m["n_lost_frames"], m["is_filled"]) for m in gaps] == [
        (4800, 4800, "xrun", 777, True),
        (10_377, 9600, "the sound card was gone", None, False),
    ]
    assert got.summary["first_frame"] == 0
    assert got.summary["n_lost_frames"] == 777
    assert [p for p, _ in wave.read(got.folder / "mix.wav").markers] == [4800, 10_377, 15_177]


def test_frames_that_came_while_the_recorder_was_held_up_become_silence_of_the_same_length(desk: Desk) -> None:
    desk.run(4800)
    desk.source.put(200_000, block=1000)  # into a ring of 96000
    desk.recorder.step()
    desk.run(4800)
    got = desk.stop()
    got.assert_holds((0, 100_800), 104_000, (204_800, 4800))
    assert got.places("gap") == [(100_800, "the recorder or its disk was late, 2.167 s")]


def test_a_gap_of_absurd_length_is_marked_but_not_filled(desk: Desk) -> None:
    desk.run(100)
    desk.source.gap(1 << 62)
    desk.run(100)
    got = desk.stop()
    got.assert_holds((0, 200))
    assert [m["is_filled"] for m in got.markers if m["kind"] == "gap"] == [False]


def test_a_marker_lies_at_the_frame_it_names_whatever_was_lost_before(desk: Desk) -> None:
    desk.run(1000)
    desk.source.gap(500)
    desk.run(1000)
    desk.spool.append(1500, "decision", "behind the gap")
    desk.spool.append(999, "decision", "before the gap")
    desk.spool.append(2400, "scene", "not there yet")
    desk.spool.append(None, "scene", "now")
    desk.recorder.step()
    assert [t for _, t in desk.recordings()[0].places("decision", "scene")] == [
        "behind the gap",
        "before the gap",
        "now",
    ]
    desk.run(1000)
    got = desk.stop()
    assert got.places("decision", "scene") == [
        (2000, "behind the gap"),
        (999, "before the gap"),
        (2500, "now"),
        (2900, "not there yet"),
    ]
    assert [m["frame"] for m in got.markers if m["kind"] == "scene"] == [None, 2400]


def test_a_marker_in_frames_that_a_full_ring_lost_lies_in_their_silence(desk: Desk) -> None:
    desk.run(4800)
    desk.source.put(200_000, block=1000)
    desk.recorder.step()
    desk.run(4800)
    desk.spool.append(150_000, "decision", "unheard")
    desk.recorder.step()
    assert desk.stop().places("decision") == [(150_000, "unheard")]


HOSTILE = [
    b"", b"{", b"[" * 4000, b"null", b"[]", b'"text"', b"\xff\xfe\0", b"9" * 4000, b"{}",
    b'{"frame": -1, "kind": "scene", "text": "x"}', b'{"frame": 1.5, "kind": "scene", "text": "x"}',
    b'{"frame": true, "kind": "scene", "text": "x"}', b'{"frame": 9223372036854775808, "kind": "scene", "text": "x"}',
    b'{"frame": NaN, "kind": "scene", "text": "x"}', b'{"frame": 1, "kind": "gap", "text": "x"}',
    b'{"frame": 1, "kind": ["scene"], "text": "x"}', b'{"frame": 1, "kind": "scene", "text": 3}',
    b'{"frame": 1, "kind": "scene"}', b'{"frame": 1, "kind": "scene", "text": "' + b"x" * MAX_LINE_BYTES + b'"}',
]  # fmt: skip


def test_what_is_no_marker_is_counted_and_changes_nothing(desk: Desk) -> None:
    desk.run(4800)
    desk.spool.append(9, "scene", "a first one")
    with desk.spool_path.open("ab") as spool:
        for line in HOSTILE:
            spool.write(line + b"\n")
        spool.write(b"x" * 300_000 + b"\n")
    desk.spool.append(10, "scene", "a good one")
    for _ in range(10):
        desk.recorder.step()
    got = desk.stop()
    assert got.places("scene") == [(9, "a first one"), (10, "a good one")]
    assert got.summary["n_markers_refused"] == {"no marker": len(HOSTILE) + 1}
    got.assert_holds((0, 4800))


def test_a_text_becomes_one_short_line_that_can_be_shown(desk: Desk) -> None:
    desk.run(4800)
    line = {"frame": 1, "kind": "scene", "text": "a\nb\0c\x1b[31m\ud800 " + "ä" * 600}
    with desk.spool_path.open("ab") as spool:
        spool.write(json.dumps(line).encode() + b"\n")
    desk.recorder.step()
    got = desk.stop()
    [(_, text)] = got.places("scene")
    assert text.startswith("a b c [31m ä")
    assert len(text) == MAX_TEXT_CHARACTERS
    assert wave.read(got.folder / "mix.wav").markers[0] == (1, f"scene: {text}")


def test_more_markers_than_anybody_reads_are_counted_not_kept(desk: Desk) -> None:
    desk.run(4800)
    recording = desk.recorder._recording
    for index in range(MAX_MARKERS + 5):
        recording.mark(index % 4000, "decision", "fader")
    got = desk.stop()
    assert got.summary["n_markers_refused"] == {"too many": 5}
    assert got.summary["n_markers"] == MAX_MARKERS + 1


def test_markers_from_before_the_recording_or_far_ahead_are_refused(tmp_path: Path) -> None:
    with ExitStack() as stack:
        desk = Desk(tmp_path, stack)
        desk.source.put(5000)
        desk.recorder.step()
        desk.run(4800)
        desk.spool.append(4999, "scene", "before")
        desk.spool.append(10**9, "scene", "ahead")
        desk.recorder.step()
        got = desk.stop()
        assert got.places("scene") == []
        refused = got.summary["n_markers_refused"]
        assert (refused["before the start"], refused["too far ahead"]) == (1, 1)


def test_a_spool_is_followed_from_its_end_and_through_its_replacements(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    writer = SpoolWriter(path)
    writer.append(1, "scene", "old")
    with SpoolReader(path) as reader:
        assert reader.read() == []
        writer.append(2, "scene", "new")
        with SpoolWriter(path) as restarted:
            restarted.append(3, "scene", "newer")
            texts = [announced.text for _ in range(4) for announced in reader.read()]
    writer.close()
    assert texts == ["new", "newer"]


def test_a_spool_begins_anew_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware.recorder.markers.MAX_SPOOL_BYTES", 1000)
    path = tmp_path / "spool"
    with SpoolReader(path) as reader, SpoolWriter(path) as writer:
        texts = []
        for index in range(100):
            writer.append(index, "scene", f"{index}")
            texts += [announced.text for _ in range(3) for announced in reader.read()]
            assert path.stat().st_size <= 1000
    assert texts == [str(i) for i in range(100)]


def test_a_spool_that_is_no_file_is_not_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", ".", "missing"):
        with SpoolReader(tmp_path / name) as reader:
            assert reader.read() == []


def test_a_control_process_without_room_for_its_spool_goes_on(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "missing" / "spool") as writer:
        writer.append(1, "scene", "x")
        assert writer.n_lost == 1


def test_a_parsed_marker_is_what_was_announced() -> None:
    announced = parse(b'{"frame": 7, "kind": "decision", "text": "fader", "more": [1]}')
    assert (announced.frame, announced.kind, announced.text) == (7, "decision", "fader")


def test_an_engine_started_anew_goes_on_in_the_same_recording_with_time_true_to_the_clock(desk: Desk) -> None:
    desk.run(4800)
    desk.source.put(2400)  # the recorder has not seen them when the engine dies
    desk.source = desk.engine()
    desk.recorder.step()
    desk.clock.time_s += 1.0
    desk.recorder.step()
    desk.source.put(2400)
    desk.clock.time_s += 0.5
    desk.recorder.step()
    desk.run(4800)
    got = desk.stop()
    got.assert_holds((0, 7200), 72_000 - 2400, (0, 7200))
    [gap] = [m for m in got.markers if m["kind"] == "gap"]
    assert (gap["cause"], gap["is_estimated"]) == ("the engine was started anew", True)


@pytest.mark.parametrize("offset", [64, 128, 136, 192], ids=["generation", "n_written", "n_marks", "n_read"])
def test_nonsense_in_the_shared_memory_costs_a_gap_but_not_the_recording(desk: Desk, offset: int) -> None:
    desk.run(4800)
    memory = rig.native().ffi.buffer(desk.source.owner._memory)
    memory[offset : offset + 8] = b"\xfe" * 8
    desk.recorder.step()
    desk.clock.time_s += 1.0
    for _ in range(3):
        desk.source.put(48_000)
        desk.recorder.step()
        desk.clock.time_s += 1.0
    got = desk.stop()
    played = got.samples("inputs")
    np.testing.assert_array_equal(played[:4800], rig.numbered(0, 4800, N_LANES))
    np.testing.assert_array_equal(played[-48_000:], rig.numbered(100_800, 48_000, N_LANES))
    assert len(got.places("gap")) == (1 if offset != 192 else 0)  # the recorder's own count heals with its next look
    assert len(desk.recordings()) == 1


def test_the_recorded_mix_is_the_rendered_one_to_the_bit(desk: Desk) -> None:
    """The same engine output, once through the ring and once as ``render`` writes it; hot enough to clip."""
    channels = [ChannelSetup(name=f"{lane}", is_stereo=False) for lane in range(N_LANES)]
    noise = np.random.default_rng(9).normal(0.0, 0.5, (48_000, N_LANES)).astype(np.float32)
    with Engine(sample_rate_hz=48_000, channels=channels) as engine:
        mixed = engine.process(noise)
    mixed[1000:1010] *= 8.0
    desk.source.put_floats(noise, mixed)
    desk.recorder.step()
    got = desk.stop()
    target = desk.folder / "render.wav"
    record = np.ascontiguousarray(mixed[:, RECORD])
    with WavWriter(target, target, sample_rate_hz=48_000, n_channels=2, n_frames=len(record)) as writer:
        writer.write(record)
    assert np.abs(mixed[:, RECORD]).max() > 1.0
    (at, size_bytes), (rendered_at, rendered_size_bytes) = wave.promised(got.folder / "mix.wav"), wave.promised(target)
    assert size_bytes == rendered_size_bytes == 6 * 48_000
    recorded = (got.folder / "mix.wav").read_bytes()[at : at + size_bytes]
    assert recorded == target.read_bytes()[rendered_at : rendered_at + size_bytes]


def test_an_engine_with_other_inputs_gets_a_recording_of_its_own(desk: Desk) -> None:
    desk.run(4800)
    desk.source = desk.engine(n_lanes=2)
    desk.clock.time_s += 1.0
    desk.recorder.step()
    desk.source.put(100)
    desk.recorder.step()
    desk.stop()
    first, second = desk.recordings()
    assert "other inputs" in first.summary["ended_because"]
    assert (first.summary["n_frames"], second.summary["n_frames"]) == (4800, 100)
    assert second.samples("inputs").shape == (100, 2)


def test_an_engine_that_stays_away_ends_the_recording_and_one_that_comes_back_begins_another(desk: Desk) -> None:
    desk.run(4800)
    desk.clock.time_s += ENGINE_WAIT_S + 1
    desk.recorder.step()
    assert desk.recordings()[0].summary["state"] == "complete"
    desk.run(4800)
    desk.stop().assert_holds((4800, 4800))
    assert len(desk.recordings()) == 2


def test_an_engine_that_has_not_begun_is_waited_for(tmp_path: Path) -> None:
    with ExitStack() as stack:
        desk = Desk(tmp_path, stack)
        desk.source.owner.close()
        desk.stack.pop_all()
        assert not desk.ring.exists()
        desk.recorder.step()
        desk.source = rig.Source(desk.ring, n_lanes=N_LANES)
        stack.callback(desk.source.owner.close)
        desk.recorder.step()
        desk.run(4800)
        desk.stop().assert_holds((0, 4800))


def test_recordings_of_the_same_second_get_names_of_their_own(desk: Desk) -> None:
    for _ in range(3):
        desk.run(480)
        desk.stop()
        desk.recorder = desk.start()
        desk.recorder.step()
    names = [r.folder.name for r in desk.recordings()]
    assert names == [f"2026-03-04_21-30-05_Friday___1{n}" for n in ("", "_2", "_3")]


class Shrinking(Guard):
    """A disk that others fill."""

    rooms = (1 << 30, 1 << 30, 0)

    def room_bytes(self) -> int:
        object.__setattr__(self, "rooms", self.rooms[1:] or self.rooms)
        return self.rooms[0]


def test_a_disk_that_is_almost_full_ends_the_recording_in_one_clear_line(desk: Desk) -> None:
    desk.recorder._guard = Shrinking(folder=desk.folder)
    desk.run(4800)
    for _ in range(600):  # a minute for the keeper's next look
        if desk.recorder._recording.trouble:
            break
        desk.recorder._recording._keeper.join(timeout=0.1)
    with pytest.raises(EvenhandError, match=r"Friday___1: the disk is almost full; the recording is complete up to"):
        desk.recorder.step()
    got = desk.recordings()[0]
    got.assert_holds((0, 4800))
    assert got.places("end") == [(4800, "the disk is almost full")]
    assert got.summary["state"] == "complete"


def test_a_recording_that_has_no_room_does_not_begin(tmp_path: Path) -> None:
    setup = Setup(
        root=tmp_path, title="", started=STARTED, sample_rate_hz=48000, n_input_lanes=32, contract_id="x",
        first_frame=0, guard=Guard(folder=tmp_path, reserve_bytes=1 << 60),
    )  # fmt: skip
    with pytest.raises(EvenhandError, match="room for 0 s of recording"):
        Recording(setup)
    assert list(tmp_path.iterdir()) == []


def test_the_usual_reserve_is_two_percent_within_bounds(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    reserve_bytes = disk.f_bavail * disk.f_frsize - Guard(folder=tmp_path).room_bytes()
    share_bytes = disk.f_blocks * disk.f_frsize * 0.02
    assert reserve_bytes == pytest.approx(min(max(512 << 20, share_bytes), 4 << 30), abs=64 << 20)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match="is no folder; make it"):
        Recorder(rig.native(), Settings(ring=tmp_path / "ring", root=tmp_path / "out"), say=print)


def test_each_kind_of_trouble_has_its_words() -> None:
    assert [why(OSError(n, os.strerror(n))) for n in (28, 27, 5)] == [
        "the disk is full",
        "the file system takes no larger file",
        "the disk fails (Input/output error)",
    ]
