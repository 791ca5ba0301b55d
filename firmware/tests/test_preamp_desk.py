"""Control and its preamps: gain goes from the trim into the hardware unheard, and a hand has the last word."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firmware.control.control import TICK_S, Control
from firmware.control.keepsake import recall_evidence, recall_state, remember_evidence, remember_state
from firmware.control.mixer_state import Mode
from firmware.control.preamp_desk import ANSWER_S, GAIN_SETTLE_S, LEAD_S, PreampDesk
from firmware.control.scenes import read_scene, write_scene
from firmware.errors import EvenhandError
from firmware.preamp_messages import (
    MAX_MESSAGE_BYTES,
    MAX_PREAMPS,
    Hand,
    PreampStatus,
    PreampWish,
    Reading,
    Setting,
    packed,
    status_of,
    wish_of,
)
from firmware.tests.control_plant import Plant, Source, setups

RATE_HZ = 48000.0
JUMP_DB = 0.5  # what a hand-over may be heard by


def reading(channel: int = 1, gain_db: float = 0.0, **changes: Any) -> Reading:
    standing = Reading(
        card="stage", channel=channel, gain_db=gain_db, min_gain_db=0.0, max_gain_db=60.0, is_pad_on=False,
        is_phantom_on=False, phantom_switch="48 V", phantom_settle_ms=700.0, wants_pad=None, wants_phantom=None,
    )  # fmt: skip
    return replace(standing, **changes)


def status(*readings: Reading, done: int = 0, hands: tuple[Hand, ...] = (), boot: int = 7) -> PreampStatus:
    return PreampStatus(boot=boot, done=done, readings=readings, hands=hands)


class Stage:
    """A quiet talker in front of a preamp that does what it is asked, a tick later; time is the plant's."""

    def __init__(self, level_dbfs: float = -48.0, control: Control | None = None, gain_db: float = 0.0) -> None:
        self.control = control or Control(setups("Anna"), sample_rate_hz=RATE_HZ)
        self.gain_db, self.done, self.answers, self.is_stuck = gain_db, 0, True, False
        self.hands: tuple[Hand, ...] = ()
        self.source_dbfs = level_dbfs
        source = Source(lambda t: self.source_dbfs + self.gain_db if t % 2.5 < 1.5 else -math.inf, floor_dbfs=-90.0)
        self.plant = Plant(self.control, [source])
        self.desk = PreampDesk([(("stage", 1),)])
        self.lines: list[str] = []
        self.sums_db: list[float] = []  # of hardware and trim, where the strip is heard
        self.muted: list[bool] = []

    @property
    def trim_db(self) -> float:
        return self.control.state.get("channel", 0, "input.trim_db")

    def run(self, seconds: float) -> Stage:
        for _ in range(round(seconds / TICK_S)):
            self.plant.run(TICK_S)
            wish = self.desk.wish
            if self.answers:
                if wish.number > self.done:
                    self.done = wish.number
                    self.gain_db = self.gain_db if self.is_stuck else wish.settings[0].value
                self.desk.hear(self.control, status(reading(gain_db=self.gain_db), done=self.done, hands=self.hands))
            self.lines += self.desk.tick(self.control, self.plant.time_s)
            self.muted.append(bool(self.desk.muted))
            self.sums_db.append(self.gain_db + self.trim_db)
        return self


def said(control: Control, parameter: str) -> list[tuple[float, float, str]]:
    return [(d.from_value, d.to_value, d.source) for d in control.decisions if d.parameter == parameter]


# -------------------------------------------------------------------------------------------------------------- gain


def test_a_quiet_talker_is_raised_by_the_hardware_and_the_sum_stays() -> None:
    stage = Stage().run(16.0)
    assert stage.gain_db >= 20.0
    assert abs(stage.trim_db) < 3.0, "gain is there twice, or where it was"
    ((before, after, source),) = said(stage.control, "preamp.gain_db")
    assert (before, after, source) == (0.0, stage.gain_db, "rules")
    at = stage.muted.index(True)
    assert abs(stage.sums_db[-1] - stage.sums_db[at - 1]) < JUMP_DB
    heard = [db for db, is_muted in zip(stage.sums_db[at:], stage.muted[at:], strict=True) if not is_muted]
    assert max(heard) - min(heard) < JUMP_DB
    assert sum(stage.muted) * TICK_S == pytest.approx(LEAD_S + GAIN_SETTLE_S, abs=0.1)


def test_a_talker_who_is_loud_enough_costs_no_mute() -> None:
    stage = Stage(level_dbfs=-21.0).run(14.0)
    assert stage.gain_db == 0.0
    assert not any(stage.muted)


def test_a_source_that_never_rests_keeps_its_digital_gain() -> None:
    stage = Stage()
    stage.plant.sources[0] = Source(-48.0)
    stage.run(14.0)
    assert stage.gain_db == 0.0
    assert stage.trim_db > 15.0


