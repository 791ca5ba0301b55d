"""A control process that is killed comes back as if nothing had happened."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from firmware.control import keepsake, memory, slots
from firmware.control.control import TICK_S, Control
from firmware.control.keepsake import recall_evidence, recall_state, remember_evidence, remember_state
from firmware.control.mixer_state import Mode
from firmware.control.proposals import Proposal
from firmware.control.rules.balance import SETTLED_DEAD_BAND_DB
from firmware.errors import EvenhandError
from firmware.tests.control_plant import Plant
from firmware.tests.keepsake_sessions import RATE_HZ, SESSIONS, full_mixer, lay_hands_on, started

ROOT = Path(__file__).parents[2]
IS_LEVEL = np.array([info.entry.unit in ("dB", "dBFS") for info in slots.INFO])
JUMPS = slots.IS_DISCRETE | slots.IS_TIMING  # switches, and times that make no sound of their own


def successor_of(control: Control, state: bytes | None = None, evidence: bytes | None = None) -> Control:
    """Return a fresh control that took over what is left of ``control``."""
    fresh = Control(control.channels, sample_rate_hz=RATE_HZ)
    recall_state(fresh, remember_state(control) if state is None else state)
    recall_evidence(fresh, remember_evidence(control) if evidence is None else evidence)
    return fresh


def story_of(control: Control) -> list[dict]:
    return [d.as_record() for d in control.decisions]


# ----------------------------------------------------------------------------------------------- nothing happened


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("kill_tick", [0, 1, 47, 151, 332, 640])
def test_after_a_kill_every_snapshot_and_decision_is_the_same_to_the_bit(session: str, kill_tick: int) -> None:
    plant = started(session)
    control = plant.control
    for tick in range(kill_tick):
        lay_hands_on(control, tick)
        plant.step()
    again = successor_of(control)
    assert again.snapshot().tobytes() == plant.params.tobytes()
    for tick in range(kill_tick, kill_tick + 500):
        for one in (control, again):
            lay_hands_on(one, tick)
        observation = plant.observe()
        plant.params, other = control.tick(observation), again.tick(observation)
        assert (plant.params is None) == (other is None), f"tick {tick}"
        plant.params = control.state.snapshot()
        assert plant.params.tobytes() == again.state.values.tobytes(), f"tick {tick}"
    for one in (control, again):
        one.finish()
    assert again.as_record() == control.as_record()
    n_common = min(len(again.decisions), len(control.decisions))
    assert story_of(again)[-n_common:] == story_of(control)[-n_common:]
    assert again.pending == control.pending
    assert again.roles == control.roles
    assert again.channel_summaries() == control.channel_summaries()
    assert (again.mix_gain_bark() == control.mix_gain_bark()).all()


def test_a_kill_at_every_tick_changes_nothing() -> None:
    plant, often = started("show"), None
    for tick in range(175):
        lay_hands_on(plant.control, tick)
        often = often or successor_of(plant.control)
        if tick:
            lay_hands_on(often, tick)
        observation = plant.observe()
        plant.control.tick(observation)
        often.tick(observation)
        plant.params = plant.control.state.snapshot()
        often = successor_of(often)
    assert often.as_record() == plant.control.as_record()
    assert story_of(often) == story_of(plant.control)[-len(often.decisions) :]


def test_another_process_leaves_what_this_one_can_go_on_with() -> None:
    """With another hash seed, and killed outright."""
    script = (
        "import sys, time\nfrom firmware.tests.test_keepsake import *\n"
        "plant = started('show').run(5.0)\n"
        "for left in (remember_state(plant.control), remember_evidence(plant.control)):\n"
        "    sys.stdout.write(left.hex() + '\\n')\n"
        "sys.stdout.flush()\ntime.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    job = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, env=environment)
    left = [bytes.fromhex(job.stdout.readline().decode()) for _ in range(2)]
    job.send_signal(signal.SIGKILL)
    job.communicate()
    plant = started("show").run(5.0)
    again = successor_of(plant.control, *left)
    for _ in range(200):
        observation = plant.observe()
        plant.control.tick(observation)
        again.tick(observation)
        plant.params = plant.control.state.snapshot()
    assert again.as_record() == plant.control.as_record()


def test_what_looks_into_the_state_sees_the_recalled_values() -> None:
    plant = started("band").run(3.0)
    control = started("band").control
    trim_db, asked = control._view.value("input.trim_db"), control._view.asked("input.trim_db")
    assert not trim_db.any()
    recall_state(control, remember_state(plant.control))
    assert trim_db.all()
    assert (trim_db == plant.value("input.trim_db")).all()
    assert (asked == plant.control._view.asked("input.trim_db")).all()
    assert control.state.params["channel"]["input.trim_db"][0] == trim_db[0]
    assert control.state.state_hash() == plant.control.state.state_hash()


@pytest.mark.parametrize(("remember", "recall"), [(remember_state, recall_state), (remember_evidence, recall_evidence)])
def test_the_next_snapshot_is_a_full_one(
    remember: Callable[[Control], bytes], recall: Callable[[Control, bytes], None]
) -> None:
    plant = started("band").run(1.0)
    assert plant.control.snapshot() is None
    recall(plant.control, remember(plant.control))
    assert plant.control.snapshot().tobytes() == plant.params.tobytes()


def test_a_model_keeps_its_hold_on_a_parameter() -> None:
    plant = started("band").run(6.0)
    wish = Proposal("channel", 6, "fader.level_db", -9.0, "model", {}, 0.9, "model", "net")
    for _ in range(400):
        plant.control.offer([wish])
        plant.step()
    plant.control = successor_of(plant.control)
    plant.run(1.8)  # of the two seconds that a stronger source holds
    assert plant.value("fader.level_db")[6] == -9.0
    plant.run(3.0)
    assert plant.value("fader.level_db")[6] != -9.0  # the rule had a wish all the time


def test_a_pending_question_keeps_its_number() -> None:
    plant = started("band")
    plant.control.set_mode("channel", 6, "fader", Mode.ASSIST)
    plant.run(6.0)
    (before,) = [p for p in plant.control.pending if p.proposal.param == "fader.level_db"]
    again = successor_of(plant.control)
    assert again.pending == plant.control.pending
    assert again.accept(before.id)


def test_a_move_by_hand_can_be_taken_back_after_a_kill() -> None:
    plant = started("band").run(4.0)
    evidence = remember_evidence(plant.control)
    before = plant.control.state.get("channel", 6, "fader.level_db")
    decision = plant.control.set_parameter("channel", 6, "fader.level_db", -20.0)
    again = successor_of(plant.control, evidence=evidence)
    again.undo(decision.id)
    assert again.state.get("channel", 6, "fader.level_db") == before


def test_a_decision_that_nobody_remembers_is_not_taken_for_another() -> None:
    plant = started("band").run(4.0)
    evidence = remember_evidence(plant.control)
    n_before = plant.control.decisions.n_decisions
    for n in range(3 * keepsake.N_NEWEST):
        plant.control.set_parameter("channel", 6, "fader.level_db", -20.0 - n)
    again = successor_of(plant.control, evidence=evidence)
    assert again.decisions.n_decisions == plant.control.decisions.n_decisions
    with pytest.raises(EvenhandError, match=f"decision {n_before} is not in the log"):
        again.undo(n_before)
    assert again.decisions.find(n_before - 1).as_record() == story_of(plant.control)[n_before - 1]
    fresh = again.set_parameter("channel", 0, "fader.level_db", -3.0)
    assert again.decisions.find(fresh.id) is fresh
    ids = [d.id for d in again.decisions]
    assert ids == sorted(set(ids))


# --------------------------------------------------------------------------------------- evidence a second older


def killed(plant: Plant, n_ticks: int, lag_ticks: int) -> Plant:
    """Run, kill, and return the plant with a successor whose evidence is ``lag_ticks`` older than its state."""
    evidence = remember_evidence(plant.control)
    for tick in range(n_ticks):
        if tick == n_ticks - lag_ticks:
            evidence = remember_evidence(plant.control)
        plant.step()
    control, plant.control = plant.control, None
    other = copy.deepcopy(plant)
    plant.control, other.control = control, successor_of(control, evidence=evidence)
    return other


def to_mix_db(plant: Plant) -> np.ndarray:
    """Return each channel's gain to the record bus."""
    ride_db = plant.params["record"]["ride.gain_db"][0]
    return plant.value("input.trim_db") + plant.value("fader.level_db") + ride_db


