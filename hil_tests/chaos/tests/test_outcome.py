"""Excuses: exactly as long as a box may take, and for what can cost a frame."""

from __future__ import annotations

import numpy as np
import pytest

from hil_tests.board import FAULTS
from hil_tests.chaos.outcome import COSTLY, Excuses

PERIOD, RATE_HZ, AT = 64, 48000, 48000
FADE = 480


@pytest.fixture
def excuses() -> Excuses:
    return Excuses(period_frames=PERIOD, sample_rate_hz=RATE_HZ, slack_frames=56)


def first(excuses: Excuses, *frames: int) -> int | None:
    return excuses.first_unexplained(np.array(frames))


def test_without_a_fault_nothing_is_explained(excuses: Excuses) -> None:
    assert first(excuses, 7, 9) == 7
    assert first(excuses) is None


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind not in COSTLY])
def test_fault_that_costs_no_frame_explains_none(excuses: Excuses, kind: str) -> None:
    excuses.begin(kind, 1.0)
    assert first(excuses, AT) == AT
    excuses.end(kind, AT)
    assert first(excuses, AT) == AT


@pytest.mark.parametrize("n_xruns", [1, 3])
def test_xruns_explain_two_periods_each_from_the_next_one_on_and_a_fade(excuses: Excuses, n_xruns: int) -> None:
    excuses.begin("capture_xrun", n_xruns)
    excuses.end("capture_xrun", AT, n_xruns=n_xruns)
    end = AT + (1 + 2 * n_xruns) * PERIOD + FADE
    assert first(excuses, AT, end - 1) is None
    assert first(excuses, AT, end - 1, end) == end


def test_wake_up_within_the_slack_explains_nothing_and_a_later_one_all(excuses: Excuses) -> None:
    excuses.begin("late_wake", 56.0)
    assert first(excuses, AT) == AT
    excuses.end("late_wake", AT)
    excuses.begin("late_wake", 57.0)
    assert first(excuses, AT) is None


def test_xrun_among_late_wake_ups_is_over_as_much_later_as_those_are(excuses: Excuses) -> None:
    excuses.begin("late_wake", 8.0)
    excuses.begin("playback_xrun", 1.0)
    excuses.end("playback_xrun", AT, n_xruns=1)
    end = AT + 3 * (PERIOD + 8) + FADE
    assert first(excuses, AT, end - 1, end) == end
    excuses.end("late_wake", AT + RATE_HZ)
    excuses.begin("playback_xrun", 1.0)
    excuses.end("playback_xrun", AT + RATE_HZ, n_xruns=1)
    end = AT + RATE_HZ + 3 * PERIOD + FADE
    assert first(excuses, end - 1, end) == end


def test_xruns_of_a_card_that_is_away_come_when_it_is_back(excuses: Excuses) -> None:
    excuses.begin("unplug", 1.0)
    excuses.begin("playback_xrun", 3.0)
    excuses.end("playback_xrun", AT, n_xruns=3)
    assert first(excuses, AT + RATE_HZ) is None
    excuses.end("unplug", AT + RATE_HZ)
    end = AT + RATE_HZ + (1 + 2 * 4) * PERIOD + FADE
    assert first(excuses, end - 1, end) == end
