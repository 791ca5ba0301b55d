"""Acceptance of a box on a rig: the page says what was measured, and a limit that is broken is not accepted."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from hil_tests.acceptance import NEEDS, Acceptance, measure
from hil_tests.acceptance_page import TITLES, page
from hil_tests.board import Box
from hil_tests.probe.limits import Limit, judge, load_limits
from hil_tests.report_command import LIMITS


@pytest.mark.needs(*NEEDS, "lockstep")
def test_a_box_is_accepted_and_its_page_says_why(box: Box, record_property: Any) -> None:
    found = measure(box, venue="Bench & <b>lab</b>", limits=load_limits(LIMITS), tell=lambda _line: None)
    for result in found.results:
        record_property(result.NAME, result.line())
    assert found.is_accepted, [v.line() for v in found.verdicts if not v.is_held]
    assert {r.NAME for r in found.results} == set(TITLES)
    assert {v.limit.max for v in found.verdicts if v.limit.figure == "latency_frames"} == {
        box.board.budget.max_round_trip_frames
    }
    assert any("evenhand.bundle" in name and len(sha256) == 64 for name, sha256 in found.facts.items())
    assert json.loads(json.dumps(found.record()))["is_accepted"]
    assert_page(found)
    assert_strict(found)


def assert_page(found: Acceptance) -> None:
    text = page(found)
    assert "Bench &amp; &lt;b&gt;lab" in text
    assert "a simulation" in text
    for result in found.results:
        assert result.line().split("; ")[0].replace("<", "&lt;") in text
    assert not re.search(r"(?:src|href)=.(?!data:)", text), "the page needs something else"


def assert_strict(found: Acceptance) -> None:
    """Hold a figure against what it cannot be."""
    verdicts = judge(found.results, [Limit(result="latency", figure="latency_frames", max=1.0)])
    broken = dataclasses.replace(found, verdicts=verdicts)
    assert not broken.is_accepted
    assert "not accepted</span>: 1 of 1 limits are broken" in page(broken)