def step_and_watch(plant: Plant) -> None:
    """Step, and see that nothing goes faster than it was asked to."""
    before = plant.control.state.values.copy()
    plant.step()
    way = np.abs(plant.control.state.values - before)
    allowed = plant.control._arbiter.rate_per_s * TICK_S * 1.0001 + 1e-5 * np.abs(before)
    too_fast = np.flatnonzero((way > allowed) & ~JUMPS)
    assert not too_fast.size, [(slots.INFO[s].index, slots.INFO[s].entry.name, way[s]) for s in too_fast]


@pytest.mark.parametrize("seed", range(6))
def test_with_old_evidence_a_steady_band_stays_where_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plant = started("band")
    other = killed(plant, int(rng.integers(100, 900)), int(rng.integers(1, 51)))
    assert other.control.snapshot().tobytes() == plant.params.tobytes()
    for _ in range(500):
        plant.step()
        step_and_watch(other)
        assert np.abs(to_mix_db(plant) - to_mix_db(other)).max() < 0.5
    difference = np.abs(plant.control.state.values - other.control.state.values)
    assert difference[IS_LEVEL].max() < 0.2


def test_a_pass_that_the_evidence_does_not_know_of_is_neither_taken_again_nor_lost() -> None:
    plant = started("band").run(1.0)
    refinement = plant.control.refinement
    n_passes, evidence = refinement.n_passes, remember_evidence(plant.control)
    for tick in range(1000):
        if refinement.n_passes > n_passes:
            break
        if tick % 50 == 0:
            correction_lu, evidence = refinement.correction_lu.tolist(), remember_evidence(plant.control)
        plant.step()
    again = successor_of(plant.control, evidence=evidence).refinement
    assert again.n_passes == refinement.n_passes == n_passes + 1
    assert again.correction_lu.tolist() == refinement.correction_lu.tolist() != correction_lu
    assert again.missed_lu.tolist() == refinement.missed_lu.tolist()


