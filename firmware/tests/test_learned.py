"""What control makes of a model's answers: bounded, gliding, told with both parts; and rules alone when it is gone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import GENRES, ROLES, SCENE_KINDS, SECTIONS
from firmware.control.control import TICK_S, Control
from firmware.control.learned import BALANCE, FAMILIES_OF_TARGETS, STALE_TICKS, TRUST_GLIDE_S, Family, Learned
from firmware.control.mixer_state import Mode
from firmware.errors import EvenhandError
from firmware.inference.answer import (
    CHANNEL_DTYPE,
    FAMILIES,
    SESSION_DTYPE,
    TARGETS,
    Answer,
    Explanation,
    bounded,
)
from firmware.tests.control_plant import Plant, Source, setups

RATE_HZ = 48000.0
BAND = ("vox", "gtr", "keys", "bass")
N = len(BAND)


def answer(
    tick: int = 0, n: int = N, *, genre: str = "pop", section: str = "chorus", scene: str = "music",
    is_valid: bool = True, explanation: Explanation | None = None, **channels: object,
) -> Answer:  # fmt: skip
    rows = np.zeros(n, CHANNEL_DTYPE)
    rows["ratio"], rows["sigma"], rows["loudness_lufs"], rows["evidence_s"] = 3.0, 0.0, -30.0, 9.0
    rows["pan_abs"], rows["send_db"], rows["role_prob"] = 0.3, -20.0, 1.0 / len(ROLES)
    for name, value in channels.items():
        rows[name] = np.asarray(value, float)
    session = np.zeros((), SESSION_DTYPE)
    session["genre_prob"][GENRES.index(genre)] = session["section_prob"][SECTIONS.index(section)] = 0.9
    session["scene_prob"][SCENE_KINDS.index(scene)] = 0.9
    return Answer(tick=tick, is_valid=is_valid, channels=bounded(rows), session=session, explanation=explanation)


class Stage(Plant):
    """A plant whose control has a model at its side; ``says`` gives the answer of each tick, or None."""

    says: Callable[[int], Answer | None] = staticmethod(lambda _tick: None)
    n_ticks = 0

    def run(self, seconds: float) -> Stage:
        super().run(seconds)
        return self

    def step(self) -> None:
        snapshot = self.control.tick(self.observe(), self.says(self.n_ticks))
        self.n_ticks += 1
        if snapshot is not None:
            self.params = snapshot
        for name in ("fader", "trim"):
            self.history[name].append(self.value({"fader": "fader.level_db", "trim": "input.trim_db"}[name]).copy())


def stage(*names: str, says: Callable[[int], Answer | None] | None = None, **options: object) -> Stage:
    names = names or BAND
    control = Control(setups(*names), sample_rate_hz=RATE_HZ, **options)  # type: ignore[arg-type]
    made = Stage(control, [Source(-30.0, centre_hz=300.0 * (n + 1)) for n in range(len(names))])
    made.says = says or (lambda _tick: None)
    return made


def level_db(plant: Plant) -> np.ndarray:
    return plant.value("fader.level_db") + plant.value("input.trim_db")


def offsets(*lu: float) -> np.ndarray:
    return np.repeat(np.array(lu)[:, None], 3, axis=1)


# ------------------------------------------------------------------------------------------------ bounded, gliding


def test_a_model_moves_the_balance_by_what_it_differs_from_the_rule() -> None:
    alone = level_db(stage().run(25.0))
    says = answer(offset_lu=offsets(0.0, -3.0, -5.0, -3.0))  # rule: 0, -5, -5, -3
    moved = level_db(stage(says=lambda _: says).run(25.0))
    shift = (moved - moved[0]) - (alone - alone[0])
    assert shift[1] == pytest.approx(2.0, abs=0.9)
    assert np.abs(shift[[2, 3]]).max() < 0.9


def test_a_model_out_of_its_mind_moves_no_further_than_its_bound() -> None:
    alone = level_db(stage().run(25.0))
    says = answer(
        offset_lu=offsets(0.0, 99.0, -99.0, 0.0), tone_db=np.full((N, 4), 99.0), threshold_db=np.full(N, 99.0)
    )
    plant = stage(says=lambda _: says).run(25.0)
    shift = (level_db(plant) - level_db(plant)[0]) - (alone - alone[0])
    assert np.abs(shift).max() < 2 * BALANCE.bound
    assert all(plant.value(f"eq.{n}.gain_db").max() <= 3.0 for n in range(1, 5))


def test_trust_begins_to_fall_within_200_ms_of_the_last_answer_and_no_fader_jumps() -> None:
    says = answer(offset_lu=offsets(0.0, 0.0, -12.0, 3.0))
    alive = {"until": 10**9}
    plant = stage(says=lambda tick: says if tick < alive["until"] else None).run(20.0)
    with_model = level_db(plant)
    alive["until"] = plant.n_ticks
    plant.run(0.2)
    assert plant.control.learned.trust < 1.0
    plant.run(20.0)
    fader = plant.track("fader")
    assert np.abs(np.diff(fader[-1010:], axis=0)).max() <= 0.5
    assert plant.control.learned.trust == 0.0
    alone = level_db(stage().run(20.0))
    back = level_db(plant)
    assert np.abs((back - back[0]) - (alone - alone[0])).max() < 1.2
    assert np.abs(with_model - back).max() > 2.0
    alive["until"] = 10**9
    plant.run(15.0)
    assert plant.control.learned.trust == 1.0
    assert np.abs(level_db(plant) - with_model).max() < 1.2


@pytest.mark.parametrize("seconds", [2.0, 4.6, 14.0])
def test_200_ms_after_the_last_answer_all_that_moves_is_on_its_way_to_the_rule_s_answer(seconds: float) -> None:
    """Whenever it dies, with a fader half-way or at rest; its very last word, another one, is not followed either."""
    wish, last_word = answer(offset_lu=offsets(0.0, 1.0, -11.0, -3.0)), answer(offset_lu=offsets(0.0, -11.0, 1.0, -3.0))
    dies = round(seconds / TICK_S)
    plant = stage(says=lambda t: None if t >= dies else last_word if t >= dies - 4 else wish)
    plant.run(seconds)
    plant.run(0.2)
    held = plant.control.learned.held.copy()
    plant.run(12.0)
    assert np.array_equal(plant.control.learned.held, held)
    net = plant.track("fader") + plant.track("trim")
    late = net[dies + 10 :] - net[dies + 10 :, [0]]  # against the lead, which has no model's part
    steps = np.diff(late, axis=0)
    if seconds >= 4.0:  # before, channels are still being acquired by the rules themselves
        assert steps[:, 1].max() <= 0.02, "still on its way up"
        assert steps[:, 2].min() >= -0.02, "still on its way down"
        assert np.abs(np.diff(plant.track("fader")[dies:], axis=0)).max() <= 0.5
    assert plant.control.learned.trust == 0.0
    alone = level_db(stage().run(seconds + 12.2))
    back = level_db(plant)
    assert np.abs((back - back[0]) - (alone - alone[0])).max() < 1.5


def test_a_limit_cycle_of_five_steps_moves_no_fader() -> None:
    """Int8 outputs go round in circles: 5 of 127 steps of 15 LU are 0.6 LU."""
    base = np.array([0.0, -6.0, -2.0, -4.0])
    plant = stage(says=lambda t: answer(offset_lu=offsets(*(base + 0.6 * np.sin(t / 3.0))))).run(30.0)
    late = plant.track("fader")[-500:]
    assert np.ptp(late, axis=0).max() == 0.0


def test_a_new_section_glides_over_two_seconds_at_least() -> None:
    quiet, loud = offsets(0.0, -10.0, -5.0, -3.0), offsets(0.0, -1.0, -5.0, -3.0)
    plant = stage(says=lambda t: answer(offset_lu=quiet if t < 1000 else loud)).run(20.0)
    plant.run(8.0)
    track = plant.track("fader")[995:, 1]
    assert np.ptp(track) > 2.0
    assert np.abs(np.diff(track)).max() <= 0.1  # dB a tick
    quarter, rest = np.argmax(track > track[0] + 0.1 * np.ptp(track)), np.argmax(track > track[0] + 0.9 * np.ptp(track))
    assert (rest - quarter) * TICK_S >= 1.0


def test_nothing_that_is_no_number_reaches_a_fader() -> None:
    says = answer(offset_lu=np.full((N, 3), np.nan), sigma=np.full((N, 5), np.nan), importance=np.full(N, np.inf))
    plant = stage(says=lambda _: says).run(6.0)
    assert np.isfinite(level_db(plant)).all()


def test_an_answer_that_is_not_valid_counts_as_none() -> None:
    learned = Learned(N, TICK_S)
    for _ in range(300):
        learned.hear(answer(), np.full(N, 10.0))
    assert learned.trust == 1.0
    for _ in range(STALE_TICKS + 1):
        learned.hear(answer(is_valid=False), np.full(N, 10.0))
    assert learned.trust < 1.0
    for _ in range(round(TRUST_GLIDE_S / TICK_S)):
        learned.hear(answer(), np.full(N, 10.0))
    assert learned.trust == 1.0


def test_a_channel_that_was_not_heard_is_not_moved_by_a_model() -> None:
    learned = Learned(N, TICK_S)
    for _ in range(500):
        learned.hear(answer(offset_lu=offsets(*[-20.0] * N)), np.array([0.0, 2.0, 4.0, 99.0]))
    assert learned.residual(BALANCE, np.zeros(N)).tolist() == pytest.approx([0.0, -3.0, -6.0, -6.0], abs=1e-3)


# ------------------------------------------------------------------------------------------------------- authority


def test_a_lock_of_the_engineer_beats_a_model() -> None:
    plant = stage(says=lambda _: answer(offset_lu=offsets(0.0, 0.0, -12.0, 3.0)))
    plant.control.set_locked("channel", 2, "fader", True)
    plant.control.set_mode("channel", 3, "fader", Mode.ASSIST)
    before = plant.value("fader.level_db").copy()
    plant.run(15.0)
    assert plant.value("fader.level_db")[2] == before[2]
    assert plant.value("fader.level_db")[3] == before[3]
    assert any(p.proposal.param == "fader.level_db" and p.proposal.index == 3 for p in plant.control.pending)


# ----------------------------------------------------------------------------------------------------------- roles


def role_prob(*roles: str) -> np.ndarray:
    prob = np.full((len(roles), len(ROLES)), 0.01)
    for row, role in zip(prob, roles, strict=True):
        row[ROLES.index(role)] = 0.8
    return prob


def test_a_model_names_what_nobody_named_and_a_name_still_wins() -> None:
    says = answer(2, n=2, role_prob=role_prob("brass", "brass"))
    plant = stage("kick", "in 2", says=lambda _: says).run(8.0)
    assert [role for _, role, _ in plant.control.roles] == ["kick", "brass"]
    assert plant.control.roles[1][2] == pytest.approx(0.8)


def test_a_role_that_a_model_gave_stays_when_the_model_is_gone() -> None:
    says = answer(n=2, role_prob=role_prob("kick", "brass"))
    plant = stage("kick", "in 2", says=lambda t: says if t < 400 else None).run(25.0)
    assert plant.control.roles[1][1] == "brass"


def test_without_an_answer_the_plain_guess_names_channels() -> None:
    plant = stage("in 1").run(8.0)
    assert plant.control.learned.roles == [("other", 0.0)]
    assert not plant.control.learned.has_answers


def test_a_role_does_not_flutter_between_two_that_are_as_likely() -> None:
    one, other = role_prob("piano"), role_prob("synth")
    blend = [0.55 * one + 0.45 * other, 0.45 * one + 0.55 * other]
    plant = stage("in 1", says=lambda t: answer(n=1, role_prob=blend[t // 50 % 2])).run(20.0)
    assert plant.control._view.roles_version <= 2


# ------------------------------------------------------------------------------------------------- scenes, leaders


def test_speech_and_music_are_told_apart_within_a_second_and_never_flutter() -> None:
    learned = Learned(N, TICK_S)
    for _ in range(400):
        learned.hear(answer(scene="music"), np.full(N, 9.0))
    assert learned.scene_kind == "music"
    for tick in range(400):
        learned.hear(answer(scene="speech" if tick % 10 < 4 else "music"), np.full(N, 9.0))
        assert learned.scene_kind == "music"
    for tick in range(300):
        learned.hear(answer(scene="speech"), np.full(N, 9.0))
        assert learned.scene_kind == ("music" if tick < 24 else "speech" if tick >= 50 else learned.scene_kind)


def test_names_say_what_a_session_is_before_a_model_does() -> None:
    plant = stage("kick", "bass", says=lambda _: answer(n=2, scene="speech")).run(8.0)
    assert plant.control.scene_kind == "music"
    plant = stage("kick", "in 2", says=lambda _: answer(n=2, scene="mixed")).run(8.0)
    assert plant.control.scene_kind == "mixed"


@pytest.mark.parametrize("leader", [0, 2])
def test_who_matters_most_leads_where_nobody_sings(leader: int) -> None:
    """Its offsets aside: ``amount`` keeps the balance to the rule, which is told who leads."""
    names = ("gtr 1", "gtr 2", "keys", "bass")
    importance = np.where(np.arange(N) == leader, 0.9, 0.2)
    plant = stage(*names, says=lambda _: answer(importance=importance))
    plant.control.learned.amount[0] = 0.0
    lifted = level_db(plant.run(20.0)) - level_db(stage(*names).run(20.0))
    assert plant.control.learned.leader == leader
    assert lifted[leader] - np.delete(lifted, leader).mean() == pytest.approx(3.0, abs=1.0)


def test_a_leader_is_not_followed_from_one_breath_to_the_next() -> None:
    learned = Learned(2, TICK_S)
    seen = set()
    for tick in range(1000):
        first = 0.5 + 0.08 * np.sin(tick / 20.0)
        learned.hear(answer(n=2, importance=[first, 1.0 - first]), np.full(2, 9.0))
        seen.add(learned.leader)
    assert len(seen - {-1}) == 1


# ----------------------------------------------------------------------------------------------------------- words


def told_by_model(plant: Stage, parameter: str) -> list:
    plant.control.finish()
    return [d for d in plant.control.decisions if d.parameter == parameter and "sigma" in d.evidence]


def test_a_line_names_both_parts_and_the_setting_and_why() -> None:
    effect = np.zeros((len(TARGETS), len(FAMILIES)), np.float32)
    effect[TARGETS.index("offset_lu"), FAMILIES.index("who else plays")] = -2.0
    effect[TARGETS.index("offset_lu"), FAMILIES.index("own tone")] = 0.9
    told = Explanation(channel=1, style=0, effect=effect)
    says = answer(offset_lu=offsets(0.0, -1.0, -5.0, -3.0), explanation=told)
    plant = stage(says=lambda _: says).run(25.0)
    line = next(d for d in told_by_model(plant, "fader.level_db") if d.index == 1 and "who else" in d.cause)
    assert "rule -5.0, model +" in line.cause
    assert ": pop chorus, backs the lead" in line.cause
    assert line.cause.endswith("(who else plays -2, own tone +0.9)")
    assert {"rule", "model", "sigma", "trust"} <= line.evidence.keys()


def test_the_larger_share_signs_a_decision() -> None:
    plant = stage(says=lambda _: answer(offset_lu=offsets(0.0, -5.0, -5.0, -9.0))).run(25.0)
    sources = {d.index: d.source for d in told_by_model(plant, "fader.level_db")}
    assert sources[3] == "model"  # its rule is -3
    plant = stage(says=lambda _: answer(offset_lu=offsets(0.0, -3.0, -5.0, -3.0))).run(25.0)
    assert {d.index: d.source for d in told_by_model(plant, "fader.level_db")}[1] == "rules"


def test_confidence_falls_with_the_spread_of_good_answers() -> None:
    def confidence(sigma: float) -> float:
        says = answer(offset_lu=offsets(0.0, -5.0, -5.0, -9.0), sigma=np.full((N, 5), sigma))
        return told_by_model(stage(says=lambda _: says).run(25.0), "fader.level_db")[-1].confidence

    assert confidence(0.5) > 0.9 > 0.6 > confidence(2.0)


def test_a_model_that_does_not_know_moves_little() -> None:
    learned = Learned(N, TICK_S)
    for _ in range(1000):
        says = answer(offset_lu=offsets(-6.0, -6.0, -6.0, -6.0), sigma=np.outer([0.0, 2.5, 5.0, 25.0], np.ones(5)))
        learned.hear(says, np.full(N, 10.0))
    assert learned.residual(BALANCE, np.zeros(N)).tolist() == pytest.approx([-6.0, -3.0, -1.2, -0.06], abs=0.01)


def test_where_a_role_is_named_a_model_no_surer_than_the_rule_moves_nothing() -> None:
    learned = Learned(N, TICK_S)
    learned.is_named = np.array([True, True, True, False])
    sigma = BALANCE.rule_sigma * np.array([0.5, 1.0, 3.0, 1.0])
    for _ in range(1000):
        says = answer(offset_lu=offsets(-6.0, -6.0, -6.0, -6.0), sigma=np.outer(sigma, np.ones(5)))
        learned.hear(says, np.full(N, 10.0))
    assert learned.residual(BALANCE, np.zeros(N)).tolist() == pytest.approx([-4.5, 0.0, 0.0, -3.0], abs=0.01)


@pytest.mark.parametrize("family", FAMILIES_OF_TARGETS, ids=lambda f: f.name)
def test_a_named_channel_goes_no_further_with_a_model_than_an_unnamed_one(family: Family) -> None:
    learned = Learned(N, TICK_S)
    for share in np.linspace(0.05, 4.0, 20):
        learned.sigma[:] = family.rule_sigma * share
        learned.is_named = np.array([True, False, True, False])
        named, unknown = learned.share(family)[:2]
        assert 0.0 <= named <= unknown <= 1.0


def test_a_named_lead_vocal_is_not_put_under_the_band() -> None:
    """The model thinks that the guitar leads, and would have it 6 LU up and the voice as much down."""
    alone = level_db(stage().run(25.0))
    wrong = answer(offset_lu=offsets(-6.0, 1.0, 0.0, -3.0), importance=[0.1, 0.9, 0.3, 0.3])
    plant = stage(says=lambda _: wrong).run(25.0)
    moved = level_db(plant)
    assert plant.control.learned.leader == 0
    assert (moved[1:] <= moved[0] + 1.0).all()  # the balance's dead band: nobody is above the lead
    assert moved[0] - moved[3] == pytest.approx(alone[0] - alone[3], abs=1.5)


def test_a_voice_that_nobody_named_or_that_rests_leads_only_as_the_model_says() -> None:
    says = answer(offset_lu=offsets(-6.0, 0.0, -5.0, -3.0), importance=[0.1, 0.9, 0.3, 0.3])
    plant = stage("in 1", "gtr", "keys", "bass", says=lambda _: says).run(15.0)
    assert plant.control.learned.leader == 1
    plant = stage(says=lambda _: says)
    plant.sources[0] = Source(lambda t: -30.0 if t < 12.0 else -np.inf, centre_hz=300.0)
    plant.run(11.0)
    assert plant.control.learned.leader == 0
    assert plant.run(15.0).control.learned.leader == 1


def test_another_style_glides_to_its_own_mix() -> None:
    lu = np.array([[0.0, 0.0, 0.0], [-5.0, -9.0, -2.0], [-5.0] * 3, [-3.0] * 3])
    plant = stage(says=lambda _: answer(offset_lu=lu)).run(20.0)
    natural = level_db(plant)[1] - level_db(plant)[0]
    plant.control.set_style("upfront")
    plant.run(10.0)
    assert level_db(plant)[1] - level_db(plant)[0] < natural - 2.0
    assert np.abs(np.diff(plant.track("fader")[-500:], axis=0)).max() <= 0.2
    with pytest.raises(EvenhandError, match="no style"):
        plant.control.set_style("loud")


def test_what_moves_is_asked_about_in_turns_and_not_too_often() -> None:
    plant = stage(says=lambda t: answer(t, offset_lu=offsets(0.0, 0.0, -12.0, 3.0)))
    asked = []
    for _ in range(500):
        plant.step()
        observation = plant.observe()
        question = plant.control.question(observation)
        asked.append(question.asks_about)
        if question.asks_about >= 0:
            plant.control.learned.explained_tick[question.asks_about] = question.tick
    told = [ch for ch in asked if ch >= 0]
    assert 1 <= len(told) <= 500 * TICK_S * 5
    assert len(set(told)) >= 2


def test_a_successor_goes_on_from_what_the_model_had_said() -> None:
    from firmware.control.keepsake import recall_evidence, recall_state, remember_evidence, remember_state

    says = answer(n=2, offset_lu=offsets(0.0, -12.0), role_prob=role_prob("kick", "brass"))
    plant = stage("kick", "in 2", says=lambda _: says).run(12.0)
    control = plant.control
    successor = Control(control.channels, sample_rate_hz=RATE_HZ)
    recall_state(successor, remember_state(control))
    recall_evidence(successor, remember_evidence(control))
    assert successor.learned.trust == control.learned.trust > 0.9
    assert np.array_equal(successor.learned.held, control.learned.held)
    assert successor.roles == control.roles
    plant.control = successor
    level = level_db(plant)
    plant.run(0.5)
    assert np.abs(level_db(plant) - level).max() <= 0.1


def test_a_rule_takes_back_at_once_what_a_model_moved_through_it() -> None:
    """Not after the two seconds for which a model's word else stands above a rule's."""
    says = answer(offset_lu=offsets(0.0, -5.0, -5.0, -9.0))
    plant = stage(says=lambda t: says if t < 1000 else None).run(20.0)
    before = plant.value("fader.level_db")[3]
    plant.run(6.0)
    track = plant.track("fader")[1000:, 3]
    assert track[-1] > before + 2.0
    moves = np.flatnonzero(np.diff(track) != 0.0)
    assert np.diff(moves).max() * TICK_S < 2.0, "it stood still for as long as a model's word holds"


def test_a_channel_with_another_source_is_asked_about_as_another() -> None:
    plant = stage()
    before = plant.control.question(plant.observe()).generation.tolist()
    plant.control.replace_source(2)
    after = plant.control.question(plant.observe()).generation.tolist()
    assert [b - a for a, b in zip(before, after, strict=True)] == [0, 0, 1, 0]


# ----------------------------------------------------------------------------------------------------------- tempo


def with_tempo(tick: int, bpm: float, confidence: float = 0.9, **more: object) -> Answer:
    told = answer(tick, 2, **more)  # type: ignore[arg-type]
    told.session["tempo_bpm"], told.session["tempo_confidence"] = bpm, confidence
    return told


def echoes(plant: Stage) -> tuple[float, float, float]:
    """Return the delay's tempo, and the sends into it of a voice and of an instrument."""
    send_db = plant.value("fx_send.2.level_db")
    return float(plant.params["delay"]["delay.tempo_bpm"][0]), float(send_db[0]), float(send_db[1])


