"""The list of planted faults fits the firmware as it is; and every one of them is caught."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hil_tests.errors import HilError
from hil_tests.mutations import ROOT, Mutation, Outcome, check, read_mutations, try_test
from hil_tests.mutations_report import JUNIT, PAGE, list_digest, read_record, section, write_reports

MUTATIONS = read_mutations()


def test_there_are_fifteen_faults_or_more() -> None:
    assert len(MUTATIONS) >= 15


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_fault_fits_the_firmware_and_names_a_test_that_exists(mutation: Mutation, tmp_path: Path) -> None:
    target = tmp_path / mutation.file
    target.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutation.file, target)
    mutation.apply(tmp_path)
    assert target.read_text() != (ROOT / mutation.file).read_text()
    file, _, test = mutation.test.partition("::")
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file} has no {test}"
    assert mutation.rig == file.startswith("hil_tests/")


def planted(**changes: str) -> Mutation:
    words: dict[str, Any] = {
        "name": "a",
        "fault": "",
        "file": "a.c",
        "text": "int a;",
        "replacement": "int b;",
        "test": "t.py::test_a",
    }
    return Mutation(**{**words, "says": ".", **changes})


def test_a_fault_that_no_longer_fits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int a;\nint a;\n")
    with pytest.raises(HilError, match=r"stale: its text stands 2 times in a\.c"):
        planted(name="stale").apply(tmp_path)


@pytest.mark.parametrize(
    ("body", "is_caught", "words"),
    [
        ("assert 1 == 2, 'too loud'", True, "too loud"),
        ("assert 1 == 2, 'no card'", False, "another reason than 'too loud': .*no card"),
        ("pass", False, "1 passed"),
        ("import nothing_of_that_name", False, "another reason"),
    ],
)
def test_only_a_failure_in_the_words_that_were_expected_is_a_catch(
    tmp_path: Path, body: str, is_caught: bool, words: str
) -> None:
    (tmp_path / "test_t.py").write_text(f"def test_a():\n    {body}\n")
    got, message = try_test(tmp_path, planted(test="test_t.py::test_a", says="too loud"))
    assert got == is_caught, message
    assert re.search(words, message)


def test_test_that_cannot_begin_is_no_catch(tmp_path: Path) -> None:
    (tmp_path / "test_t.py").write_text("import nothing_of_that_name\ndef test_a():\n    assert False\n")
    assert not try_test(tmp_path, planted(test="test_t.py::test_a"))[0]


def test_reports_name_each_fault_and_what_became_of_it(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert section(None).count("not run") == len(MUTATIONS)
    caught = Outcome(mutation=MUTATIONS[0], is_caught=True, message="0 > 1 & worse", seconds=7.4)
    missed = Outcome(mutation=MUTATIONS[1], is_caught=False, message="\x1b[1m1 passed", seconds=8.0)
    write_reports([caught, missed], tmp_path / "out", began_s=time.time(), list_sha256=list_digest())
    page = (tmp_path / "out" / PAGE).read_text()
    assert all(mutation.fault in page and mutation.name in page for mutation in MUTATIONS)
    assert f"1 of {len(MUTATIONS)} faults planted" in page
    assert "0 &gt; 1 &amp; worse" in page
    assert section(read_record(tmp_path / "out")) in page
    suite = ElementTree.parse(tmp_path / "out" / JUNIT).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert suite.find(f"testcase[@name='{MUTATIONS[1].name}']/failure") is not None
    assert read_record(tmp_path / "out")["outcomes"][0]["message"] == "0 > 1 & worse"


@pytest.mark.soak
def test_every_fault_is_caught(tmp_path: Path) -> None:
    outcomes = check(MUTATIONS, tmp_path, print)
    assert not [outcome.line() for outcome in outcomes if not outcome.is_caught]
