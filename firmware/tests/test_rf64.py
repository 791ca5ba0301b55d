"""A file that is being recorded: exact, and playable whenever the power goes."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from firmware.recorder.markers import Marker
from firmware.recorder.recording import SYNC_INTERVAL_S
from firmware.recorder.rf64 import MAX_CUES, DiskFile, Format, Rf64Writer
from firmware.tests import record_rig as rig
from firmware.tests import wave_reading as wave

STARTED = datetime(2026, 3, 4, 21, 30, 5)
RATE_HZ = 48000


def packed(first: int, n_frames: int, n_lanes: int) -> bytes:
    """Return numbered frames as they are written."""
    return rig.numbered(first, n_frames, n_lanes).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def form(n_channels: int, started: datetime = STARTED) -> Format:
    return Format(sample_rate_hz=RATE_HZ, n_channels=n_channels, started=started, description="Friday")


def heard(path: Path) -> np.ndarray:
    """Return what libsndfile plays, as 24-bit samples."""
    samples, rate_hz = soundfile.read(path, dtype="int32", always_2d=True)
    assert rate_hz == RATE_HZ
    return samples >> 8


def ffprobe(path: Path) -> dict:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def heard_by_ffmpeg(path: Path, n_channels: int) -> np.ndarray:
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "s24le", "-c:a", "pcm_s24le", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    return rig.unpacked(done.stdout, n_channels)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 32, 64])
def test_soundfile_and_ffmpeg_read_back_every_bit(tmp_path: Path, n_channels: int) -> None:
    path = tmp_path / "a.wav"
    writer = Rf64Writer(DiskFile(path), form(n_channels))
    for first in range(0, 2001, 667):
        writer.write(packed(first, 667, n_channels))
    writer.close()
    expected = rig.numbered(0, 2001, n_channels)
    np.testing.assert_array_equal(heard(path), expected)
    np.testing.assert_array_equal(heard_by_ffmpeg(path, n_channels), expected)
    assert ffprobe(path)["streams"][0]["codec_name"] == "pcm_s24le"


def test_the_header_says_who_recorded_what_and_when(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    Rf64Writer(DiskFile(path), form(2)).close()
    assert wave.read(path).fmt == (1, 2, RATE_HZ, RATE_HZ * 6, 6, 24)
    writer = Rf64Writer(DiskFile(tmp_path / "b.wav"), form(2))
    writer.write(packed(0, 100, 2))
    writer.close()
    tags = ffprobe(tmp_path / "b.wav")["format"]["tags"]
    assert tags["encoded_by"] == "Evenhand"
    assert (tags["date"], tags["creation_time"]) == ("2026-03-04", "21:30:05")
    assert int(tags["time_reference"]) == (21 * 3600 + 30 * 60 + 5) * RATE_HZ
    assert (tags["comment"], tags["coding_history"].strip()) == ("Friday", "A=PCM,F=48000,W=24,M=stereo,T=Evenhand")
    assert wave.read(path).chunks[:4] == [b"JUNK", b"bext", b"fmt ", b"data"]


@pytest.mark.parametrize("n_frames", [3, 4])
def test_markers_are_cue_points_with_labels_also_behind_an_odd_number_of_bytes(tmp_path: Path, n_frames: int) -> None:
    path = tmp_path / "a.wav"
    writer = Rf64Writer(DiskFile(path), form(1))
    writer.write(packed(0, n_frames, 1))
    markers = [
        Marker(position_frames=0, kind="scene", text="Strophe – ä"),
        Marker(position_frames=2, kind="decision", text="fader of Anna"),
        Marker(position_frames=3, kind="end", text="stopped"),
    ]
    writer.close(markers)
    expected = [(m.position_frames, m.label) for m in markers]
    assert wave.read(path).markers == expected
    assert wave.cues_by_libsndfile(path) == expected
    assert 8 + wave.read(path).riff_size_bytes == path.stat().st_size
    np.testing.assert_array_equal(heard(path), rig.numbered(0, n_frames, 1))


def test_of_too_many_markers_decisions_are_the_first_to_go(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    writer = Rf64Writer(DiskFile(path), form(1))
    writer.write(packed(0, 4000, 1))
    kinds = ["scene" if i % 5 == 0 else "decision" for i in range(2000)]
    writer.close([Marker(position_frames=i, kind=k, text=str(i)) for i, k in enumerate(kinds)])
    shown = wave.read(path).markers
    assert len(shown) == MAX_CUES
    assert [p for p, label in shown if label.startswith("scene")] == list(range(0, 2000, 5))
    assert shown == sorted(shown)
    assert len(wave.cues_by_libsndfile(path)) == 100


def test_a_file_above_4_gib_becomes_rf64_and_plays_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    if shutil.disk_usage(tmp_path).free < 1 << 30:
        pytest.skip("needs a disk with room, though the file is almost all hole")
    writer = Rf64Writer(DiskFile(path), form(32))
    writer.write(packed(0, 480, 32))
    writer.sync()
    writer.sync()
    assert wave.read(path).form == b"RIFF"
    n_silent = (1 << 32) // 96 + 1000
    writer.write_silence(n_silent)
    writer.write(packed(480, 480, 32))
    writer.close([Marker(position_frames=n_silent, kind="scene", text="late")])
    read = wave.read(path)
    assert (read.form, read.chunks[0]) == (b"RF64", b"ds64")
    assert read.ds64 == (path.stat().st_size - 8, (n_silent + 960) * 96, n_silent + 960)
    assert read.markers == [(n_silent, "scene: late")]
    with soundfile.SoundFile(path) as file:
        assert file.frames == n_silent + 960
        file.seek(n_silent + 480)
        np.testing.assert_array_equal(file.read(dtype="int32") >> 8, rig.numbered(480, 480, 32))
    assert int(ffprobe(path)["streams"][0]["duration_ts"]) == n_silent + 960


def test_riff_becomes_rf64_exactly_where_its_sizes_end(tmp_path: Path) -> None:
    def recorded(name: str, limit_bytes: int) -> wave.Wave:
        writer = Rf64Writer(DiskFile(tmp_path / name), form(3), max_riff_size_bytes=limit_bytes)
        writer.write(packed(0, 1001, 3))
        writer.close([Marker(position_frames=5, kind="scene", text="Verse")])
        np.testing.assert_array_equal(heard(tmp_path / name), rig.numbered(0, 1001, 3))
        return wave.read(tmp_path / name)

    riff = recorded("a.wav", 1 << 20)
    assert recorded("b.wav", riff.riff_size_bytes).form == b"RIFF"
    large = recorded("c.wav", riff.riff_size_bytes - 1)
    assert (large.form, large.data) == (b"RF64", riff.data)


def test_silence_of_any_length_is_zeros_and_a_cut_forgets(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    writer = Rf64Writer(DiskFile(path), form(3))
    writer.write(packed(0, 10, 3))
    writer.write_silence(7)
    writer.write(packed(17, 10, 3))
    writer.cut(20)
    writer.close()
    expected = rig.numbered(0, 20, 3)
    expected[10:17] = 0
    np.testing.assert_array_equal(heard(path), expected)


def test_half_a_frame_is_not_taken_and_an_old_file_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    writer = Rf64Writer(DiskFile(path), form(2))
    with pytest.raises(ValueError, match="whole number of frames"):
        writer.write(bytes(7))
    writer.close()
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        DiskFile(path)
    assert path.read_bytes() == before


class Journal:
    """A file that keeps what was done to it, so that a power cut can be had at any moment of it."""

    def __init__(self) -> None:
        self.done: list[tuple[str, bytes, int]] = []

    def write(self, data: bytes | memoryview, offset: int) -> None:
        self.done.append(("write", bytes(data), offset))

    def resize(self, size_bytes: int) -> None:
        self.done.append(("resize", b"", size_bytes))

    def sync(self, size_bytes: int) -> None:
        self.done.append(("sync", b"", size_bytes))

    def close(self) -> None:
        pass

    def left_by(self, n_done: int, rng: random.Random) -> bytes:
        """Return what a disk may hold that lost power after ``n_done``: what was not synced may be there or not."""
        last_sync = max(i for i in range(n_done) if self.done[i][0] == "sync")
        content = bytearray()
        for i, (what, data, at) in enumerate(self.done[:n_done]):
            if i > last_sync and rng.random() < 0.5:
                continue
            if what == "write":
                content.extend(bytes(max(at + len(data) - len(content), 0)))
                content[at : at + len(data)] = data
            elif what == "resize":
                content.extend(bytes(max(at - len(content), 0)))
                del content[at:]
        return bytes(content)


@pytest.mark.parametrize("limit_bytes", [1 << 20, 9000], ids=["riff", "becomes_rf64"])
def test_a_power_cut_at_any_moment_leaves_a_file_that_plays_what_two_syncs_made_safe(
    tmp_path: Path, limit_bytes: int
) -> None:
    rng = random.Random(5)
    journal = Journal()
    writer = Rf64Writer(journal, form(2), max_riff_size_bytes=limit_bytes)
    expected, n_at_sync = np.zeros((0, 2), np.int32), {0: 0}
    for step in range(60):
        n_frames = rng.randrange(1, 60)
        frames = rig.numbered(len(expected), n_frames, 2)
        if step % 9 == 4:
            frames[:] = 0
            writer.write_silence(n_frames)
        else:
            writer.write(packed(len(expected), n_frames, 2))
        expected = np.concatenate([expected, frames])
        if step % 4 == 3:
            writer.sync()
            n_at_sync[len(journal.done)] = len(expected)
    writer.close([Marker(position_frames=5, kind="scene", text="Verse")])
    n_at_sync[len(journal.done)] = len(expected)
    forms = set()
    for n_done in range(3, len(journal.done) + 1):
        for _ in range(4):
            path = tmp_path / "cut.wav"
            path.write_bytes(journal.left_by(n_done, rng))
            _, size_bytes = wave.promised(path)  # which refuses a header that promises too much
            n_frames = size_bytes // 6
            syncs = [n for at, n in n_at_sync.items() if at <= n_done]
            assert n_frames >= (syncs[-2] if len(syncs) > 1 else 0)
            forms.add(wave.read(path).form)
            if n_frames:
                np.testing.assert_array_equal(heard(path), expected[:n_frames])
    assert n_frames == len(expected)
    assert forms == ({b"RIFF"} if limit_bytes > 9000 else {b"RIFF", b"RF64"})


def test_two_syncs_take_less_than_a_second() -> None:
    assert 2 * SYNC_INTERVAL_S < 1.0


class FullDisk(DiskFile):
    """Takes ``room_bytes`` and no more."""

    room_bytes = 10_000

    def write(self, data: bytes | memoryview, offset: int) -> None:
        super().write(memoryview(data)[: max(self.room_bytes - offset, 0)], offset)
        if offset + len(data) > self.room_bytes:
            raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_every_whole_frame_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    writer = Rf64Writer(FullDisk(path), form(2))
    for first in range(0, 1500, 100):
        writer.write(packed(first, 100, 2))
    with pytest.raises(OSError, match="No space"):
        writer.write(packed(1500, 1000, 2))
    n_frames = writer.n_frames
    writer.close([Marker(position_frames=5, kind="scene", text="finds no room" * 100)])
    assert n_frames == 1500
    np.testing.assert_array_equal(heard(path), rig.numbered(0, n_frames, 2))
    assert 8 + wave.read(path).riff_size_bytes == path.stat().st_size
