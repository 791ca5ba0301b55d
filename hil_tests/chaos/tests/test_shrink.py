"""Shrinking: what is left of a failure is what it takes, and nothing else."""

from __future__ import annotations

import random

from hil_tests.board import FAULTS
from hil_tests.chaos.command import shrink_script
from hil_tests.chaos.outcome import Broken, Outcome
from hil_tests.chaos.script import QUIET_S, Event, Script, draw
from hil_tests.chaos.shrink import shrink

FIRST, SECOND, WITHIN_S = "control_killed", "disk_full", 1.0
SEED, LENGTH_S = 4, 1800.0


def pairs(script: Script) -> list[tuple[Event, Event]]:
    """Return what the planted promise forbids: one fault, and another within a second of it."""
    of_first = [event for event in script.events if event.fault == FIRST]
    of_second = [event for event in script.events if event.fault == SECOND]
    return [(a, b) for a in of_first for b in of_second if abs(a.at_s - b.at_s) <= WITHIN_S]


def planted(script: Script) -> Outcome:
    """Stand for a box that breaks when two faults come within a second, and at the very end for a slow one."""
    found = min((max(a.at_s, b.at_s) for pair in [pairs(script)] for a, b in pair), default=None)
    broken = None if found is None else Broken(promise="planted", at_s=found, words=f"both by {found} s")
    return Outcome(
        broken=broken, n_frames=0, n_excused_frames=0, n_events=len(script.events), n_left_out=0,
        longest_restart_s=0.0,
    )  # fmt: skip


def test_two_faults_within_a_second_are_what_is_left_of_half_an_hour() -> None:
    script = draw(SEED, LENGTH_S, tuple(FAULTS))
    assert len(script.events) > 500
    outcome = planted(script)
    lines: list[str] = []
    shrunk = shrink_script(script, outcome, planted, max_tries=200, say=lines.append)
    assert sorted(event.fault for event in shrunk.script.events) == [FIRST, SECOND]
    assert pairs(shrunk.script)
    first, second = shrunk.script.events
    found = [(a, b) for a in script.events for b in script.events if (a.fault, b.fault) == (first.fault, second.fault)]
    apart_s = second.at_s - first.at_s
    assert any(abs(b.at_s - a.at_s - apart_s) < 1e-6 for a, b in found), "their distance was changed"
    assert first.at_s == QUIET_S, "they come no earlier"
    assert shrunk.script.length_s < 2 * QUIET_S + WITHIN_S
    assert planted(shrunk.script).broken == shrunk.broken
    assert shrunk.n_runs == len(lines) < 60


def test_another_promise_is_another_failure() -> None:
    """Without the first fault another promise breaks: that must not lead shrinking astray."""
    script = draw(SEED, LENGTH_S, tuple(FAULTS))

    def perform(part: Script) -> Outcome:
        outcome = planted(part)
        other = Broken(promise="other", at_s=1.0, words="without end")
        return outcome if outcome.broken or len(part.events) > 20 else Outcome(
            broken=other, n_frames=0, n_excused_frames=0, n_events=0, n_left_out=0, longest_restart_s=0.0
        )  # fmt: skip

    shrunk = shrink_script(script, planted(script), perform, max_tries=400, say=lambda line: None)
    assert shrunk.broken.promise == "planted"
    assert sorted(event.fault for event in shrunk.script.events) == [FIRST, SECOND]


def test_what_is_left_fails_and_lacks_nothing_that_could_go() -> None:
    rng = random.Random(8)
    for _ in range(50):
        items = tuple(range(rng.randrange(1, 80)))
        guilty = frozenset(rng.sample(items, rng.randrange(1, min(6, len(items)) + 1)))
        assert shrink(items, guilty.issubset, max_tries=10_000) == tuple(sorted(guilty))


def test_tries_are_counted_and_what_is_left_then_still_fails() -> None:
    asked: list[tuple[int, ...]] = []

    def fails(part: tuple[int, ...]) -> bool:
        asked.append(part)
        return {3, 97} <= set(part)

    left = shrink(tuple(range(100)), fails, max_tries=7)
    assert len(asked) == len(set(asked)) == 7
    assert {3, 97} <= set(left)
