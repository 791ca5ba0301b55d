"""Scripts of chaos: the same from the same seed, and the same from their file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from hil_tests.board import FAULTS
from hil_tests.chaos.script import HABITS, QUIET_S, STEP_S, draw, read_script
from hil_tests.errors import HilError

HOUR_S = 3600.0


def test_one_seed_is_one_script_and_another_seed_another() -> None:
    assert draw(5, HOUR_S, tuple(FAULTS)) == draw(5, HOUR_S, tuple(FAULTS))
    assert draw(5, HOUR_S, tuple(FAULTS)) != draw(6, HOUR_S, tuple(FAULTS))


def test_script_of_a_file_is_the_one_that_was_written(tmp_path: Path) -> None:
    script = draw(7, 120.0, tuple(FAULTS))
    path = tmp_path / "script.jsonl"
    path.write_text(script.text(), encoding="utf-8")
    assert read_script(path) == script


def test_an_hour_has_every_kind_and_none_that_the_rig_lacks() -> None:
    kinds = tuple(kind for kind in HABITS if kind != "brown_out")
    assert {event.fault for event in draw(1, HOUR_S, kinds).events} == set(kinds)


def test_faults_last_as_their_kind_does_and_one_kind_never_overlaps_itself() -> None:
    script = draw(2, HOUR_S, tuple(FAULTS))
    dark = [(event.at_s, event.end_s) for event in script.events if event.fault == "brown_out"]
    for event in script.events:
        assert (event.for_s > 0.0) == FAULTS[event.fault].lasts, event
        assert QUIET_S <= event.at_s <= event.end_s <= HOUR_S, event
        assert abs(event.at_s / STEP_S - round(event.at_s / STEP_S)) < 1e-6, event
        assert not any(start <= event.at_s <= end for start, end in dark if event.fault != "brown_out"), event
    for kind in HABITS:
        of_a_kind = [event for event in script.events if event.fault == kind]
        assert all(a.end_s < b.at_s for a, b in pairwise(of_a_kind)), kind


def test_script_that_is_none_is_refused_in_one_line_with_its_place(tmp_path: Path) -> None:
    head = '{"seed": 1, "length_s": 60.0}\n'
    event = '{"at_s": 3.0, "fault": "unplug", "amount": 1.0, "for_s": 1.0}\n'
    path = tmp_path / "script.jsonl"
    for text, words in (
        ("", "line 1"),
        ("[]\n", "line 1"),
        ('{"seed": 1, "length_s": 1e9}\n', "length_s"),
        (head + event + event.replace("unplug", "unplugg"), "line 3.*no fault 'unplugg'"),
        (head + event.replace("3.0", "61.0"), "line 2.*outside"),
        (head + event.replace('"amount": 1.0', '"amount": "much"'), "line 2"),
        (head + event.replace(', "for_s": 1.0', ""), "line 2.*lacks 'for_s'"),
        (head + event[:20], "line 2"),
        (head + event.replace('"for_s": 1.0', '"for_s": 0.0'), "line 2.*unplug lasts"),
        (head + event.replace("unplug", "capture_xrun"), "line 2.*capture_xrun is over by itself"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(HilError, match=words) as refused:
            read_script(path)
        assert "\n" not in str(refused.value)
    with pytest.raises(HilError, match="cannot be read"):
        read_script(tmp_path / "absent.jsonl")