@pytest.mark.parametrize("how", ["manual", "locked", "assist"])
def test_the_preamp_of_a_section_that_is_not_automatic_is_left_alone(how: str) -> None:
    stage = Stage().run(5.0)
    if how == "locked":
        stage.control.set_locked("channel", 0, "input", True)
    else:
        stage.control.set_mode("channel", 0, "input", Mode[how.upper()])
    assert stage.run(12.0).gain_db == 0.0


def test_a_preamp_that_does_not_turn_is_told_once_and_digital_gain_does_it() -> None:
    stage = Stage()
    stage.is_stuck = True
    stage.run(16.0)
    assert [line for line in stage.lines if "the preamp stays at 0 dB; digital gain does it" in line] == stage.lines
    assert len(stage.lines) == 1
    assert not stage.muted[-1]
    assert stage.trim_db > 15.0


def test_a_card_that_does_not_answer_does_not_keep_a_strip_mute() -> None:
    stage = Stage()
    while not stage.muted or not stage.muted[-1]:
        stage.run(TICK_S)
        assert stage.plant.time_s < 16.0
    stage.answers = False
    stage.run(LEAD_S + ANSWER_S + 0.1)
    assert stage.lines == ["the preamps do not answer within 2 s; digital gain does it"]
    assert not stage.muted[-1]
    assert stage.gain_db == 0.0


# -------------------------------------------------------------------------------------------------------- other hands


def test_a_knob_that_was_turned_stays_where_it_is_and_the_trim_too() -> None:
    stage = Stage().run(16.0)
    before_db, trim_db = stage.gain_db, stage.trim_db
    stage.gain_db += 9.0
    stage.hands = (Hand(number=1, card="stage", channel=1, field="gain_db", before=before_db, after=stage.gain_db),)
    stage.run(12.0)
    assert stage.gain_db == before_db + 9.0
    assert stage.trim_db == pytest.approx(trim_db, abs=1.3)  # for a tick control heard it and did not know why
    section = stage.control.state.section("channel", 0, "input")
    assert stage.control.state.mode[section] == Mode.MANUAL
    assert said(stage.control, "preamp.gain_db")[1:] == [(before_db, stage.gain_db, "engineer")], "told once"
    assert stage.desk.wish.heard == 1


def test_a_switch_by_hand_is_told() -> None:
    stage = Stage().run(1.0)
    stage.hands = (Hand(number=1, card="stage", channel=1, field="is_phantom_on", before=0.0, after=1.0),)
    stage.run(1.0)
    assert said(stage.control, "preamp.is_phantom_on") == [(0.0, 1.0, "engineer")]


def test_a_move_of_the_preamp_is_not_undone_in_the_trim() -> None:
    stage = Stage().run(16.0)
    number = next(d.id for d in stage.control.decisions if d.parameter == "preamp.gain_db")
    with pytest.raises(EvenhandError, match="is the preamp's; set the preamp itself"):
        stage.control.undo(number)


# ---------------------------------------------------------------------------------------------------------- switching


def test_phantom_power_is_switched_behind_a_mute_of_all_that_share_it() -> None:
    control = Control(setups("A", "B", "C"), sample_rate_hz=RATE_HZ)
    desk = PreampDesk([(("stage", 1),), (("stage", 2),), (("stage", 3),)])
    readings = [reading(ch, phantom_switch="48 V" if ch < 3 else None) for ch in (1, 2, 3)]
    time_s, done, asked_s, muted = 0.0, 0, [], []
    desk.hear(control, status(*readings))
    assert desk.switch(0, "is_phantom_on", True)
    for _ in range(60):
        time_s += TICK_S
        desk.tick(control, time_s)
        muted.append(desk.muted)
        if desk.wish.number > done:
            assert desk.wish.settings == (Setting(card="stage", channel=1, field="is_phantom_on", value=1.0),)
            asked_s.append(time_s)
            done = desk.wish.number
            readings[:2] = [replace(r, is_phantom_on=True) for r in readings[:2]]
            desk.hear(control, status(*readings, done=done))
    assert set(muted) == {frozenset(), frozenset({0, 1})}
    first, last = muted.index(frozenset({0, 1})), len(muted) - 1 - muted[::-1].index(frozenset({0, 1}))
    assert asked_s[0] - first * TICK_S >= LEAD_S, "it thumps before the strips are silent"
    assert (last + 2) * TICK_S - asked_s[0] >= 0.7 - 1e-9, "it is heard before the microphone has settled"
    assert said(control, "preamp.is_phantom_on") == [(0.0, 1.0, "engineer")]


def test_what_the_board_file_says_is_switched_once() -> None:
    control, desk = Control(setups("A"), sample_rate_hz=RATE_HZ), PreampDesk([(("stage", 1),)])
    desk.hear(control, status(reading(wants_phantom=True, wants_pad=False)))
    for tick in range(10):
        desk.tick(control, tick * TICK_S)
    assert [(s.field, s.value) for s in desk.wish.settings] == [("is_phantom_on", 1.0)]
    desk.hear(control, status(reading(is_phantom_on=True), done=desk.wish.number))
    for tick in range(10, 200):
        desk.tick(control, tick * TICK_S)
    assert (desk.muted, desk.wish.number) == (frozenset(), 0)


