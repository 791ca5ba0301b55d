"""The shared memory between the processes: whole or refused, in order, and held by one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsp_kernels.contract.layout import default_params
from firmware.errors import EvenhandError
from firmware.segment import EVIDENCE_NOTEBOOK, OBSERVATION_DTYPE, STATE_NOTEBOOK, Segment, SegmentAbsentError
from firmware.tests.segment_rig import EVENTS_HELD, OBSERVATIONS_HELD, Damage, EngineSide, kill, offsets, python

N_TORN_LOOKS = 3000
N_SNAPSHOT_KILLS = 12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "segment"


@pytest.fixture
def engine(path: Path) -> Iterator[EngineSide]:
    with EngineSide(path) as side:
        yield side


@pytest.fixture
def control(engine: EngineSide, path: Path) -> Iterator[Segment]:
    with Segment(path, is_control=True) as segment:
        yield segment


def control_of(path: Path, is_control: bool = True) -> Segment:
    return Segment(path, is_control=is_control)


# ------------------------------------------------------------------------------------------------ made and taken over


@pytest.mark.parametrize("is_control", [True, False])
def test_before_the_engine_there_is_no_segment(path: Path, is_control: bool) -> None:
    with pytest.raises(SegmentAbsentError, match="No such file"):
        control_of(path, is_control)
    assert not path.exists()


def test_a_successor_takes_the_segment_up_as_it_was_left(path: Path) -> None:
    with EngineSide(path) as first, control_of(path) as control:
        assert not first.hold.is_resumed
        params = default_params()
        params["system"]["panic.is_on"] = 1.0
        control.publish(params)
        first.close()
        with EngineSide(path) as second:
            assert second.hold.is_resumed
            assert control.is_current
            assert control.params().tobytes() == params.tobytes()
            assert control.status().counters["engine_starts"] == 2
            assert control.status().state == "starting"


def test_only_its_owner_may_write_a_segment_and_its_group_may_look(engine: EngineSide, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as somebody else")
def test_another_user_of_its_group_may_look_at_a_segment_and_no_more(
    engine: EngineSide, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = 65534
    monkeypatch.chdir(path.parent)  # the folders above are closed to everybody else
    for folder in (path.parent, path):
        os.chown(folder, -1, stranger)
    path.parent.chmod(0o750)
    before = os.geteuid(), os.getegid()
    os.setegid(stranger)
    os.seteuid(stranger)
    try:
        with Segment(Path(path.name), is_control=False) as viewer:
            assert viewer.status().state == "starting"
        with pytest.raises(EvenhandError, match="Permission denied"):
            control_of(Path(path.name))
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])


def test_one_who_only_looks_is_told_so_when_it_sets_or_takes(engine: EngineSide, path: Path) -> None:
    """The pages of a viewer may only be read: without this the process would be killed."""
    with Segment(path, is_control=False) as viewer:
        for act in (lambda: viewer.beat(1), lambda: list(viewer.events()), lambda: list(viewer.observations())):
            with pytest.raises(TypeError, match="opened to look at it"):
                act()
        assert viewer.status().state == "starting"


FOREIGN = {
    "magic": ("is no segment of Evenhand", b"SOMEBODY"),
    "size_bytes": ("is no segment of Evenhand", b"\1\0\0\0"),
    "version": ("has layout version 99", b"\x63\0\0\0"),
    "contract_id": ("was made under contract 0000000000", b"0" * 31 + b"\0"),
    "config": ("holds a mixer that cannot be", b"\xff" * 16),
}


@pytest.mark.parametrize("field", FOREIGN)
def test_a_foreign_segment_is_refused_by_control_and_replaced_by_the_engine(path: Path, field: str) -> None:
    said, stamp = FOREIGN[field]
    EngineSide(path).close()
    with Damage(path) as damage:
        damage.write(field, stamp)
    with pytest.raises(SegmentAbsentError, match=said):
        control_of(path)
    with EngineSide(path) as engine:
        assert engine.hold.is_replaced
        assert said in engine.why
        control_of(path).close()


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 4096])
def test_a_file_of_another_size_is_replaced(path: Path, n_bytes: int) -> None:
    path.write_bytes(b"\0" * n_bytes)
    with pytest.raises(SegmentAbsentError, match=f"has {n_bytes} bytes"):
        control_of(path)
    with EngineSide(path) as engine:
        assert engine.hold.is_replaced


def test_what_is_no_plain_file_is_refused_by_everybody_and_stays(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    elsewhere.write_bytes(b"precious")
    path.symlink_to(elsewhere)
    engine = EngineSide(path)
    assert engine.status not in (0, 1, 2)
    assert "symbolic links" in engine.why
    with pytest.raises(EvenhandError, match="symbolic links"):
        control_of(path)
    assert elsewhere.read_bytes() == b"precious"
    path.unlink()
    path.mkdir()
    assert EngineSide(path).status not in (0, 1, 2)


def test_a_segment_whose_folder_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    engine = EngineSide(tmp_path / "nowhere" / "segment")
    assert "nowhere/segment" in engine.why
    assert "No such file" in engine.why


def test_the_name_of_a_segment_may_hold_any_character(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path / "a b%s\n;'\"") + b"\xff"))
    with EngineSide(path), control_of(path) as control:
        assert control.is_current


@pytest.mark.parametrize("mixer", [{"n_channels": 5}, {"is_stereo": (1,)}, {"sample_rate_hz": 44100.0}])
def test_a_mixer_of_another_shape_gets_a_segment_of_its_own(path: Path, mixer: dict[str, Any]) -> None:
    with EngineSide(path) as first, control_of(path) as old:
        first.close()
        with EngineSide(path, **mixer) as second:
            assert second.hold.is_replaced
            assert "another shape" in second.why
            assert not old.is_current
            with control_of(path, False) as view:
                assert view.is_current
                assert view.n_channels == mixer.get("n_channels", 4)
                assert sum(view.is_stereo) == len(mixer.get("is_stereo", ()))


# ------------------------------------------------------------------------------------------------------ held by one


def test_a_second_control_is_refused_with_the_process_that_is_in_the_way(control: Segment, path: Path) -> None:
    with pytest.raises(EvenhandError, match=f"is in use by process {os.getpid()}; stop that one first") as caught:
        control_of(path)
    assert not isinstance(caught.value, SegmentAbsentError)
    control_of(path, False).close()  # a look is free


def test_a_second_engine_is_refused_whatever_mixer_it_brings(engine: EngineSide, path: Path) -> None:
    for mixer in ({}, {"n_channels": 7}):
        second = EngineSide(path, **mixer)
        assert second.is_taken
        assert f"process {os.getpid()}" in second.why
    with control_of(path) as control:
        assert control.is_current
        assert control.n_channels == 4


def test_an_engine_of_another_build_that_still_runs_keeps_its_segment(engine: EngineSide, path: Path) -> None:
    with Damage(path) as damage:
        damage.write("version", b"\x63\0\0\0")
        second = EngineSide(path)
        assert second.is_taken
        assert "engine of another build" in second.why
        damage.number("version", 1)


HOLDER = """
import sys, time
from pathlib import Path
from typing import Any
from firmware.segment import Segment
from firmware.tests.segment_rig import EngineSide
side = EngineSide(Path(sys.argv[1])) if sys.argv[2] == "engine" else Segment(Path(sys.argv[1]), is_control=True)
print("holds", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("side", ["engine", "control"])
def test_a_side_is_free_again_when_its_holder_is_killed(path: Path, side: str) -> None:
    if side == "control":
        EngineSide(path).close()
    holder = python(HOLDER, path, side)
    try:
        assert holder.stdout.readline() == "holds\n"
        if side == "engine":
            assert EngineSide(path).is_taken
        else:
            with pytest.raises(EvenhandError, match=f"process {holder.pid}"):
                control_of(path)
    finally:
        kill(holder)
    (EngineSide(path) if side == "engine" else control_of(path)).close()


RACER = """
import sys, time
from pathlib import Path
from typing import Any
from firmware.tests.segment_rig import EngineSide
sys.stdout.write("ready\\n"); sys.stdout.flush()
for line in sys.stdin:
    side = EngineSide(Path(line.strip()), n_channels=int(sys.argv[1]))
    is_current = side.status == 0 and side._lib.eh_segment_is_current(side.hold, line.strip().encode())
    print(side.status, is_current, flush=True)
    sys.stdin.readline()
    side.close()
"""


def test_of_two_engines_that_start_at_once_one_has_the_segment_and_the_other_is_told(tmp_path: Path) -> None:
    racers = [python(RACER, n_channels) for n_channels in (4, 5)]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 2
        for number in range(60):
            path = tmp_path / f"segment-{number}"
            if number % 2:
                path.write_bytes(b"something foreign")
            for racer in racers:
                racer.stdin.write(f"{path}\n")
                racer.stdin.flush()
            said = sorted(racer.stdout.readline() for racer in racers)
            assert said == ["0 1\n", "3 False\n"], f"start {number}"
            for racer in racers:
                racer.stdin.write("\n")
                racer.stdin.flush()
    finally:
        for racer in racers:
            kill(racer)


# ------------------------------------------------------------------------------------------------------------ rings


def test_observations_and_events_come_in_order_and_once(engine: EngineSide, control: Segment) -> None:
    for start in range(1, 400, 40):
        for frame in range(start, start + 40):
            assert engine.put(frame)
            engine.tell(frame)
        assert [frame for frame, _ in control.observations()] == list(range(start, start + 40))
        assert [(e.frame, e.value, e.kind) for e in control.events()] == [
            (frame, -frame, "xrun") for frame in range(start, start + 40)
        ]
    assert not list(control.observations())
    assert not list(control.events())


def test_a_full_ring_drops_the_newest_and_counts_them(engine: EngineSide, control: Segment) -> None:
    put = [engine.put(frame) for frame in range(1, OBSERVATIONS_HELD + 8)]
    assert put == [True] * OBSERVATIONS_HELD + [False] * 7
    for frame in range(1, EVENTS_HELD + 4):
        engine.tell(frame)
    assert [frame for frame, _ in control.observations()] == list(range(1, OBSERVATIONS_HELD + 1))
    assert [event.frame for event in control.events()] == list(range(1, EVENTS_HELD + 1))
    counters = control.status().counters
    assert (counters["observations_dropped"], counters["events_dropped"]) == (7, 3)
    assert control.latest().time_s == pytest.approx((OBSERVATIONS_HELD + 7) / 48000.0)
    assert engine.put(1000)
    assert [frame for frame, _ in control.observations()] == [1000]


def test_a_new_control_does_not_hear_what_came_while_nobody_listened(engine: EngineSide, control: Segment) -> None:
    for frame in range(1, 100):
        engine.put(frame)
    control.skip_observations()
    assert not control.wait(0.0)
    engine.put(100)
    assert control.wait(0.0)
    assert [frame for frame, _ in control.observations()] == [100]


def test_a_wait_ends_with_an_observation_and_not_before(engine: EngineSide, control: Segment) -> None:
    assert not control.wait(0.01)
    heard: list[bool] = []
    waiting = threading.Thread(target=lambda: heard.append(control.wait(60.0)))
    waiting.start()
    engine.put(1)
    waiting.join(30.0)
    assert heard == [True]


@pytest.mark.parametrize("side", ["n_written", "n_read"])
@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1, 5000])
def test_after_nonsense_in_its_indices_a_ring_goes_on_with_what_comes_next(
    engine: EngineSide, control: Segment, path: Path, side: str, number: int
) -> None:
    engine.put(1)
    engine.tell(1)
    with Damage(path) as damage:
        for ring in ("observations", "events"):
            damage.number(f"{ring}.{side}", number)
    assert len(list(control.observations())) <= OBSERVATIONS_HELD
    assert len(list(control.events())) <= EVENTS_HELD
    assert engine.put(2)
    engine.tell(2)
    assert [frame for frame, _ in control.observations()] == [2]
    assert [event.frame for event in control.events()] == [2]


