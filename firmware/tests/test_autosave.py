"""The state outlives a power cut, whatever the disk does, and no tick waits for it."""

from __future__ import annotations

import errno
import os
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware.control import slots
from firmware.control.autosave import BEFORE, LAST, NEXT, Autosave, load_last
from firmware.control.control import Control
from firmware.control.mixer_state import MixerState, Mode
from firmware.control.scenes import Scene, _scene, as_toml, read_scene, write_scene
from firmware.errors import EvenhandError
from firmware.observation import ChannelSetup
from firmware.tests.control_plant import Plant, Source, setups

RATE_HZ = 48000.0
NAMES = ("kick", "vox", "mic 3")
EVERY_S = 5.0


@pytest.fixture
def control() -> Control:
    plant = Plant(Control(setups(*NAMES), sample_rate_hz=RATE_HZ), [Source(-30.0), Source(-24.0), Source(-35.0)])
    return plant.run(5.0).control


class Disk:
    """Takes scenes as a disk does: when it likes, and not always."""

    def __init__(self) -> None:
        self.is_ready = threading.Event()
        self.is_ready.set()
        self.is_asked = threading.Event()
        self.refuses: Exception | None = None
        self.n_asked = 0
        self.scenes: list[Scene] = []

    def write(self, scene: Scene, path: Path) -> None:
        self.n_asked += 1
        self.is_asked.set()
        assert self.is_ready.wait(60.0), "nobody let the disk go on"
        if self.refuses is not None:
            raise self.refuses
        self.scenes.append(scene)
        write_scene(scene, path)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.is_ready.set()


def test_what_a_backup_brought_is_the_last_state_at_the_next_start_and_only_then(tmp_path: Path) -> None:
    state, restored = tmp_path / "state", tmp_path / "restored.toml"
    state.mkdir()
    write_scene(Scene(title="from before"), state / LAST)
    write_scene(Scene(title="of the backup"), restored)
    scene, notes = load_last(state, NAMES, restored)
    assert scene.title == "of the backup"
    assert any("restored from a backup" in note for note in notes)
    assert read_scene(state / BEFORE).title == "from before"
    assert not restored.exists()
    restored.write_text("no scene")
    scene, notes = load_last(state, NAMES, restored)
    assert scene.title == "of the backup"
    assert any("the backup's state is not used" in note for note in notes)
    assert not restored.exists()


def settle(autosave: Autosave) -> None:
    """Wait until the other thread has nothing to do."""
    assert autosave._is_idle.wait(60.0), "the writer hangs"


def turn(control: Control, level_db: float) -> None:
    control.set_parameter("channel", 0, "fader.level_db", level_db)


# ----------------------------------------------------------------------------------------------------- round trips


def test_the_next_start_has_the_same_state(tmp_path: Path, control: Control) -> None:
    control.set_mode("channel", 1, "eq", Mode.ASSIST)
    control.set_locked("main", 0, "limiter", True)
    control.set_amount("channel", 2, "pan", 33.3)
    turn(control, -7.123)
    with Autosave(tmp_path / "state" / "box") as autosave:
        assert autosave.look(control, 0.0) == []
    scene, notes = load_last(tmp_path / "state" / "box", NAMES)
    assert notes == []
    again = Control(setups(*NAMES), sample_rate_hz=RATE_HZ, scene=scene)
    assert again.state.state_hash() == control.state.state_hash()


def test_a_guess_is_not_kept_as_a_fact(tmp_path: Path) -> None:
    channels = [ChannelSetup(name="mic 1", role="snare"), ChannelSetup(name="vox"), ChannelSetup(name="mic 3")]
    control = Control(channels, sample_rate_hz=RATE_HZ)
    control._roles._classifier.roles[2] = ("bass", 0.9)
    control._roles._show()
    with Autosave(tmp_path) as autosave:
        autosave.look(control, 0.0)
    scene, _ = load_last(tmp_path, [c.name for c in channels])
    assert scene.roles == {0: "snare"}


@pytest.mark.parametrize("usual_percent", [100.0, 50.0, 33.3, 0.0])
def test_a_scene_keeps_all_that_the_state_hash_covers(usual_percent: float) -> None:
    rng = np.random.default_rng(int(usual_percent))
    state = MixerState(usual_percent)
    state.values[:] = [float(rng.uniform(a, b)) for a, b in zip(slots.MINIMUM, slots.MAXIMUM, strict=True)]
    state.values[slots.IS_DISCRETE] = np.rint(state.values[slots.IS_DISCRETE])
    state.mode[:] = rng.integers(0, 3, state.mode.size)
    state.is_locked[:] = rng.random(state.mode.size) < 0.5
    some = rng.choice(state.mode.size, 100, replace=False)
    state.amount_percent[some] = rng.uniform(0.0, 100.0, 100)
    state.amount_percent[some[:5]] = 100.0  # the default elsewhere, not here
    state.set_mode("channel", 0, "eq", Mode.AUTO)
    back = MixerState()
    scene_through_toml(Scene.of(state)).apply(back)
    assert back.state_hash() == state.state_hash()
    assert (back.values == state.values).all()
    assert (back.amount_percent == state.amount_percent).all()