@pytest.mark.parametrize("session", ["table", "show"])
@pytest.mark.parametrize("seed", range(3))
def test_with_old_evidence_a_moving_session_comes_to_the_same_mix(session: str, seed: int) -> None:
    """Trim and fader may share the work otherwise, and a fader may rest elsewhere in its dead band."""
    rng = np.random.default_rng(seed)
    plant = started(session)
    other = killed(plant, int(rng.integers(150, 900)), int(rng.integers(1, 51)))
    assert other.control.snapshot().tobytes() == plant.params.tobytes()
    for _ in range(500):
        plant.step()
        step_and_watch(other)
    assert np.abs(to_mix_db(plant) - to_mix_db(other)).max() < SETTLED_DEAD_BAND_DB


def test_killed_before_the_first_evidence_with_sound_it_learns_again() -> None:
    plant = started("band")
    other = killed(plant, 33, 50)
    assert other.control.snapshot().tobytes() == plant.params.tobytes()
    for _ in range(500):
        plant.step()
        step_and_watch(other)
    assert np.abs(to_mix_db(plant) - to_mix_db(other)).max() < 0.5


def test_the_engineers_hand_is_never_undone_by_older_evidence() -> None:
    plant = started("band").run(2.0)
    control = plant.control
    evidence = remember_evidence(control)
    plant.run(0.2)
    control.set_parameter("channel", 6, "fader.level_db", -30.0)
    control.set_locked("channel", 2, "input", True)
    control.set_amount("channel", 4, "pan", 0.0)
    plant.run(0.2)
    again = successor_of(control, evidence=evidence)
    locked_db = again.state.get("channel", 2, "input.trim_db")
    state_hash = again.state.state_hash()
    assert state_hash == control.state.state_hash()
    plant.control = again
    plant.params = again.snapshot()
    plant.run(10.0)
    assert again.state.get("channel", 6, "fader.level_db") == -30.0
    assert again.state.get("channel", 2, "input.trim_db") == locked_db
    assert again.state.get("channel", 4, "pan.position") == 0.0
    assert again.state.mode[again.state.section("channel", 6, "fader")] == Mode.MANUAL


def test_a_move_begun_after_the_evidence_keeps_its_reason() -> None:
    plant = started("band").run(4.0)
    evidence = remember_evidence(plant.control)
    wish = Proposal("channel", 5, "tilt.gain_db", 2.0, "the newest reason", {"x": 1.0}, 0.9, "model", "net")
    plant.control.offer([wish])
    plant.run(0.3)
    again = successor_of(plant.control, evidence=evidence)
    plant.control, plant.params = again, again.snapshot()
    plant.run(3.0)
    (told,) = [d for d in again.decisions if d.parameter == "tilt.gain_db"]
    assert (told.from_value, told.to_value, told.cause) == (0.0, 2.0, "the newest reason")
    assert "tilt: the newest reason" in again.channel_summaries()[5].reasons