HAMMER = """
import sys
from pathlib import Path
from typing import Any
from firmware.tests.segment_rig import EngineSide
engine, frame = EngineSide(Path(sys.argv[1])), 1
engine.put(frame)
print("hammers", flush=True)
while True:
    frame += 1
    engine.put(frame)
"""


def test_a_viewer_never_sees_half_of_an_observation(path: Path) -> None:
    hammer = python(HAMMER, path)
    try:
        assert hammer.stdout.readline() == "hammers\n"
        last = 0
        with control_of(path, False) as view:
            for _ in range(N_TORN_LOOKS):
                if view.latest() is None:  # overtaken eight times in a row
                    continue
                words = np.frombuffer(view._record.tobytes(), np.uint64)
                assert (words == words[0]).all(), "two observations in one"
                assert words[0] >= last
                last = words[0]
        assert last > 1, "the writer stood still"
    finally:
        kill(hammer)


# ------------------------------------------------------------------------------------------------------- snapshots


def test_the_newest_snapshot_wins(engine: EngineSide, control: Segment) -> None:
    params = default_params()
    assert control.params() is None
    assert engine.take_params() is None
    for number in (1, 2, 3):
        params["system"]["panic.is_on"] = number
        control.publish(params)
    assert engine.take_params() == params.tobytes()
    assert engine.take_params() is None
    assert control.params().tobytes() == params.tobytes()