def scene_through_toml(scene: Scene) -> Scene:
    return _scene(tomllib.loads(as_toml(scene)))


def test_one_amount_for_all_is_one_line() -> None:
    assert as_toml(Scene.of(MixerState(50.0))).count("\n") == 3


def test_minus_zero_is_zero() -> None:
    state, other = MixerState(), MixerState()
    state.values[slots.slot("channel", 0, "eq.1.gain_db")] = -0.0
    assert state.state_hash() == other.state_hash()


@pytest.mark.parametrize("name", ["a\ud800b", "\U000e0001", "\x00\x7f\u2028", 'q" \\ \t\n'], ids=ascii)
def test_a_name_of_any_characters_can_be_read_back(tmp_path: Path, name: str) -> None:
    write_scene(Scene(names={0: name}), tmp_path / "a.toml")
    assert read_scene(tmp_path / "a.toml").names[0] == name.replace("\ud800", "\ufffd")


def test_a_name_that_is_too_long_for_a_scene_is_cut(tmp_path: Path) -> None:
    control = Control(setups("x" * 200), sample_rate_hz=RATE_HZ)
    turn(control, -3.0)
    with Autosave(tmp_path) as autosave:
        autosave.look(control, 0.0)
    scene, notes = load_last(tmp_path, ["x" * 200])
    assert notes == []
    assert scene.values["channel", 0, "fader.level_db"] == -3.0


def test_a_copy_stays_as_it_was(control: Control) -> None:
    twin = control.state.copy()
    before = control.state.state_hash()
    turn(control, -33.0)
    assert twin.state_hash() == before != control.state.state_hash()


# --------------------------------------------------------------------------------------------------------- when


def test_it_writes_what_changed_and_not_too_often(tmp_path: Path, control: Control, disk: Disk) -> None:
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        for n in range(1000):  # 20 s, something moves each tick
            turn(control, -0.01 * n)
            autosave.look(control, n * 0.02)
            settle(autosave)
        assert disk.n_asked == 4
        for n in range(1000, 2000):
            autosave.look(control, n * 0.02)
            settle(autosave)
        assert disk.n_asked == 5  # the rest of the change, and then nothing


def test_a_lock_or_mode_is_a_change_as_well(tmp_path: Path, control: Control, disk: Disk) -> None:
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        for n, change in enumerate((
            lambda: None,
            lambda: control.set_locked("channel", 0, "eq", True),
            lambda: control.set_mode("channel", 1, "eq", Mode.MANUAL),
            lambda: control.set_amount("channel", 2, "eq", 12.5),
        )):  # fmt: skip
            change()
            autosave.look(control, n * EVERY_S)
            settle(autosave)
            assert disk.n_asked == n + 1


def test_leaving_writes_the_newest_state(tmp_path: Path, control: Control, disk: Disk) -> None:
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        autosave.look(control, 0.0)
        turn(control, -42.0)
        autosave.look(control, 0.02)
    assert disk.scenes[-1].values["channel", 0, "fader.level_db"] == -42.0


def test_a_clock_that_goes_back_does_not_stop_it(tmp_path: Path, control: Control, disk: Disk) -> None:
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        autosave.look(control, 5000.0)
        settle(autosave)
        turn(control, -42.0)
        autosave.look(control, 0.0)
        settle(autosave)
        assert disk.n_asked == 2


# ---------------------------------------------------------------------------------------------------- a bad disk


def test_no_tick_waits_for_a_slow_disk(tmp_path: Path, control: Control, disk: Disk) -> None:
    """The disk goes on only after all the looks: one that waited for it would hang."""
    disk.is_ready.clear()
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        for n in range(1000):
            turn(control, -0.01 * n)
            assert autosave.look(control, float(n)) == []
        assert disk.n_asked <= 1
        assert disk.scenes == []
        disk.is_ready.set()
        settle(autosave)
        autosave.look(control, 1000.0)
    assert disk.n_asked == 2  # the first and the newest; what came between is nobody's business
    assert disk.scenes[-1].values["channel", 0, "fader.level_db"] == pytest.approx(-9.99)


def test_what_is_written_is_the_state_of_one_moment(tmp_path: Path, control: Control, disk: Disk) -> None:
    disk.is_ready.clear()
    expected = control.state.state_hash()
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        autosave.look(control, 0.0)
        for n in range(50):
            turn(control, -0.5 * n)
        disk.is_ready.set()
        settle(autosave)
        state = MixerState()
        disk.scenes[0].apply(state)
        assert state.state_hash() == expected


