"""Mixer state, arbiter and decision log: what they promise."""

from __future__ import annotations

import io
import itertools
import json
import math

import numpy as np
import pytest

from firmware.control import slots
from firmware.control.arbiter import Arbiter
from firmware.control.decisions import DecisionLog
from firmware.control.mixer_state import MixerState, Mode
from firmware.control.proposals import Proposal
from firmware.errors import EvenhandError


def wish(param: str, value: float, *, source: str = "rules", index: int = 0, scope: str = "channel") -> Proposal:
    return Proposal(scope, index, param, value, "because", {"level_db": 1.0}, source=source, rule="test")


@pytest.fixture
def state() -> MixerState:
    return MixerState()


@pytest.fixture
def arbiter(state: MixerState) -> Arbiter:
    return Arbiter(state, DecisionLog(), lambda scope, index: f"{scope} {index + 1}")


def run(arbiter: Arbiter, seconds: float, start_s: float = 0.0) -> float:
    for n in range(round(seconds / 0.02)):
        arbiter.advance(start_s + n * 0.02, 0.02)
    return start_s + seconds


# ------------------------------------------------------------------------------------------------------------ state


@pytest.mark.parametrize(("asked", "kept"), [(99.0, 10.0), (-math.inf, -90.0), (math.inf, 10.0), (-3.5, -3.5)])
def test_a_write_is_clamped_by_the_contract(state: MixerState, asked: float, kept: float) -> None:
    state.write(slots.slot("channel", 2, "fader.level_db"), asked)
    assert state.get("channel", 2, "fader.level_db") == kept
    assert state.params["channel"]["fader.level_db"][2] == kept


def test_nan_is_refused_and_the_value_stands(state: MixerState) -> None:
    with pytest.raises(EvenhandError, match=r"channel 3 fader\.level_db = nan is not a number; kept 0"):
        state.write(slots.slot("channel", 2, "fader.level_db"), math.nan)
    assert state.get("channel", 2, "fader.level_db") == 0.0


def test_switches_and_choices_stay_whole(state: MixerState) -> None:
    state.write(slots.slot("channel", 0, "eq.1.type"), 1.4)
    assert state.get("channel", 0, "eq.1.type") == 1.0


def test_every_slot_of_the_snapshot_is_described_once() -> None:
    assert len({(i.scope, i.index, i.entry.name) for i in slots.INFO}) == slots.N_SLOTS


def test_an_unknown_parameter_lists_near_misses() -> None:
    with pytest.raises(EvenhandError, match=r'no parameter "gate.treshold_dbfs"; near: gate.threshold_dbfs'):
        slots.slot("channel", 0, "gate.treshold_dbfs")
    with pytest.raises(EvenhandError, match="no channel 33; there are 1 to 32"):
        slots.slot("channel", 32, "fader.level_db")


def test_the_state_hash_follows_values_modes_and_locks(state: MixerState) -> None:
    fresh = state.state_hash()
    state.set_locked("channel", 0, "fader", True)
    locked = state.state_hash()
    state.write(slots.slot("channel", 0, "fader.level_db"), -1.0)
    assert len({fresh, locked, state.state_hash()}) == 3
    state.write(slots.slot("channel", 0, "fader.level_db"), 0.0)
    state.set_locked("channel", 0, "fader", False)
    assert state.state_hash() == fresh


def test_the_snapshot_is_a_copy(state: MixerState) -> None:
    before = state.snapshot()
    state.write(slots.slot("channel", 0, "fader.level_db"), -1.0)
    assert before["channel"]["fader.level_db"][0] == 0.0
    assert state.snapshot()["channel"]["fader.level_db"][0] == -1.0


# ---------------------------------------------------------------------------------------------------------- arbiter


def test_a_wish_is_reached_at_the_parameter_s_own_pace(arbiter: Arbiter, state: MixerState) -> None:
    arbiter.offer([wish("fader.level_db", -6.0)], 0.0)
    run(arbiter, 1.0)
    assert state.get("channel", 0, "fader.level_db") == pytest.approx(-3.0, abs=0.05)  # 3 dB/s
    run(arbiter, 1.1, 1.0)
    assert state.get("channel", 0, "fader.level_db") == -6.0


