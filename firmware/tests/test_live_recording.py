"""What a live box records while its card stumbles: every frame in its place, every gap marked."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from firmware.observation import ChannelSetup
from firmware.system.virtual_card import Direction, Fault
from firmware.tests.live_rig import LiveRig, started, wait_for
from firmware.tests.test_live import straight_control

THIRTY_TWO = [ChannelSetup(name=f"In {number + 1}") for number in range(32)]
LOW_BITS = 15
HEADER_S = 1.6  # a header is brought up to date each second
SETTLES_FRAMES = 64  # a mark stands at the first frame behind the gap, or where silence of its length begins


def coded(first_frame: int, n_frames: int) -> NDArray[np.float32]:
    """Return frames that say which they are: the low bits on even lanes, the high ones on odd lanes, 16 bits each."""
    frames = np.arange(first_frame, first_frame + n_frames) + 1
    low, high = frames & ((1 << LOW_BITS) - 1), frames >> LOW_BITS
    lanes = np.where(np.arange(32) % 2 == 0, low[:, None], high[:, None])
    return (lanes / (1 << LOW_BITS)).astype(np.float32)


def decoded(recorded: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return which frame each recorded frame is, -1 for silence; all lanes must agree."""
    codes = recorded.astype(np.int64) >> (31 - LOW_BITS)
    assert (codes[:, 0::2] == codes[:, :1]).all()
    assert (codes[:, 1::2] == codes[:, 1:2]).all()
    return codes[:, 0] + (codes[:, 1] << LOW_BITS) - 1


def start_recorder(rig: LiveRig, out: Path) -> subprocess.Popen[str]:
    status = rig.folder / "recorder.json"
    recorder = rig.start(
        "firmware.recorder.process", "--ring", str(rig.ring_path), "--out", str(out), "--status", str(status)
    )

    def is_attached() -> bool:
        try:
            return bool(json.loads(status.read_text())["is_attached"])
        except (OSError, ValueError):
            return False

    wait_for(is_attached, "the recorder does not attach")
    return recorder


def record(out: Path, n_ticks: int, xruns: list[tuple[int, Direction]], kill_at: int | None = None) -> None:
    with LiveRig(THIRTY_TWO, records=True) as rig, started(rig, straight_control(THIRTY_TWO)) as lockstep:
        recorder = start_recorder(rig, out)
        for side in Direction:
            rig.card.schedule(side, [(frame, Fault.XRUN, 0) for frame, where in xruns if where == side])
        for tick in range(n_ticks):
            if tick == kill_at:
                time.sleep(HEADER_S)
                recorder.kill()
                recorder.communicate()
                return
            assert rig.card.feed(coded(tick * 960, 960)) == 960
            rig.advance(960)
            rig.played.clear()
            list(lockstep.segment.observations())
            if tick % 25 == 24:  # the ring holds two seconds
                wait_for_recorder(rig, (tick - 24) / 50)
        rig.stop_engine()
        recorder.terminate()
        assert recorder.wait(30) == 0, recorder.stderr.read()


def wait_for_recorder(rig: LiveRig, until_s: float) -> None:
    def has_recorded() -> bool:
        try:
            return float(json.loads((rig.folder / "recorder.json").read_text())["duration_s"]) >= until_s - 1.2
        except (OSError, ValueError):
            return False

    wait_for(has_recorded, "the recorder does not keep up")


def read(out: Path) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    (folder,) = out.iterdir()
    audio, _ = soundfile.read(folder / "inputs.wav", dtype="int32", always_2d=True)
    lines = (folder / "markers.jsonl").read_text().splitlines()
    return decoded(audio), [json.loads(line) for line in lines]


def check_gaps(out: Path, n_xruns: int) -> None:
    frames, markers = read(out)
    gaps = [m for m in markers if m["kind"] == "gap"]
    assert len(gaps) >= n_xruns * 0.9
    steps = np.flatnonzero(np.diff(frames) != 1) + 1
    is_heard = frames >= 0
    steps = np.array([s for s in steps if is_heard[s] or is_heard[s - 1]])  # the middle of silence is no step
    marked = np.array([m["position_frames"] for m in gaps])
    filled = np.array([m["n_lost_frames"] or 0 for m in gaps]) * np.array([m["is_filled"] for m in gaps])
    for step in steps[steps < np.flatnonzero(is_heard)[-1]]:
        is_marked = (marked - SETTLES_FRAMES <= step) & (step <= marked + filled + SETTLES_FRAMES)
        assert is_marked.any(), f"frame {step} does not join on to the one before, and no marker says why"
    print(f"{len(gaps)} gaps marked, {len(steps)} places where frames do not join on, {len(frames)} frames")


def seeded_xruns(n_xruns: int, n_frames: int) -> list[tuple[int, Direction]]:
    rng = np.random.default_rng(21)
    frames = np.sort(rng.choice(np.arange(4800, n_frames - 9600), n_xruns, replace=False))
    return [(int(frame), Direction(int(rng.integers(0, 2)))) for frame in frames]


def test_32_channels_recorded_through_xruns_have_no_gap_that_is_not_marked(tmp_path: Path) -> None:
    record(tmp_path, 300, seeded_xruns(20, 300 * 960))
    check_gaps(tmp_path, 20)


@pytest.mark.soak
def test_ten_minutes_of_32_channels_through_xruns_have_no_gap_that_is_not_marked(tmp_path: Path) -> None:
    record(tmp_path, 50 * 600, seeded_xruns(1000, 50 * 600 * 960))
    check_gaps(tmp_path, 1000)


def test_a_killed_recorder_leaves_a_file_that_plays_up_to_the_last_second(tmp_path: Path) -> None:
    record(tmp_path, 400, [], kill_at=399)
    frames, _ = read(tmp_path)
    assert np.array_equal(frames, np.arange(len(frames)))
    assert 399 * 960 - 48000 <= len(frames) <= 399 * 960