def test_a_full_disk_is_told_once_tried_again_and_told_when_it_is_over(
    tmp_path: Path, control: Control, disk: Disk
) -> None:
    full = "last.toml: cannot be written: No space left on device; the scene from before stands"
    disk.refuses = EvenhandError(full)
    told: list[list[str]] = []
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        for n in range(6):
            if n == 4:
                disk.refuses = None
            told.append(autosave.look(control, n * EVERY_S))
            settle(autosave)
        told.append(autosave.look(control, 6 * EVERY_S))
    assert disk.n_asked == 5
    assert len(disk.scenes) == 1
    lines = [line for lines in told for line in lines]
    assert lines == [f"{full}; tried again every 5 s", f"{tmp_path / LAST}: written again"]


@pytest.mark.parametrize("trouble", [OSError(errno.EROFS, "Read-only file system"), ValueError("our own bug")], ids=str)
def test_no_trouble_of_any_kind_reaches_the_tick(
    tmp_path: Path, control: Control, disk: Disk, trouble: Exception
) -> None:
    disk.refuses = trouble
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        autosave.look(control, 0.0)
        settle(autosave)
        (line,) = autosave.look(control, 0.02)
        assert "last.toml: cannot be written: " in line
        assert str(trouble.args[-1]) in line
        assert "\n" not in line
        disk.refuses = None
        autosave.look(control, EVERY_S)
        settle(autosave)
        assert len(disk.scenes) == 1


def test_a_folder_that_is_a_file_is_told_and_then_it_works(tmp_path: Path, control: Control) -> None:
    folder = tmp_path / "state"
    folder.write_text("in the way")
    with Autosave(folder, every_s=EVERY_S) as autosave:
        autosave.look(control, 0.0)
        settle(autosave)
        (line,) = autosave.look(control, 1.0)
        assert "state/last.toml: cannot be written: File exists; tried again every 5 s" in line
        folder.unlink()
        autosave.look(control, EVERY_S)
        settle(autosave)
        assert (folder / LAST).is_file()


# -------------------------------------------------------------------------------------------------- a bad start


def fill(folder: Path, **levels_db: float) -> None:
    for name, level_db in levels_db.items():
        scene = Scene(values={("channel", 0, "fader.level_db"): level_db}, names=dict(enumerate(NAMES)))
        write_scene(scene, folder / f"{name.replace('_', '-')}.toml")


def level_of(scene: Scene) -> float:
    return scene.values["channel", 0, "fader.level_db"]


def test_an_empty_or_missing_folder_is_a_fresh_start(tmp_path: Path) -> None:
    assert load_last(tmp_path, NAMES) == (None, [])
    assert load_last(tmp_path / "none", NAMES) == (None, [])