def test_a_wish_inside_the_dead_band_moves_nothing(arbiter: Arbiter, state: MixerState) -> None:
    arbiter.offer([wish("fader.level_db", 0.2)], 0.0)
    run(arbiter, 1.0)
    assert state.get("channel", 0, "fader.level_db") == 0.0
    assert state.n_changes == 0


def test_a_locked_section_is_never_moved_not_even_by_safety(arbiter: Arbiter, state: MixerState) -> None:
    state.set_locked("channel", 0, "input", True)
    for source in ("rules", "model", "safety"):
        arbiter.offer([wish("input.trim_db", -20.0, source=source)], 0.0)
    run(arbiter, 1.0)
    assert state.get("channel", 0, "input.trim_db") == 0.0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_safety_beats_the_model_and_the_model_beats_the_rules(order: tuple[int, ...]) -> None:
    state = MixerState()
    arbiter = Arbiter(state, DecisionLog(), lambda scope, index: scope)
    wishes = [wish("input.trim_db", v, source=s) for v, s in ((-1.0, "rules"), (-2.0, "model"), (-3.0, "safety"))]
    arbiter.offer([wishes[n] for n in order], 0.0)
    run(arbiter, 2.0)
    assert state.get("channel", 0, "input.trim_db") == -3.0


def test_rules_take_over_when_the_model_falls_silent(arbiter: Arbiter, state: MixerState) -> None:
    arbiter.offer([wish("fader.level_db", -6.0, source="model")], 0.0)
    arbiter.offer([wish("fader.level_db", 3.0)], 1.0)
    assert run(arbiter, 3.0) == 3.0
    assert state.get("channel", 0, "fader.level_db") == -6.0
    arbiter.offer([wish("fader.level_db", 3.0)], 3.0)
    run(arbiter, 4.0, 3.0)
    assert state.get("channel", 0, "fader.level_db") == 3.0