def test_a_wish_whose_reason_is_lost_says_so_and_still_follows_the_amount() -> None:
    plant = started("band").run(4.0)
    evidence = remember_evidence(plant.control)
    place = Proposal("channel", 5, "tilt.freq_hz", 900.0, "a companion", {}, 1.0, "model", "net", is_companion=True)
    plant.control.offer([place])
    plant.run(4.0)
    again = successor_of(plant.control, evidence=evidence)
    assert any("its reason is lost" in reason for reason in again.channel_summaries()[5].reasons)
    again.set_amount("channel", 5, "tilt", 0.0)
    plant.control, plant.params = again, again.snapshot()
    plant.run(4.0)
    assert plant.value("tilt.freq_hz")[5] == again.state.base[slots.slot("channel", 5, "tilt.freq_hz")]


def test_the_state_alone_is_a_sensible_beginning() -> None:
    plant = started("band").run(8.0)
    again = Control(plant.control.channels, sample_rate_hz=RATE_HZ)
    recall_state(again, remember_state(plant.control))
    before_db = to_mix_db(plant)
    plant.control, plant.params = again, again.snapshot()
    for _ in range(1000):
        step_and_watch(plant)
    assert np.abs(to_mix_db(plant) - before_db).max() < 2.0


# --------------------------------------------------------------------------------------------- nothing is forgotten


@pytest.mark.parametrize("session", SESSIONS)
def test_every_attribute_is_there_from_the_start_and_keeps_its_form(session: str) -> None:
    def forms(plant: Plant) -> dict[str, object]:
        values = {leaf.path: leaf.value for leaf in memory.memories_of(plant.control)}
        return {p: (v.dtype, v.shape) if isinstance(v, np.ndarray) else None for p, v in values.items()}

    assert forms(started(session)) == forms(started(session).run(12.0))


@pytest.mark.parametrize("session", SESSIONS)
def test_no_memory_is_kept_twice(session: str) -> None:
    """What two attributes share would be two things after a restart."""
    plant = started(session).run(5.0)
    arrays = [leaf for leaf in memory.memories_of(plant.control) if isinstance(leaf.value, np.ndarray)]
    shared = [
        (a.path, b.path)
        for n, a in enumerate(arrays)
        for b in arrays[:n]
        if np.shares_memory(a.value, b.value)
    ]  # fmt: skip
    assert shared == []


def test_every_name_in_the_tables_is_an_attribute_of_control() -> None:
    found = {leaf.name for leaf in memory.leaves_of(started("show").control)}
    for table in (memory.SETTINGS, memory.ELSEWHERE, memory.CHECKS, memory.MAY_BE_NO_NUMBER):
        assert set(table) <= found


@pytest.mark.parametrize(
    "strange",
    [object(), {1, 2}, lambda: 0, np.array(["a"]), {1: 2.0}],
    ids=["object", "set", "function", "texts", "numbers"],
)
def test_an_attribute_that_nobody_knows_how_to_keep_is_named(strange: object) -> None:
    plant = started("band")
    plant.control._rules[1]._fresh_idea = strange  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"Balance\._fresh_idea"):
        remember_evidence(plant.control)


@pytest.mark.parametrize("unbounded", [np.zeros(3, int), [1.0], None], ids=repr)
def test_an_attribute_whose_form_says_too_little_asks_for_a_check(unbounded: object) -> None:
    plant = started("band")
    plant.control._rules[1]._fresh_idea = unbounded  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"Balance\._fresh_idea: say in CHECKS"):
        remember_evidence(plant.control)


def test_a_rule_s_new_attribute_is_kept_without_a_word() -> None:
    first, second = started("band"), started("band")
    for plant, idea in ((first, 5.5), (second, 0.0)):
        plant.control._rules[1]._fresh_idea = idea  # type: ignore[attr-defined]
    recall_evidence(second.control, remember_evidence(first.control))
    assert second.control._rules[1]._fresh_idea == 5.5  # type: ignore[attr-defined]


def test_the_evidence_of_a_full_mixer_fits_the_notebook() -> None:
    plant = full_mixer().run(20.0)
    assert len(remember_state(plant.control)) < 100_000
    assert len(remember_evidence(plant.control)) < 400_000