def test_what_is_no_snapshot_is_not_published(control: Segment) -> None:
    wrongs: list[Any] = [np.zeros(3, np.float32), np.zeros(2, default_params().dtype)]
    for wrong in wrongs:
        with pytest.raises(TypeError):
            control.publish(wrong)
    assert control.params() is None


PUBLISHER = """
import sys
from pathlib import Path
from typing import Any
import numpy as np
from dsp_kernels.contract.layout import default_params
from firmware.segment import Segment
control, params = Segment(Path(sys.argv[1]), is_control=True), default_params()
words, number = params.reshape(1).view(np.float32), float(sys.argv[2])
words[:] = number
control.publish(params)
print("publishes", flush=True)
while True:
    number += 1.0
    words[:] = number
    control.publish(params)
"""


def test_a_control_killed_while_it_publishes_leaves_a_whole_snapshot(engine: EngineSide, path: Path) -> None:
    rng = np.random.default_rng(5)
    last = 0.0
    with control_of(path, False) as view:
        for _ in range(N_SNAPSHOT_KILLS):
            writer = python(PUBLISHER, path, last)
            assert writer.stdout.readline() == "publishes\n"
            for _ in range(int(rng.integers(1, 4000))):
                taken = engine.take_params()
                if taken is not None:
                    words = np.frombuffer(taken, np.float32)
                    assert (words == words[0]).all(), "two snapshots in one"
                    assert words[0] >= last
                    last = float(words[0])
            kill(writer)
            left = view.params().reshape(1).view(np.float32)
            assert (left == left[0]).all(), "the one that was left is torn"
    assert last > N_SNAPSHOT_KILLS