def test_a_strip_without_a_switch_is_not_switched() -> None:
    desk = PreampDesk([(("stage", 1),)])
    desk.hear(Control(setups("A"), sample_rate_hz=RATE_HZ), status(reading(is_pad_on=None)))
    assert not desk.switch(0, "is_pad_on", True)


# --------------------------------------------------------------------------------------------------- killed, restarted


def test_a_control_that_was_killed_knows_what_its_trims_were_set_behind() -> None:
    stage = Stage().run(16.0)
    heir = Control(setups("Anna"), sample_rate_hz=RATE_HZ)
    recall_state(heir, remember_state(stage.control))
    recall_evidence(heir, remember_evidence(stage.control))
    desk = PreampDesk([(("stage", 1),)])
    desk.hear(heir, status(reading(gain_db=stage.gain_db + 5.0)))  # asked for by the one before, and never taken in
    assert heir.state.get("channel", 0, "input.trim_db") == pytest.approx(stage.trim_db - 5.0, abs=1e-4)


def test_a_mute_outlives_the_control_that_laid_it() -> None:
    stage = Stage().run(1.0)
    params = stage.control.state.snapshot()
    params["channel"][0]["fader.is_muted"] = 1.0
    desk = PreampDesk([(("stage", 1),)])
    desk.take_up(stage.control, params)
    assert desk.muted == {0}
    assert desk.cover(stage.control.state.snapshot())["channel"][0]["fader.is_muted"] == 1.0
    desk.tick(stage.control, stage.plant.time_s + 3.0)
    assert desk.muted == frozenset()


@pytest.mark.parametrize("stands_db", [0.0, 12.0, 31.0])
def test_a_scene_sounds_the_same_wherever_the_knob_stands_now(tmp_path: Path, stands_db: float) -> None:
    stage = Stage().run(16.0)
    write_scene(stage.control.scene(), tmp_path / "scene.toml")
    again = Control(setups("Anna"), sample_rate_hz=RATE_HZ, scene=read_scene(tmp_path / "scene.toml"))
    PreampDesk([(("stage", 1),)]).hear(again, status(reading(gain_db=stands_db)))
    sum_db = again.state.get("channel", 0, "input.trim_db") + stands_db
    assert sum_db == pytest.approx(stage.gain_db + stage.trim_db, abs=0.01)


@pytest.mark.parametrize("value", ["nan", "1e9", '"loud"', "true"])
def test_a_scene_with_an_impossible_preamp_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "scene.toml"
    write_scene(Control(setups("A"), sample_rate_hz=RATE_HZ).scene(), path)
    text = path.read_text().partition("\n")[2]  # by hand, without the sum of what the box wrote
    path.write_text(text.replace('name = "A"', f'name = "A"\npreamp_gain_db = {value}'))
    with pytest.raises(EvenhandError, match="channel 1 preamp_gain_db"):
        read_scene(path)


# ----------------------------------------------------------------------------------------------------------- messages


def test_messages_come_back_as_they_were_sent() -> None:
    hand = Hand(number=3, card="stage", channel=2, field="gain_db", before=1.0, after=2.0)
    told = status(*(reading(ch) for ch in range(1, MAX_PREAMPS + 1)), hands=(hand,) * 256)
    assert status_of(packed(told)) == told
    assert len(packed(told)) < MAX_MESSAGE_BYTES
    setting = Setting(card="stage", channel=2, field="is_pad_on", value=1.0)
    wish = PreampWish(boot=5, heard=3, number=1, settings=(setting,))
    assert wish_of(packed(wish)) == wish


@pytest.mark.parametrize(
    "change",
    [
        {"boot": -1}, {"boot": True}, {"done": "1"}, {"readings": None}, {"readings": [1]}, {"readings": [{}]},
        {"hands": [{}] * 1000}, {"readings": [{**vars(reading()), "gain_db": math.inf}]},
        {"readings": [{**vars(reading()), "more": 1}]}, {"readings": [{**vars(reading()), "is_pad_on": 1}]},
        {"hands": [{"number": 1, "card": "stage", "channel": 1, "field": "volume", "before": 0, "after": 1}]},
    ],
)  # fmt: skip
def test_what_is_no_message_is_dropped(change: dict[str, Any]) -> None:
    record = {**json.loads(packed(status(reading()))), **change}
    assert status_of(json.dumps(record).encode()) is None


@pytest.mark.parametrize("noise", [b"", b"\xff", b"[]", b"1", b"{}", b"[" * 50_000, b"null"])
def test_noise_is_dropped(noise: bytes) -> None:
    assert status_of(noise) is None
    assert wish_of(noise) is None
