"""The list of planted faults fits the firmware as it is; and every one of them is caught."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from hil_tests.errors import HilError
from hil_tests.mutations import ROOT, Mutation, check, read_mutations

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


def test_a_fault_that_no_longer_fits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int a;\nint a;\n")
    stale = Mutation(
        name="stale", fault="", file="a.c", text="int a;", replacement="int b;", test="t.py::test_a", says="."
    )
    with pytest.raises(HilError, match=r"stale: its text stands 2 times in a\.c"):
        stale.apply(tmp_path)


@pytest.mark.soak
def test_every_fault_is_caught(tmp_path: Path) -> None:
    outcomes = check(MUTATIONS, tmp_path, print)
    assert not [outcome.line() for outcome in outcomes if not outcome.is_caught]