# ------------------------------------------------------------------------------------------------------- notebooks


def test_a_notebook_holds_what_was_written_last(control: Segment) -> None:
    assert control.read_notebook(STATE_NOTEBOOK) == b""
    for memory in (b"one", b"", b"x" * (1 << 19), b"two"):
        control.write_notebook(STATE_NOTEBOOK, memory)
        assert control.read_notebook(STATE_NOTEBOOK) == memory
    assert control.read_notebook(EVIDENCE_NOTEBOOK) == b""


def test_what_does_not_fit_into_a_notebook_leaves_the_page_before(control: Segment) -> None:
    control.write_notebook(STATE_NOTEBOOK, b"before")
    control.write_notebook(STATE_NOTEBOOK, b"x" * ((1 << 19) + 1))
    assert control.read_notebook(STATE_NOTEBOOK) == b"before"


@pytest.mark.parametrize("notebook", [-1, 3, 2**31 - 1])
def test_a_notebook_that_does_not_exist_is_empty(control: Segment, notebook: int) -> None:
    control.write_notebook(notebook, b"memory")
    assert control.read_notebook(notebook) == b""


def test_a_damaged_page_reads_as_empty(control: Segment, path: Path) -> None:
    control.write_notebook(STATE_NOTEBOOK, bytes(range(256)) * 20)
    with Damage(path) as damage:
        page = damage.read("notebook[0].newest") & 1
        at = int(np.random.default_rng(1).integers(5000))
        for field, change in ((f"notebook[0].page[{page}].bytes", at), (f"notebook[0].page[{page}].n_bytes", 0)):
            offset = offsets()[field][0] + change
            before = damage._map[offset]
            damage._map[offset] = before ^ 0x10
            assert control.read_notebook(STATE_NOTEBOOK) == b""
            damage._map[offset] = before
        damage.number(f"notebook[0].page[{page}].n_bytes", 2**32 - 1)
        assert control.read_notebook(STATE_NOTEBOOK) == b""


