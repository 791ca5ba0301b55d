"""The recorder as a process: killed, hung, out of disk. What was recorded plays; the audio never notices."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from dsp_kernels.build_ffi import ROOT
from firmware.recorder.markers import SpoolWriter
from firmware.tests import record_rig as rig
from firmware.tests import wave_reading as wave

N_LANES = 32
PATIENCE_S = 60.0  # until a thing that should happen counts as one that does not
FRAME_SIZE_BYTES = 3 * N_LANES


def until(is_so: Callable[[], object]) -> None:
    """Wait for something that takes as long as it takes."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it never came to that"
        time.sleep(0.01)


class Rig:
    """A source of frames and the processes that record it."""

    def __init__(self, folder: Path, n_ring_frames: int = 0) -> None:
        self.folder, self.out = folder, folder / "out"
        self.out.mkdir()
        self.source = rig.Source(folder / "ring", n_lanes=N_LANES, n_ring_frames=n_ring_frames)
        self.processes: list[subprocess.Popen] = []

    def start(self, *more: str, **how: Any) -> subprocess.Popen:
        """Start a recorder and wait until it takes frames."""
        command = [sys.executable, "-m", "firmware.recorder.process", "--library", str(rig.library())]
        command += ["--ring", str(self.folder / "ring"), "--out", str(self.out), "--keep-free-mb", "0", *more]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)
        self.processes.append(process)
        arm = self.source.owner.ring.arm
        while self.source.owner.ring.arm == arm and process.poll() is None:
            time.sleep(0.01)
            self.source.put_block(0)
        return process

    def recording(self) -> Path:
        """Return the newest recording's folder."""
        return max(self.out.iterdir(), key=lambda p: p.stat().st_ctime_ns)

    def n_written(self) -> int:
        """Return the frames that both files hold, promised by the header or not."""
        return self._least(lambda path: path.stat().st_size - path.read_bytes().index(b"data") - 8)

    def n_promised(self) -> int:
        """Return the frames that both headers promise."""
        return self._least(lambda path: wave.promised(path)[1])

    def _least(self, size_bytes: Callable[[Path], int]) -> int:
        try:
            inputs, mix = (size_bytes(self.recording() / f"{name}.wav") for name in ("inputs", "mix"))
        except (FileNotFoundError, ValueError):  # not begun
            return 0
        return min(inputs // FRAME_SIZE_BYTES, mix // 6)

    def markers(self) -> list[dict]:
        """Return what lies beside the audio."""
        return [json.loads(line) for line in (self.recording() / "markers.jsonl").read_text().splitlines()]

    def assert_plays(self, first: int = 0) -> int:
        """Compare both files, as soundfile and ffmpeg play them, with the frames from ``first`` on; return how many."""
        lengths = []
        for name, n_lanes, of in (
            ("inputs.wav", N_LANES, lambda n: rig.numbered(first, n, N_LANES)),
            ("mix.wav", 2, lambda n: rig.mix_of(first, n)),
        ):
            path = self.recording() / name
            played = soundfile.read(path, dtype="int32", always_2d=True)[0] >> 8
            np.testing.assert_array_equal(played, of(len(played)))
            command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "s24le", "-c:a", "pcm_s24le", "-"]
            done = subprocess.run(command, capture_output=True, check=True)
            assert done.stderr == b""
            np.testing.assert_array_equal(rig.unpacked(done.stdout, n_lanes), played)
            lengths.append(len(played))
        return min(lengths)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Rig]:
    bench = Rig(tmp_path)
    yield bench
    for process in bench.processes:
        process.kill()
        process.communicate()
    bench.source.owner.close()


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_stop_it_completes_everything_that_was_put(bench: Rig, number: int) -> None:
    process = bench.start("--title", "Friday")
    bench.source.put(50_000)
    process.send_signal(number)
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith("Friday: complete, 1.0 s, 0 gaps; stopped")
    assert bench.assert_plays() == 50_000
    assert bench.markers()[-1]["kind"] == "end"


