"""A clock that is set while the box mixes, by hand or by a server of time: nobody hears it and nothing is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from .board import Box
from .scene import STILL, begin_anew, scene_toml
from .test_smoke import RESTORED, assert_faders, counters

HOUR_S = 3600.0
WHO_RUNS = "systemctl show --property=MainPID,NRestarts evenhand-engine evenhand-control"


@pytest.mark.needs("clock_faults", "audio_loopback", "shell", "network", "process_faults")
def test_clock_that_jumps_an_hour_and_back_costs_no_setting_no_restart_and_no_sound(
    box: Box, record_property: Any
) -> None:
    fader_db = [-3.0 - number for number in range(box.audio.n_inputs)]
    box.put(scene_toml([{"fader.level_db": db, "pan.position": -1.0} for db in fader_db]).encode(), RESTORED)
    box.configure(EVENHAND_CONTROL_OPTIONS=STILL)
    begin_anew(box)
    who, before = box.run(WHO_RUNS), counters(box)

    def assert_nothing_happened(when: str) -> None:
        assert_faders(box, fader_db, when)
        assert box.run(WHO_RUNS) == who, when
        after = counters(box)
        assert after["periods"] > before["periods"], when
        record_property(f"periods_lost, {when}", after["periods_lost"] - before["periods_lost"])

    box.faults.begin("clock_jump_s", HOUR_S)
    assert_nothing_happened("an hour ahead")
    box.faults.end("clock_jump_s")
    assert_nothing_happened("an hour back")
    box.faults.begin("control_killed")
    box.wait_until_up()
    assert_faders(box, fader_db, "in a control that was started after it")
