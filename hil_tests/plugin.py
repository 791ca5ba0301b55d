"""The pytest plug-in of a bench: which rigs a test runs on, its box, and a report with the evidence of what failed.

``pyproject.toml`` names it: a ``conftest.py`` in this folder would be read too late for its options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from .board import Box
from .drivers.choice import box_of
from .errors import HilError
from .evidence import evidence_of
from .report import Page
from .rig import Rig, check_fixtures, load_rig
from .strategy import Strategy

RIGS = pytest.StashKey[Sequence[Rig]]()
NO_RIG = "no rig; name one with --rig sim"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``--rig``, ``--only-rigs`` and ``--hil-report``."""
    group = parser.getgroup("hil", "hardware in the loop")
    group.addoption("--rig", action="append", default=[], metavar="NAME|FILE", help="run what needs a rig on this one")
    group.addoption("--only-rigs", action="store_true", help="leave out what needs no rig")
    group.addoption("--hil-report", type=Path, metavar="FILE", help="write an HTML page of the tests on rigs")


def pytest_configure(config: pytest.Config) -> None:
    """Read the rigs."""
    config.addinivalue_line("markers", "needs(*fixtures): what must be wired; a test runs on every rig that has it")
    try:
        config.stash[RIGS] = [load_rig(name) for name in config.getoption("--rig")]
    except HilError as error:
        raise pytest.UsageError(str(error)) from None
    path = config.getoption("--hil-report")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Page(path, config.stash[RIGS]), "hil-report")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test that asks for a box run once on every rig that has what it needs."""
    if "strategy" not in metafunc.fixturenames:
        return
    needs = needed(metafunc.definition)
    rigs = [_param(rig, needs) for rig in metafunc.config.stash[RIGS]]
    none = pytest.param(None, id="no_rig", marks=pytest.mark.skip(reason=NO_RIG))
    metafunc.parametrize("strategy", rigs or [none], indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs no rig, where that was asked for."""
    if config.getoption("--only-rigs"):
        items[:] = [item for item in items if "strategy" in getattr(item, "fixturenames", ())]


def needed(item: Any) -> tuple[str, ...]:
    """Return what the ``needs`` marks of a test name.

    Raises
    ------
    UsageError
        When one names what no rig can have.
    """
    words = tuple(word for mark in item.iter_markers("needs") for word in mark.args)
    try:
        check_fixtures(words, item.nodeid)
    except HilError as error:
        raise pytest.UsageError(str(error)) from None
    return words


def _param(rig: Rig, needs: tuple[str, ...]) -> Any:
    missing = rig.lacks(needs)
    reason = f"rig {rig.name} has no {' and no '.join(missing)}"
    return pytest.param(rig, id=rig.name, marks=[pytest.mark.skip(reason=reason)] if missing else [])


@pytest.fixture(scope="session")
def strategy(request: pytest.FixtureRequest) -> Iterator[Strategy]:
    """Yield the strategy of a rig, whose box lasts as long as the run."""
    with box_of(request.param) as box:
        yield Strategy(box)


@pytest.fixture
def box(strategy: Strategy) -> Box:
    """Return a box that is as new, has power, and mixes."""
    return strategy.up()


@pytest.fixture
def dark_box(strategy: Strategy) -> Box:
    """Return a box that is as new and has no power yet."""
    return strategy.off()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Lay the evidence beside a failure, while the box still is as the test left it."""
    report: Any = yield
    found = getattr(item, "funcargs", {}).get("strategy")
    if found is None:
        return report
    report.rig = found.box.rig.name
    report.evidence = evidence_of(found.box) if report.failed and call.when != "teardown" else []
    return report
