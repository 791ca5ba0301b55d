"""Chaos: faults of every kind at random moments, and each promise held in each frame; the reader of it can fail."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from hil_tests.board import FAULTS, Box
from hil_tests.chaos.command import shrink_script
from hil_tests.chaos.programme import Programme
from hil_tests.chaos.script import Event, Script, draw
from hil_tests.chaos.stage import NEEDS, RESTORED, Stage
from hil_tests.errors import HilError
from hil_tests.scene import scene_toml

pytestmark = pytest.mark.needs(*NEEDS, "card_faults", "process_faults")
SEED = 20
STATE = "/var/lib/evenhand/state/last.toml"


def event(at_s: float, fault: str, amount: float = 1.0, for_s: float = 0.0) -> Event:
    return Event(at_s=at_s, fault=fault, amount=amount, for_s=for_s)


def check(box: Box, minutes: float, record_property: Any) -> None:
    script = draw(SEED, minutes * 60.0, box.faults.kinds)
    said: list[str] = []
    outcome = Stage(box, script, say=said.append).perform()
    record_property("chaos", outcome.text())
    record_property("lacking", "; ".join(f"{kind}: {why}" for kind, why in box.faults.lacking.items()))
    assert outcome.broken is None, f"seed {SEED}: {outcome.broken.line()}; last were {'; '.join(said[-5:])}"
    assert outcome.n_events + outcome.n_left_out == len(script.events)
    assert outcome.n_left_out < len(script.events) / 4


def test_every_fault_of_the_rig_can_be_had_or_has_a_reason_why_not(dark_box: Box) -> None:
    faults, has = dark_box.faults, dark_box.rig.has
    ours = {kind for kind, fault in FAULTS.items() if fault.needs in has}
    assert ours == (set(faults.kinds) | set(faults.lacking)) & set(FAULTS)
    assert not set(faults.kinds) & set(faults.lacking)
    assert all(faults.lacking.values())


@pytest.mark.needs("heat_faults", "network")
def test_machine_that_is_throttled_is_one_thing_more_to_put_right_until_it_is_not(box: Box) -> None:
    before = n_to_put_right(box)
    for bits in (0x1, 0x4, 0x40004):  # too little voltage; throttled; throttled, and it was before
        box.faults.begin("throttled", bits)
        assert n_to_put_right(box) == before + 1, hex(bits)
        box.faults.end("throttled")
        assert n_to_put_right(box) == before


def n_to_put_right(box: Box) -> int:
    """Return what the laptop's doctor says of the box."""
    try:
        box.evenhand("doctor")
    except HilError as error:
        said = str(error)
    else:
        return 0
    found = re.search(r"(\d+) things? to put right", said)
    assert found, said
    return int(found[1])


def test_a_minute_of_chaos_breaks_no_promise(dark_box: Box, record_property: Any) -> None:
    check(dark_box, 1.0, record_property)


@pytest.mark.soak
def test_half_an_hour_of_chaos_breaks_no_promise(dark_box: Box, record_property: Any) -> None:
    check(dark_box, 30.0, record_property)


def test_frame_lost_for_no_reason_is_found_shrunk_to_what_went_with_it_and_found_again(dark_box: Box) -> None:
    """Each ``control_stopped`` breaks a period behind the back of the reader."""
    events = [event(1.0, "late_wake", 16.0, 0.2), event(1.5, "control_stopped", 1.0, 0.3), event(2.2, "control_killed")]
    script = Script(seed=0, length_s=3.0, events=tuple(events))

    def perform(part: Script) -> Any:
        def say(line: str) -> None:
            if "control_stopped" in line:
                dark_box.faults.begin("playback_xrun")

        return Stage(dark_box, part, say=say).perform()

    outcome = perform(script)
    assert outcome.broken is not None
    assert outcome.broken.promise == "sound"
    assert "frame 72" in outcome.broken.words, "1.5 s, or the period after"
    shrunk = shrink_script(script, outcome, perform, max_tries=10, say=lambda line: None)
    assert [left.fault for left in shrunk.script.events] == ["control_stopped"]
    again = perform(shrunk.script)
    assert again.broken == shrunk.broken, "the same script has another verdict"


@pytest.mark.needs("network")
def test_stream_that_is_not_there_breaks_off_no_further_and_is_back_at_once(dark_box: Box) -> None:
    """Nor do two faults that fall together break it off more often in a row than the engine bears with a card."""
    breaks = [event(at_s, "playback_xrun", 3.0) for at_s in (1.2, 1.4, 1.6, 1.8, 3.0)]
    events = [event(1.0, "unplug", 1.0, 1.0), *breaks, event(3.0, "capture_xrun", 3.0)]
    outcome = Stage(dark_box, Script(seed=0, length_s=4.0, events=tuple(events))).perform()
    assert outcome.broken is None, outcome.broken.line()
    (told,) = json.loads(dark_box.evenhand("status", "--json"))["boxes"]
    assert told["engine"]["counters"]["card_losses"] == 1, "given up for breaking off too often"


def test_xruns_that_late_wake_ups_would_hold_back_do_not_take_the_card_away_once_those_are_over(dark_box: Box) -> None:
    """Those of playback: a wake-up that is three periods late finds capture broken off and looks no further."""
    events = []
    for number in range(8):
        begin_s = 1.0 + number
        events += [event(begin_s, "late_wake", 200.0, 0.40 + 0.02 * number), event(begin_s + 0.2, "playback_xrun", 3.0)]
        events += [event(begin_s + 0.40 + 0.02 * number, "capture_xrun", 3.0)]
    outcome = Stage(dark_box, Script(seed=0, length_s=10.0, events=tuple(events))).perform()
    assert outcome.broken is None, outcome.broken.line()


def test_setting_that_is_another_after_a_loss_of_power_is_found(dark_box: Box) -> None:
    programme = Programme(dark_box.audio.n_inputs)
    strips = [{"fader.level_db": db, "pan.position": -1.0} for db in programme.fader_db]
    strips[2]["fader.level_db"] += 0.5

    def say(line: str) -> None:
        if "brown_out" in line:
            dark_box.put(scene_toml(strips).encode(), RESTORED)

    script = Script(seed=0, length_s=3.0, events=(event(1.0, "brown_out", 1.0, 0.2),))
    outcome = Stage(dark_box, script, say=say).perform()
    assert outcome.broken is not None
    assert outcome.broken.promise == "settings"
    assert "channel 3 at -7.50 dB, not -8.00 dB" in outcome.broken.words


@pytest.mark.needs("disk_faults")
def test_digit_that_the_disk_has_changed_is_no_other_level_after_a_loss_of_power(dark_box: Box) -> None:
    if why := dark_box.faults.lacking.get("state_bit"):
        pytest.skip(why)
    flipped: list[str] = []
    said: list[str] = []

    def say(line: str) -> None:
        if "brown_out" in line:
            said.append(dark_box.log("control"))
            before = dark_box.get(STATE)
            dark_box.faults.begin("state_bit", (before.index(b'"fader.level_db" = -8.0') + 20.5) / len(before))
            flipped.extend(re.findall(r'"fader.level_db" = (.*)', dark_box.get(STATE).decode()))

    script = Script(seed=0, length_s=5.0, events=(event(3.0, "brown_out", 1.0, 0.2),))
    outcome = Stage(dark_box, script, say=say).perform()
    assert "-9.0" in flipped, "what lay on the disk was whole"
    assert outcome.broken is None, outcome.broken.line()
    said.append(dark_box.log("control").removeprefix(said[0]))
    assert "SHA-256" in said[1]
    assert "before.toml: taken for the last state" in said[1]
