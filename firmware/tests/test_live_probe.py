"""The way through the card, measured with a click over a cable."""

from __future__ import annotations

from firmware.tests.live_rig import LiveRig, started, wait_for
from firmware.tests.test_live import FOUR, N_PERIODS, PERIOD, straight_control


def test_a_click_over_a_cable_tells_the_way_through_the_card_to_the_frame() -> None:
    with (
        LiveRig(FOUR, card={"cable": [(0, 2)], "tape": False}) as rig,
        started(rig, straight_control(FOUR)) as lockstep,
    ):
        segment = lockstep.segment
        segment.probe(2)
        for _ in range(31):
            rig.advance(960)
        ways = wait_for(segment.probed_ways_frames, "no click was sent")
        segment.probe(0)  # no cable there
        for _ in range(21):
            rig.advance(960)
        missing = segment.probed_ways_frames()
    assert ways == [N_PERIODS * PERIOD] * 3
    assert missing == [None, None]