def test_json_is_one_object_about_what_was_recorded(bench: Rig) -> None:
    process = bench.start("--json", "--status", str(bench.folder / "status"))
    bench.source.put(48_000)
    until(lambda: json.loads((bench.folder / "status").read_text())["duration_s"] == 1.0)
    process.terminate()
    record = json.loads(ended(process)[1])
    assert record["error"] is None
    assert (record["recordings"][0]["n_frames"], record["recordings"][0]["reason"]) == (48_000, "stopped")


def test_killed_outright_both_files_play_all_that_their_headers_had_come_to_promise(bench: Rig) -> None:
    process = bench.start()
    bench.source.put(40_000)
    until(lambda: bench.n_promised() == 40_000)  # without being closed: the header follows
    bench.source.put(30_000)
    process.kill()
    ended(process)
    assert 40_000 <= bench.assert_plays() <= 70_000


def test_killed_at_any_moment_both_files_play_and_the_next_recorder_begins_with_the_next_frame(bench: Rig) -> None:
    rng = np.random.default_rng(11)
    for _ in range(4):
        process = bench.start()
        first = bench.source.n_put
        for _ in range(int(rng.integers(20, 90))):
            bench.source.put(960)
            time.sleep(0.01)
        until(lambda: bench.n_promised() > 0)
        process.kill()
        ended(process)
        assert bench.assert_plays(first) > 0
    assert len(list(bench.out.iterdir())) == 4


def test_markers_survive_a_kill(bench: Rig) -> None:
    with SpoolWriter(bench.folder / "spool") as spool:
        process = bench.start("--markers", str(bench.folder / "spool"))
        bench.source.put(4800)
        until(lambda: bench.n_written() == 4800)
        spool.append(1234, "scene", "Verse")
        until(lambda: bench.markers())
        process.kill()
        ended(process)
    assert [(m["position_frames"], m["text"]) for m in bench.markers()] == [(1234, "Verse")]
    assert json.loads((bench.recording() / "recording.json").read_text())["state"] == "recording"


def test_a_disk_that_hangs_costs_silence_of_the_same_length_and_nothing_else(tmp_path: Path) -> None:
    bench = Rig(tmp_path, n_ring_frames=48_000)
    shim = rig.build_library(tmp_path / "hanging.so", sources=[rig.HARNESS_DIR / "hanging_disk.c"])
    hung = tmp_path / "hung"
    process = bench.start(env={**os.environ, "LD_PRELOAD": str(shim), "EH_HANGS_WHILE": str(hung)})
    bench.source.put(10_000)
    until(lambda: bench.n_written() == 10_000)
    hung.touch()
    bench.source.put(150_000, block=500)  # three seconds into a ring of one
    before = bench.source.owner.ring.pending.n_lost_frames
    assert before >= 100_000 - 8192  # what the recorder holds in its hand is not in the ring any more
    hung.unlink()
    until(lambda: bench.n_written() == 160_000 - before)
    bench.source.put(20_000, block=500)
    process.terminate()
    assert ended(process)[0] == 0
    bench.source.owner.close()
    [gap] = [m for m in bench.markers() if m["kind"] == "gap"]
    at, n_lost = gap["position_frames"], gap["n_lost_frames"]
    assert (at + n_lost, n_lost) == (160_000, before)
    assert gap["cause"] == "the recorder or its disk was late"
    for name, of in (("inputs", lambda: rig.numbered(0, 180_000, N_LANES)), ("mix", lambda: rig.mix_of(0, 180_000))):
        expected = of()
        expected[at : at + n_lost] = 0
        played = soundfile.read(bench.recording() / f"{name}.wav", dtype="int32", always_2d=True)[0] >> 8
        np.testing.assert_array_equal(played, expected)


