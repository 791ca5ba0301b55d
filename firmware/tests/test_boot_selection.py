"""Which slot boots: what RAUC asks and says through the back end, and what a box does with it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from firmware.errors import EvenhandError
from firmware.system import grub_env
from firmware.system.boot_backend import main
from firmware.system.boot_selection import (
    FILE_BYTES,
    PARTITION_OF,
    BootSelection,
    Selection,
    read_selection,
    selection_bytes,
)

SECTOR_BYTES = 512


class Box:
    """The files that a box's boot loader leaves, under a folder."""

    def __init__(self, root: Path, *, committed: str, booted: str) -> None:
        self.root = root
        self.file = root / "boot/select/autoboot.txt"
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(selection_bytes(committed))
        (root / "run/evenhand-boot").mkdir(parents=True)
        (root / "run/evenhand-boot/slot").write_text(f"EVENHAND_SLOT={booted}\n")
        (root / "data").mkdir()

    def backend(self, *words: str) -> int:
        return main(list(words), self.root)

    @property
    def next_slot(self) -> str:
        """What the boot loader takes after a reboot."""
        said = read_selection(self.file.read_bytes())
        parameter = self.root / "run/systemd/reboot-param"
        is_try = parameter.exists() and parameter.read_text() == "0 tryboot"
        return said.trial if is_try else said.committed

    @property
    def next_slot_after_a_power_cut(self) -> str:
        return read_selection(self.file.read_bytes()).committed


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a ``mount`` on PATH that writes down how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "mounts"
    program = folder / "mount"
    program.write_text(f'#!/bin/sh\necho "$2" >>{log}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    log.touch()
    return log


@pytest.mark.parametrize("slot", ["a", "b"])
def test_selection_is_one_sector_of_plain_text_that_says_both_slots(slot: str) -> None:
    content = selection_bytes(slot)
    assert len(content) == FILE_BYTES == SECTOR_BYTES
    assert content.decode("ascii").splitlines()[1:6] == [
        "[all]", "tryboot_a_b=1", f"boot_partition={PARTITION_OF[slot]}", "[tryboot]",
        f"boot_partition={5 - PARTITION_OF[slot]}",
    ]  # fmt: skip
    assert read_selection(content) == Selection(committed=slot, trial="b" if slot == "a" else "a")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 512, b"[all]\nboot_partition=2\n", b"boot_partition=9\n", b"\xff" * 9]
)
def test_selection_that_names_no_two_slots_is_refused(content: bytes) -> None:
    with pytest.raises(EvenhandError, match=r"autoboot\.txt"):
        read_selection(content)


def test_update_is_tried_once_and_then_committed(tmp_path: Path, mounts: Path) -> None:
    box = Box(tmp_path / "box", committed="a", booted="a")
    assert box.backend("set-state", "b", "bad") == 0  # RAUC begins to write b
    assert box.next_slot == "a"
    assert box.backend("set-primary", "b") == 0  # and has written it
    assert (box.next_slot, box.next_slot_after_a_power_cut) == ("b", "a")
    assert mounts.read_text() == ""  # nothing was written where the boot loader reads

    tried = Box(tmp_path / "tried", committed="a", booted="b")
    assert tried.next_slot == "a"  # until it is good
    assert tried.backend("set-state", "b", "good") == 0
    assert (tried.next_slot, tried.next_slot_after_a_power_cut) == ("b", "b")
    assert mounts.read_text().split() == ["remount,rw", "remount,ro"]


def test_commit_overwrites_the_file_in_its_place(tmp_path: Path, mounts: Path) -> None:
    box = Box(tmp_path / "box", committed="a", booted="b")
    inode = box.file.stat().st_ino
    assert box.backend("set-state", "b", "good") == 0
    assert box.file.stat().st_ino == inode
    assert box.file.read_bytes() == selection_bytes("b")
    assert mounts.read_text()