WRITER = """
import sys
from pathlib import Path
from typing import Any
from firmware.segment import Segment
control, number = Segment(Path(sys.argv[1]), is_control=True), 0
control.write_notebook(0, b"first" * 1000)
print("writes", flush=True)
while True:
    number += 1
    control.write_notebook(0, number.to_bytes(4, "little") * (1000 + number % 50))
"""


def test_a_control_killed_while_it_writes_leaves_the_page_before_or_the_new_one(path: Path) -> None:
    EngineSide(path).close()
    rng = np.random.default_rng(6)
    with control_of(path, False) as view:
        for _ in range(8):
            writer = python(WRITER, path)
            assert writer.stdout.readline() == "writes\n"
            for _ in range(int(rng.integers(1, 200))):
                view.status()
            kill(writer)
            left = np.frombuffer(view.read_notebook(STATE_NOTEBOOK).replace(b"first" * 1000, b"\1\0\0\0"), np.uint32)
            assert len(left) > 0, "nothing was left"
            assert (left == left[0]).all()


# ---------------------------------------------------------------------------------------------- threads of a viewer


def test_two_threads_may_look_at_the_status_and_neither_sees_half_of_it(engine: EngineSide, control: Segment) -> None:
    control.beat(7)
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            assert not control.is_control_behind

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(3000):
            status = control.status()
            assert (status.engine_pid, status.control_frame) == (os.getpid(), 7)
    finally:
        is_over.set()
        looking.join()


def test_a_segment_that_was_let_go_of_is_refused_and_nobody_waits_for_its_control(path: Path) -> None:
    with EngineSide(path):
        view = control_of(path, False)
        view.close()
        view.close()
        assert not view.is_control_behind
        with pytest.raises(EvenhandError, match="is closed"):
            view.status()


# ------------------------------------------------------------------------------------------------------------ words


def test_histogram_buckets_are_four_an_octave() -> None:
    from firmware.segment import bucket_upper_us, percentile_us

    assert [bucket_upper_us(b) for b in (0, 3, 7, 11)] == [1.25, 2.0, 4.0, 8.0]
    histogram = np.zeros(64, np.uint32)
    assert percentile_us(histogram, 99.9) == 0.0
    histogram[10], histogram[40] = 99, 1
    assert percentile_us(histogram, 50.0) == bucket_upper_us(10)
    assert percentile_us(histogram, 99.9) == bucket_upper_us(40)


def test_python_and_c_lay_an_observation_out_alike() -> None:
    from firmware.live_extension import live_extension

    ffi, _ = live_extension()
    assert OBSERVATION_DTYPE.itemsize == ffi.sizeof("eh_observation")
    for name in OBSERVATION_DTYPE.names:
        assert OBSERVATION_DTYPE.fields[name][1] == ffi.offsetof("eh_observation", name)