CORRUPT = {
    "torn": (lambda text: text[: len(text) // 2], "SHA-256 in its first line"),
    "of zeros": (lambda text: "\0" * 4096, "is not TOML"),
    "empty": (lambda text: "", "names no contract_id"),
    "of another digit": (lambda text: text.replace("-1.0", "-0.0"), "SHA-256 in its first line"),
    "foreign": (lambda text: 'contract_id = "000000000000"\n', "written for contract '000000000000'"),
}


@pytest.mark.parametrize("how", CORRUPT)
def test_what_cannot_be_used_is_set_aside_and_the_one_before_is_taken(tmp_path: Path, how: str) -> None:
    fill(tmp_path, last=-1.0, before=-2.0)
    damage, reason = CORRUPT[how]
    damaged = damage((tmp_path / LAST).read_text())
    (tmp_path / LAST).write_text(damaged)
    scene, notes = load_last(tmp_path, NAMES)
    assert level_of(scene) == -2.0
    assert len(notes) == 2
    assert any(part in notes[0] for part in reason.split("|"))
    assert notes[0].endswith("; set aside as set-aside-1.toml")
    assert notes[1] == f"{tmp_path / BEFORE}: taken for the last state"
    assert (tmp_path / "set-aside-1.toml").read_text() == damaged
    assert not (tmp_path / LAST).exists()


def test_what_was_set_aside_is_never_overwritten_and_may_be_of_use_again(tmp_path: Path) -> None:
    """Another firmware's state is foreign until that firmware is back."""
    fill(tmp_path, set_aside_3=-3.0, set_aside_12=-12.0)
    for name in (LAST, BEFORE):
        (tmp_path / name).write_text("broken")
    scene, notes = load_last(tmp_path, NAMES)
    assert level_of(scene) == -12.0
    assert [note.split("; ")[-1] for note in notes[:2]] == [
        "set aside as set-aside-13.toml", "set aside as set-aside-14.toml"]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing"])
def test_what_is_no_file_is_set_aside_too(tmp_path: Path, kind: str) -> None:
    path = tmp_path / LAST
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "link to nothing": lambda: path.symlink_to("none")}[kind]()
    scene, notes = load_last(tmp_path, NAMES)
    assert scene is None
    assert "set aside as" in notes[0]
    with Autosave(tmp_path) as autosave:
        autosave.look(Control(setups(*NAMES), sample_rate_hz=RATE_HZ), 0.0)
    assert path.is_file()


def test_a_killed_writer_leaves_nothing_behind_for_ever(tmp_path: Path) -> None:
    fill(tmp_path, last=-1.0)
    for name in (".last.toml.x8d7f.part", ".before.toml.link.part"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".other.part").write_text("somebody else's")
    assert level_of(load_last(tmp_path, NAMES)[0]) == -1.0
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.part", LAST]


def test_each_write_keeps_the_one_before(tmp_path: Path, control: Control) -> None:
    with Autosave(tmp_path, every_s=EVERY_S) as autosave:
        for n, level_db in enumerate((-1.0, -2.0, -3.0)):
            turn(control, level_db)
            autosave.look(control, n * EVERY_S)
            settle(autosave)
    assert [level_of(read_scene(tmp_path / name)) for name in (LAST, BEFORE)] == [-3.0, -2.0]


def test_two_states_are_on_the_disk_in_two_files_however_long_it_takes_to_write_the_third(
    tmp_path: Path, control: Control, disk: Disk
) -> None:
    """One bad block costs one of them, also of a process that is killed while it writes."""
    with Autosave(tmp_path, every_s=EVERY_S, write=disk.write) as autosave:
        for n, level_db in enumerate((-1.0, -2.0, -3.0)):
            if n == 2:
                disk.is_ready.clear()
                disk.is_asked.clear()
            turn(control, level_db)
            autosave.look(control, n * EVERY_S)
            if n < 2:
                settle(autosave)
        assert disk.is_asked.wait(60.0)
        last, before = tmp_path / LAST, tmp_path / BEFORE
        assert last.stat().st_ino != before.stat().st_ino
        assert [level_of(read_scene(path)) for path in (last, before)] == [-2.0, -1.0]
        disk.is_ready.set()


def test_a_state_that_was_written_and_not_yet_the_last_is_the_newest(tmp_path: Path) -> None:
    fill(tmp_path, next=-3.0, last=-2.0, before=-1.0)
    assert level_of(load_last(tmp_path, NAMES)[0]) == -3.0
    fill(tmp_path, next=-3.0, last=-2.0, before=-1.0)
    (tmp_path / NEXT).write_text("broken")
    assert level_of(load_last(tmp_path, NAMES)[0]) == -2.0
    fill(tmp_path, next=-3.0, last=-2.0, before=-1.0)
    restored = tmp_path / "restored.toml"
    write_scene(Scene(title="of the backup"), restored)
    scene, _ = load_last(tmp_path, NAMES, restored)
    assert scene is not None
    assert scene.title == "of the backup", "what a backup brought is newer still"
    assert level_of(read_scene(tmp_path / BEFORE)) == -3.0


def test_what_the_disk_has_changed_does_not_become_the_one_before(tmp_path: Path, control: Control) -> None:
    with Autosave(tmp_path, every_s=EVERY_S) as autosave:
        for n, level_db in enumerate((-1.0, -2.0, -3.0)):
            turn(control, level_db)
            autosave.look(control, n * EVERY_S)
            settle(autosave)
            if n == 1:
                (tmp_path / LAST).write_text((tmp_path / LAST).read_text().replace("-2.0", "-20.0"))
    assert [level_of(read_scene(tmp_path / name)) for name in (LAST, BEFORE)] == [-3.0, -1.0]


def test_a_last_state_that_cannot_be_linked_becomes_the_one_before_all_the_same(
    tmp_path: Path, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # as of a file that root wrote by hand

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    fill(tmp_path, last=-2.0)
    turn(control, -3.0)
    with Autosave(tmp_path) as autosave:
        autosave.look(control, 0.0)
    assert [level_of(read_scene(tmp_path / name)) for name in (LAST, BEFORE)] == [-3.0, -2.0]


def test_a_channel_with_another_name_begins_afresh(tmp_path: Path, control: Control) -> None:
    turn(control, -7.0)
    control.set_parameter("channel", 1, "fader.level_db", -8.0)
    with Autosave(tmp_path) as autosave:
        autosave.look(control, 0.0)
    scene, notes = load_last(tmp_path, ["snare", "vox", "mic 3"])
    assert notes == ["channel 1 was kick, is snare: begins afresh"]
    assert not [key for key in scene.values if key[:2] == ("channel", 0)]
    assert not [key for key in scene.permissions if key[:2] == ("channel", 0)]
    assert scene.values["channel", 1, "fader.level_db"] == -8.0
    assert ("record", 0, "ride.gain_db") in scene.values