def test_a_rule_that_moves_what_rules_may_not_is_our_bug(arbiter: Arbiter) -> None:
    with pytest.raises(ValueError, match=r"rules may not move fader\.is_muted"):
        arbiter.offer([wish("fader.is_muted", 1.0)], 0.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_wish_that_is_no_number_is_dropped_and_counted(arbiter: Arbiter, state: MixerState, value: float) -> None:
    arbiter.offer([wish("fader.level_db", value)], 0.0)
    run(arbiter, 0.1)
    assert arbiter.n_refused == 1
    assert state.n_changes == 0


def test_assist_waits_until_it_is_accepted(arbiter: Arbiter, state: MixerState) -> None:
    state.set_mode("channel", 0, "fader", Mode.ASSIST)
    arbiter.offer([wish("fader.level_db", -4.0)], 0.0)
    arbiter.offer([wish("fader.level_db", -6.0)], 0.5)
    run(arbiter, 2.0)
    assert state.get("channel", 0, "fader.level_db") == 0.0
    (waiting,) = arbiter.pending  # the newer replaced the older
    assert waiting.proposal.value == -6.0
    assert arbiter.accept(waiting.id, 2.0)
    run(arbiter, 3.0, 2.0)
    assert state.get("channel", 0, "fader.level_db") == -6.0
    assert not arbiter.pending
    assert not arbiter.accept(waiting.id, 5.0)


def test_manual_ignores_wishes(arbiter: Arbiter, state: MixerState) -> None:
    state.set_mode("channel", 0, "fader", Mode.MANUAL)
    arbiter.offer([wish("fader.level_db", -6.0)], 0.0)
    run(arbiter, 2.0)
    assert state.get("channel", 0, "fader.level_db") == 0.0
    assert not arbiter.pending


@pytest.mark.parametrize(("amount_percent", "expected_db"), [(0.0, 0.0), (50.0, -3.0), (100.0, -6.0)])
def test_the_amount_scales_what_is_done(amount_percent: float, expected_db: float) -> None:
    state = MixerState(amount_percent)
    arbiter = Arbiter(state, DecisionLog(), lambda scope, index: scope)
    arbiter.offer([wish("fader.level_db", -6.0)], 0.0)
    run(arbiter, 3.0)
    assert state.get("channel", 0, "fader.level_db") == pytest.approx(expected_db)


def test_half_the_amount_of_a_frequency_is_the_geometric_mean() -> None:
    state = MixerState(50.0)
    arbiter = Arbiter(state, DecisionLog(), lambda scope, index: scope)
    arbiter.offer([wish("hpf.freq_hz", 320.0)], 0.0)  # default 80 Hz
    run(arbiter, 10.0)
    assert state.get("channel", 0, "hpf.freq_hz") == pytest.approx(160.0, rel=1e-4)


# -------------------------------------------------------------------------------------------------------------- log


def test_a_move_is_one_line_when_it_settles(arbiter: Arbiter) -> None:
    arbiter.offer([wish("fader.level_db", -6.0)], 0.0)
    run(arbiter, 4.0)
    (decision,) = arbiter.decisions
    assert (decision.from_value, decision.to_value, decision.unit) == (0.0, -6.0, "dB")
    assert (decision.cause, decision.source, decision.channel) == ("because", "rules", "channel 1")


def test_a_ride_that_never_rests_is_told_every_few_seconds_not_each_tick(arbiter: Arbiter) -> None:
    for n in range(1000):  # 20 s, up and up by 0.02 dB a tick
        arbiter.offer([wish("ride.gain_db", 0.02 * n, scope="record")], n * 0.02)
        arbiter.advance(n * 0.02, 0.02)
    arbiter.flush(20.0)
    lines = list(arbiter.decisions)
    assert 3 <= len(lines) <= 6
    assert all(a.to_value == b.from_value for a, b in itertools.pairwise(lines))


def test_small_steps_add_up_to_one_line(arbiter: Arbiter) -> None:
    now_s = 0.0
    for n in range(1, 5):
        arbiter.offer([wish("fader.level_db", 0.3 * n)], now_s)
        now_s = run(arbiter, 2.0, now_s)
    (decision,) = arbiter.decisions
    assert decision.from_value == 0.0
    assert decision.to_value == pytest.approx(0.9, abs=0.31)


def test_a_companion_has_no_line_of_its_own(arbiter: Arbiter, state: MixerState) -> None:
    arbiter.offer([wish("eq.1.freq_hz", 300.0)._replace(is_companion=True), wish("eq.1.gain_db", -3.0)], 0.0)
    run(arbiter, 8.0)
    assert [d.parameter for d in arbiter.decisions] == ["eq.1.gain_db"]
    assert state.get("channel", 0, "eq.1.freq_hz") == pytest.approx(300.0)


def test_the_log_forgets_the_oldest_and_keeps_their_count() -> None:
    log = DecisionLog(max_decisions=10)
    for n in range(25):
        log.add(time_s=float(n), scope="channel", index=0, channel="kick", parameter="fader.level_db", from_value=0.0,
                to_value=1.0, unit="dB", cause="c", evidence={}, confidence=1.0, source="rules", rule="r")  # fmt: skip
    assert len(log) == 10
    assert log.n_decisions == 25
    assert log.find(3) is None
    assert log.find(24) is log[9]
    assert log.find(25) is None


def test_the_log_is_written_as_json_lines() -> None:
    file = io.StringIO()
    arbiter = Arbiter(MixerState(), DecisionLog(file), lambda scope, index: "kick")
    arbiter.offer([wish("fader.level_db", -6.0)], 0.0)
    run(arbiter, 4.0)
    (line,) = file.getvalue().splitlines()
    record = json.loads(line)
    assert record["channel"] == "kick"
    assert (record["from"], record["to"]) == (0.0, -6.0)
    assert record["evidence"] == {"level_db": 1.0}


def test_moves_under_way_do_not_grow_without_bound(arbiter: Arbiter) -> None:
    rng = np.random.default_rng(1)
    for n in range(3000):
        arbiter.offer([wish("fader.level_db", float(rng.uniform(-90, 10)), index=n % 32)], n * 0.02)
        arbiter.advance(n * 0.02, 0.02)
    assert len(arbiter._moves) <= 32
    assert len(arbiter._gliding) <= 32
