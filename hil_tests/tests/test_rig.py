"""Rigs are data: the shipped ones are sound, and what a file says wrong is one line with a hint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hil_tests.drivers.choice import box_of
from hil_tests.errors import HilError, NotWiredError
from hil_tests.rig import FIXTURES, check_fixtures, load_rig, rig_names

GOOD = 'title = "My bench"\ndriver = "sim"\nhas = ["power"]\n[sim]\nboard = "sim.toml"\n'


@pytest.mark.parametrize("name", rig_names())
def test_shipped_rig_is_read_and_names_a_box(name: str) -> None:
    rig = load_rig(name)
    assert rig.name == name
    assert box_of(rig).rig is rig


def test_rig_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "venue.toml"
    path.write_text(GOOD)
    assert load_rig(str(path)).lacks(("power", "serial")) == ("serial",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("driver", "drivr"), 'driver is missing'),
        (('"sim"\nhas', '"sin"\nhas'), 'unknown driver "sin"; did you mean sim?'),
        (('["power"]', '["powr"]'), 'no rig can have "powr"; did you mean power?'),
        (('["power"]', '["power", "power"]'), 'names "power" twice'),
        (('["power"]', '"power"'), "has must be a list of texts"),
        (("[sim]\n", ""), "sim is missing; it must be a table"),
        (("[sim]", "[x]\na = 1\n[sim]"), 'unknown key "x"'),
        (("title", "titel"), "title is missing"),
        (('"My bench"', '"My bench'), "is not TOML"),
    ],
)  # fmt: skip
def test_what_a_rig_says_wrong_is_one_line_with_a_hint(change: tuple[str, str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "venue.toml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(HilError, match=re.escape(words)) as caught:
        load_rig(path)
    assert "\n" not in str(caught.value)
    assert "venue.toml" in str(caught.value)


def test_rig_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(HilError, match=r'no rig "simm"; did you mean sim\?'):
        load_rig("simm")
    with pytest.raises(HilError, match=r"nowhere\.toml: cannot be read .*rigs by name"):
        load_rig("./nowhere.toml")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('board = "absent.toml"', "no such file"),
        ('board = "sim_box.toml"\ncheckuot = "."', 'unknown key "checkuot"; did you mean checkout?'),
        ("", "board is missing"),
    ],
)
def test_settings_of_a_driver_are_checked_before_anything_is_started(settings: str, words: str, tmp_path: Path) -> None:
    board = load_rig("sim").path.parent / "boards/sim_box.toml"
    (tmp_path / "sim_box.toml").write_text(board.read_text())
    path = tmp_path / "venue.toml"
    path.write_text(GOOD.replace('board = "sim.toml"', settings))
    with pytest.raises(HilError, match=re.escape(words)):
        box_of(load_rig(path))


def test_what_is_not_wired_is_refused_by_name() -> None:
    rig = load_rig("sim")
    with pytest.raises(NotWiredError, match=r'rig sim has no "serial"; it has audio_loopback, .*'):
        rig.need("serial")


def test_every_fixture_says_what_it_is() -> None:
    check_fixtures(tuple(FIXTURES), "all")
    assert all(text and not text.endswith(".") for text in FIXTURES.values())


def test_image_that_is_not_there_is_said_with_the_way_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IMAGE", "KEYS"):
        monkeypatch.setenv(f"EVENHAND_{name}", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for tool in ("qemu-system-aarch64", "mcopy", "fdtput", "rauc"):
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    with pytest.raises(HilError, match="no image is there; `evenhand image build --board qemu_arm64"):
        box_of(load_rig("qemu_arm64")).__enter__()
