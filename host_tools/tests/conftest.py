"""A laptop and a box for each test that asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools.boxes import FOLDER_VARIABLE, Boxes
from host_tools.tests.box_rig import FakeBox
from host_tools.tests.terminal import Laptop


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laptop:
    """Return a laptop that is paired with nothing."""
    made = Laptop(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(made.config))
    return made


@pytest.fixture
def box(tmp_path: Path) -> Iterator[FakeBox]:
    """Yield a box that runs 0.1.0."""
    with FakeBox(tmp_path / "box") as running:
        yield running


@pytest.fixture
def paired(laptop: Laptop, box: FakeBox) -> FakeBox:
    """Return the same box, known to the laptop."""
    Boxes().keep(box.pair())
    return box