def test_a_lead_voice_gets_echoes_in_the_tempo_and_loses_them_with_it() -> None:
    plant = stage("vox lead", "gtr", says=lambda t: with_tempo(t, 96.0, 0.9 if t < 1000 else 0.0)).run(2.0)
    assert echoes(plant)[1:] == (-90.0, -90.0)  # not sure yet
    bpm, voice_db, other_db = echoes(plant.run(12.0))
    assert bpm == pytest.approx(96.0, abs=0.5)
    assert -26.0 < voice_db < -16.0
    assert other_db == -90.0
    assert any("pop at 96 BPM" in r for r in plant.control.channel_summaries()[0].reasons)
    assert echoes(plant.run(20.0))[1] == -90.0
    assert plant.control.learned.as_record()["tempo_bpm"] is None


def test_a_tempo_that_flutters_or_doubles_for_a_moment_does_not_move_the_delay() -> None:
    def says(t: int) -> Answer:
        wild = 1000 <= t < 1100 or (t >= 1200 and t % 50 < 20)
        return with_tempo(t, 192.0 if wild else 96.0 + 0.4 * np.sin(t / 9.0))

    plant = stage("vox lead", "gtr", says=says).run(14.0)
    seen = set()
    for _ in range(1300):
        plant.step()
        seen.add(round(echoes(plant)[0], 1))
    assert max(seen) - min(seen) < 1.0


@pytest.mark.parametrize(
    ("scene", "genre", "is_up"), [("music", "pop", True), ("music", "jazz", False), ("speech", "pop", False)]
)
def test_echoes_come_only_where_the_music_asks_for_them(scene: str, genre: str, is_up: bool) -> None:
    plant = stage("vox lead", "in 2", says=lambda t: with_tempo(t, 120.0, scene=scene, genre=genre)).run(12.0)
    assert (echoes(plant)[1] > -90.0) == is_up


def test_a_spacious_mix_has_more_echo_than_an_upfront_one() -> None:
    levels = [
        echoes(stage("vox lead", "gtr", says=lambda t: with_tempo(t, 120.0), style=style).run(14.0))[1]
        for style in ("upfront", "natural", "spacious")
    ]
    assert levels[0] < levels[1] < levels[2]