def limited(size_bytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def test_a_disk_that_takes_no_more_ends_it_cleanly_with_one_line(bench: Rig) -> None:
    process = bench.start(preexec_fn=limited(1_000_000))
    bench.source.put(30_000)
    code, _, err = ended(process)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "takes no larger file; the recording is complete up to" in err
    assert 0 < bench.assert_plays() <= 1_000_000 // FRAME_SIZE_BYTES
    assert [m["kind"] for m in bench.markers()] == ["end"]
    bench.source.put(200_000)  # nobody there to take it, and nothing happens


def test_where_files_may_not_grow_a_long_recording_goes_on_in_the_next_without_losing_a_frame(tmp_path: Path) -> None:
    bench = Rig(tmp_path)
    bench.source.owner.close()
    bench.source = rig.Source(tmp_path / "ring", n_lanes=1, sample_rate_hz=8000, n_ring_frames=4_000_000)
    process = bench.start(preexec_fn=limited(6 * 8000 * 70))
    bench.source.put(8000 * 100, block=8000)
    process.terminate()
    code, _, err = ended(process)
    assert (code, err) == (0, "")
    bench.source.owner.close()
    parts = sorted(bench.out.iterdir(), key=lambda p: p.stat().st_ctime_ns)
    assert len(parts) == 2
    played = [soundfile.read(p / "inputs.wav", dtype="int32", always_2d=True)[0] >> 8 for p in parts]
    np.testing.assert_array_equal(np.concatenate(played), rig.numbered(0, 800_000, 1))
    mixes = [soundfile.read(p / "mix.wav", dtype="int32", always_2d=True)[0] >> 8 for p in parts]
    np.testing.assert_array_equal(np.concatenate(mixes), rig.mix_of(0, 800_000))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_disk_is_never_filled_beyond_its_reserve(small_disk: Path, tmp_path: Path) -> None:
    bench = Rig(tmp_path)
    bench.source.owner.close()
    bench.source = rig.Source(tmp_path / "ring", n_lanes=1, sample_rate_hz=8000, n_ring_frames=4_000_000)
    bench.out = small_disk
    process = bench.start("--keep-free-mb", "4")
    deadline_s = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline_s:
        bench.source.put(8000, block=8000)  # 72 kB at a time
        time.sleep(0.02)
    code, _, err = ended(process)
    bench.source.owner.close()
    assert code == 1
    assert "the disk is almost full; the recording is complete up to" in err
    disk = os.statvfs(small_disk)
    assert disk.f_bavail * disk.f_frsize > 0
    played = soundfile.read(bench.recording() / "inputs.wav", dtype="int32", always_2d=True)[0] >> 8
    np.testing.assert_array_equal(played, rig.numbered(0, len(played), 1))
    assert json.loads((bench.recording() / "recording.json").read_text())["state"] == "complete"


def test_a_disk_that_is_full_from_one_moment_to_the_next_ends_it_with_whole_frames(
    small_disk: Path, tmp_path: Path
) -> None:
    bench = Rig(tmp_path)
    bench.source.owner.close()
    bench.source = rig.Source(tmp_path / "ring", n_lanes=1, sample_rate_hz=8000, n_ring_frames=4_000_000)
    bench.out = small_disk
    process = bench.start()
    bench.source.put(8000 * 300, block=8000)  # 21 MB at once
    code, _, err = ended(process)
    bench.source.owner.close()
    assert code == 1
    assert "the disk is " in err
    assert "full; the recording is complete up to" in err
    for name, of in (("inputs", lambda n: rig.numbered(0, n, 1)), ("mix", lambda n: rig.mix_of(0, n))):
        played = soundfile.read(bench.recording() / f"{name}.wav", dtype="int32", always_2d=True)[0] >> 8
        assert len(played) > 1_000_000
        np.testing.assert_array_equal(played, of(len(played)))


def test_a_ring_of_a_foreign_contract_is_refused_in_one_line(bench: Rig) -> None:
    with (bench.folder / "ring").open("r+b") as file:
        file.seek(16)
        file.write(b"0123456789ab")
    code, out, err = ended(bench.start())
    assert (code, out) == (1, "")
    assert (
        err == f"error: {bench.folder}/ring: holds a ring of another contract; update the engine and the recorder "
        "together\n"
    )
    assert list(bench.out.iterdir()) == []


def test_wrong_usage_leaves_with_2() -> None:
    done = subprocess.run([sys.executable, "-m", "firmware.recorder.process"], cwd=ROOT, capture_output=True)
    assert done.returncode == 2


def test_the_process_loads_no_numpy_and_no_kernels() -> None:
    code = "import sys, firmware.recorder.process; sys.exit('numpy' in sys.modules or 'soundfile' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
