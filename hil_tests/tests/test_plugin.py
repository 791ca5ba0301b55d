"""The plug-in, run as a person runs it: which tests run on which rig, and what the page shows of one that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from hil_tests.drivers.card_link import ROOT
from hil_tests.drivers.units import UNITS
from hil_tests.rig import load_rig

TESTS = """
import numpy as np
import pytest
from hil_tests.board import play

@pytest.mark.needs("serial")
def test_types(box): pass

@pytest.mark.needs("audio_loopback", "power")
def test_is_dead_loud(box, record_property):
    record_property("latency_frames", 176)
    sound = np.zeros((4800, box.audio.n_inputs), np.float32)
    sound[100, 0] = 0.5
    assert np.abs(play(box.audio, sound, tail_frames=960).sound).max() > 2.0

@pytest.mark.needs("power")
def test_begins_with_power(box): assert box.has_power and box.card.report()["state"] == "running"

def test_needs_no_rig(): pass
"""


def run(folder: Path, *options: str, tests: str = TESTS) -> subprocess.CompletedProcess[str]:
    (folder / "test_box.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "hil_tests.plugin", "-p", "no:cacheprovider", "-ra", "-q",
               "--rootdir", str(folder), f"--junitxml={folder}/junit.xml", str(folder), *options]  # fmt: skip
    return subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def outcomes(folder: Path) -> dict[str, str]:
    found = {}
    for case in ET.parse(folder / "junit.xml").iter("testcase"):
        marks = [child for child in case if child.tag in ("failure", "error", "skipped")]
        found[case.attrib["name"]] = f"{marks[0].tag}: {marks[0].attrib['message']}" if marks else "passed"
    return found


def test_without_a_rig_what_needs_one_is_skipped_and_all_else_runs(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
    found = outcomes(tmp_path)
    assert found.pop("test_needs_no_rig") == "passed"
    assert set(found.values()) == {"skipped: no rig; name one with --rig sim"}


def test_test_runs_on_each_rig_that_has_what_it_needs_and_says_what_others_lack(tmp_path: Path) -> None:
    sim = load_rig("sim").path
    board = f'board = "{sim.parent / "boards/sim_box.toml"}"'
    mute = tmp_path / "mute.toml"
    mute.write_text(f'title = "No sound"\ndriver = "sim"\nhas = ["power"]\n[sim]\n{board}\n')
    done = run(tmp_path, "--rig", "sim", "--rig", str(mute), "--hil-report", str(tmp_path / "page.html"))
    assert done.returncode == 1, done.stdout
    found = outcomes(tmp_path)
    failed = found.pop("test_is_dead_loud[sim]")
    assert failed.startswith("failure: AssertionError"), failed
    assert found == {
        "test_types[sim]": "skipped: rig sim has no serial",
        "test_types[mute]": "skipped: rig mute has no serial",
        "test_is_dead_loud[mute]": "skipped: rig mute has no audio_loopback",
        "test_begins_with_power[sim]": "passed",
        "test_begins_with_power[mute]": "passed",
        "test_needs_no_rig": "passed",
    }
    assert_page_shows_it((tmp_path / "page.html").read_text())


def assert_page_shows_it(page: str) -> None:
    for shown in ("is dead loud [sim]", "broken", "latency_frames 176", "rig mute has no audio_loopback", "<svg",
                  "input 1 -6.0 dBFS", "data:audio/wav;base64,", "listens on port"):  # fmt: skip
        assert shown in page, shown
    assert "http://" not in page
    assert "https://" not in page  # it needs nothing but itself


@pytest.mark.parametrize(
    ("options", "tests", "words"),
    [
        (["--rig", "simm"], TESTS, 'no rig "simm"; did you mean sim?'),
        (["--rig", "sim"], '@__import__("pytest").mark.needs("powr")\ndef test_x(box): pass\n',
         'test_x: no rig can have "powr"; did you mean power?'),
    ],
    ids=["rig", "fixture"],
)  # fmt: skip
def test_slip_of_the_finger_is_one_line(options: list[str], tests: str, words: str, tmp_path: Path) -> None:
    done = run(tmp_path, *options, tests=tests)
    told = done.stdout + done.stderr
    assert done.returncode in (2, 4), told
    assert words in told
    assert "Traceback" not in told


def test_box_that_does_not_come_up_is_not_tried_again(tmp_path: Path) -> None:
    sim = load_rig("sim").path
    shutil.copytree(ROOT / UNITS, tmp_path / "checkout" / UNITS)
    (tmp_path / "checkout/firmware/__init__.py").write_text('raise SystemExit("broken on purpose")\n')
    rig = tmp_path / "broken.toml"
    rig.write_text(
        f'title = "Broken"\ndriver = "sim"\nhas = ["power"]\n[sim]\nboard = "{sim.parent / "boards/sim_box.toml"}"\n'
        'checkout = "checkout"\n'
    )
    run(tmp_path, "--rig", str(rig), tests="def test_a(box): pass\ndef test_b(box): pass\n")
    found = outcomes(tmp_path)
    assert "broken on purpose" in found["test_a[broken]"]
    assert "rig broken is broken since an earlier test" in found["test_b[broken]"]