def test_commit_that_cannot_write_is_said_and_changes_nothing(
    tmp_path: Path, mounts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Box(tmp_path / "box", committed="a", booted="b")
    (mounts.parent / "bin/mount").write_text("#!/bin/sh\necho 'mount: no such thing' >&2\nexit 32\n")
    assert box.backend("set-state", "b", "good") == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert box.next_slot == "a"


def test_slot_that_fails_its_try_is_left_and_the_committed_one_stays(tmp_path: Path) -> None:
    box = Box(tmp_path / "box", committed="a", booted="b")
    assert box.backend("set-state", "b", "bad") == 0
    assert BootSelection(box.root).is_good("b") is False
    assert box.next_slot == "a"


def test_nothing_that_rauc_says_about_the_committed_slot_takes_it_away(tmp_path: Path, mounts: Path) -> None:
    for words in (
        ("set-state", "a", "bad"),
        ("set-state", "a", "good"),
        ("set-primary", "a"),
        ("set-state", "b", "bad"),
    ):
        box = Box(tmp_path / "-".join(words), committed="a", booted="a")
        assert box.backend(*words) == 0
        assert (box.next_slot, box.next_slot_after_a_power_cut) == ("a", "a")
        assert BootSelection(box.root).is_good("a")
    assert mounts.read_text() == ""


def test_good_word_for_a_slot_that_does_not_run_commits_nothing(tmp_path: Path, mounts: Path) -> None:
    box = Box(tmp_path / "box", committed="a", booted="a")
    assert box.backend("set-state", "b", "good") == 0
    assert box.next_slot == "a"
    assert mounts.read_text() == ""


def test_try_that_was_asked_for_is_taken_back_by_asking_for_the_committed_slot(tmp_path: Path) -> None:
    box = Box(tmp_path / "box", committed="a", booted="a")
    box.backend("set-primary", "b")
    assert box.next_slot == "b"
    box.backend("set-primary", "a")
    assert box.next_slot == "a"


def test_answers_are_what_rauc_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = Box(tmp_path / "box", committed="b", booted="b")
    said = []
    for words in (("get-primary",), ("get-state", "a"), ("get-state", "b")):
        assert box.backend(*words) == 0
        said.append(capsys.readouterr().out)
    assert said == ["b\n", "good\n", "good\n"]
    box.backend("set-state", "a", "bad")
    box.backend("get-state", "a")
    assert capsys.readouterr().out == "bad\n"
    box.backend("set-primary", "a")
    for words in (("get-primary",), ("get-state", "a")):
        box.backend(*words)
    assert capsys.readouterr().out == "a\ngood\n"


@pytest.mark.parametrize(
    "words", [[], ["get-primary", "a"], ["set-primary", "c"], ["set-state", "a", "fine"], ["reboot"]]
)
def test_request_that_nobody_knows_is_refused(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    box = Box(tmp_path / "box", committed="a", booted="a")
    assert box.backend(*words) == 1
    assert "is no request" in capsys.readouterr().err
    assert box.next_slot == "a"


def test_box_of_another_kind_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get-primary"], tmp_path) == 1
    assert "is the box one of our images?" in capsys.readouterr().err


@pytest.mark.parametrize("cut", range(0, FILE_BYTES + 1, 64))
def test_commit_torn_anywhere_inside_its_sector_boots_one_of_both_or_is_refused_never_something_else(cut: int) -> None:
    """Sectors are written whole, which is what we rely on; a card that breaks even that must not invent a slot."""
    torn = selection_bytes("b")[:cut] + selection_bytes("a")[cut:]
    try:
        found = read_selection(torn)
    except EvenhandError:
        return
    assert {found.committed, found.trial} == {"a", "b"}


# ------------------------------------------------------------------------------------------------------------- a PC


class Pc(Box):
    """The files of a PC, whose GRUB has the choice in its environment block."""

    def __init__(self, root: Path, *, committed: str, booted: str, trial: str = "") -> None:
        super().__init__(root, committed=committed, booted=booted)
        self.file.unlink()
        self.file = root / "boot/select" / grub_env.PLACE
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(grub_env.env_bytes(committed, trial))

    @property
    def next_slot(self) -> str:
        committed, trial = grub_env.read_env(self.file.read_bytes())
        return trial or committed

    @property
    def next_slot_after_a_power_cut(self) -> str:
        return self.next_slot  # the try is on the disk


@pytest.mark.parametrize(("committed", "trial"), [("a", ""), ("b", ""), ("a", "b"), ("b", "a")])
def test_environment_block_is_one_sector_that_grub_knows_by_its_first_line(committed: str, trial: str) -> None:
    content = grub_env.env_bytes(committed, trial)
    assert len(content) == grub_env.ENV_BYTES == SECTOR_BYTES
    assert content.splitlines()[:3] == [
        b"# GRUB Environment Block", f"committed={committed}".encode(), f"trial={trial}".encode()
    ]  # fmt: skip
    assert set(content.splitlines()[3]) == {ord("#")}
    assert grub_env.read_env(content) == (committed, trial)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 512, b"committed=a\n", grub_env.MARK + b"committed=c\n", grub_env.MARK + b"trial=b\n"]
)
def test_environment_block_that_commits_no_slot_is_refused(content: bytes) -> None:
    with pytest.raises(EvenhandError, match="grubenv: commits no slot"):
        grub_env.read_env(content)


def test_update_of_a_pc_is_tried_once_and_then_committed(tmp_path: Path, mounts: Path) -> None:
    box = Pc(tmp_path / "box", committed="a", booted="a")
    inode = box.file.stat().st_ino
    assert box.backend("set-state", "b", "bad") == 0  # RAUC begins to write b
    assert box.next_slot == "a"
    assert box.backend("set-primary", "b") == 0
    assert (box.next_slot, BootSelection(box.root).committed) == ("b", "a")
    assert box.file.stat().st_ino == inode
    assert mounts.read_text().split() == ["remount,rw", "remount,ro"]
    assert not (box.root / "run/systemd/reboot-param").exists()

    tried = Pc(tmp_path / "tried", committed="a", booted="b")  # GRUB has cleared the try
    assert BootSelection(tried.root).is_trial
    assert tried.next_slot == "a"
    assert tried.backend("set-state", "b", "good") == 0
    assert (tried.next_slot, BootSelection(tried.root).is_trial) == ("b", False)


def test_slot_of_a_pc_that_is_written_anew_or_fails_is_not_tried(tmp_path: Path, mounts: Path) -> None:
    box = Pc(tmp_path / "box", committed="a", booted="a", trial="b")
    assert box.backend("set-state", "b", "bad") == 0  # the next update begins
    assert (box.next_slot, BootSelection(box.root).is_good("b")) == ("a", False)
    again = Pc(tmp_path / "again", committed="a", booted="a", trial="b")
    assert again.backend("set-primary", "a") == 0  # taken back
    assert again.next_slot == "a"


@pytest.mark.parametrize("cut", range(0, grub_env.ENV_BYTES + 1, 16))
def test_block_torn_inside_its_sector_boots_one_of_both_or_is_refused(cut: int) -> None:
    torn = grub_env.env_bytes("b")[:cut] + grub_env.env_bytes("a", "b")[cut:]
    try:
        committed, trial = grub_env.read_env(torn)
    except EvenhandError:
        return
    assert committed in ("a", "b")
    assert trial in ("", "b")
