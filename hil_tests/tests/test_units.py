"""The simulated box is started by the command lines of the units, with the paths of a box led into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hil_tests.drivers.card_link import ROOT
from hil_tests.drivers.units import UNITS, BoxPlaces, read_settings, read_unit
from hil_tests.errors import HilError

PLACES = BoxPlaces(ROOT, Path("/dev/shm/box/root"))
SETTINGS = read_settings(ROOT / UNITS / "box.env")


def test_engine_is_started_as_its_unit_says() -> None:
    unit = read_unit("engine", PLACES, {**SETTINGS, "EVENHAND_ENGINE_OPTIONS": "--pcm 'hw:CARD=My Card'"})
    assert unit.command[0] == sys.executable
    assert "firmware.engine_process" in unit.command
    assert "/dev/shm/box/root/run/evenhand/segment" in unit.command
    assert unit.command[-2:] == ("--pcm", "hw:CARD=My Card")
    assert (unit.says_ready, unit.is_restarted_always, unit.restart_s) == (True, True, 0.0)


def test_recorder_that_gives_up_is_left_alone() -> None:
    unit = read_unit("recorder", PLACES, SETTINGS)
    assert unit.final_statuses == (1, 2)
    assert not unit.is_restarted_always


def test_environment_of_a_unit_goes_along() -> None:
    assert read_unit("control", PLACES, SETTINGS).environment == {"OPENBLAS_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("/run/evenhand/segment", "/dev/shm/box/root/run/evenhand/segment"),
        ("rm -f /run/evenhand-agent/restart;", "rm -f /dev/shm/box/root/run/evenhand-agent/restart;"),
        ("--state=/var/lib/evenhand", "--state=/dev/shm/box/root/var/lib/evenhand"),
        ("/var/lib/evenhands", "/var/lib/evenhands"),
        ("/dev/shm/box/root/run/evenhand/segment", "/dev/shm/box/root/run/evenhand/segment"),
        ("cd /opt/evenhand", f"cd {ROOT}"),
    ],
)
def test_paths_of_a_box_lead_into_the_folder_and_no_other_does(text: str, here: str) -> None:
    assert PLACES.here(text) == here


@pytest.mark.parametrize("path", ["/etc/passwd", "/run/evenhand/../../etc/passwd", "run/evenhand/x"])
def test_file_that_is_not_the_mixers_is_refused(path: str) -> None:
    with pytest.raises(HilError, match="not on this box"):
        PLACES.file(path)


def test_variable_that_nobody_sets_is_said_by_name() -> None:
    with pytest.raises(HilError, match=r"evenhand-engine\.service: 'EVENHAND_BOARD'"):
        read_unit("engine", PLACES, {})
