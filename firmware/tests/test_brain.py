"""The brain: the same question, the same answer; bounded whatever comes; nothing lingers that was no number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import ROLES
from dsp_kernels.contract.layout import FEATURES_DTYPE, MIX_FEATURES_DTYPE, MODEL_INPUT_COLUMNS, N_MODEL_INPUT
from firmware.errors import EvenhandError
from firmware.inference import brain as brain_module
from firmware.inference.answer import BOUNDS, FAMILIES, TARGETS, Answer, Explanation, Question
from firmware.inference.brain import Brain
from firmware.inference.bundle import Evidence
from firmware.inference.evidence import RoleEvidence, sound_of
from firmware.inference.explain import LEAST, TOLD_TICKS, Explainer, Moment, effect_of, played
from firmware.inference.inline import Inline
from firmware.inference.trial import Candidate, candidates_of
from firmware.tests.tiny_bundle import tiny_bundle

TICKS_PER_S = 50


def brain_for(n_channels: int, candidate: Candidate | None = None, *, context_share: float = 0.0) -> Brain:
    bundle = tiny_bundle()
    bundle = replace(bundle, evidence=replace(bundle.evidence, context_share=context_share))
    return Brain(bundle, candidate or candidates_of(bundle)[0], [False] * n_channels)


def features(n_channels: int, tick: int, *, silent: tuple[int, ...] = (), seed: int = 0) -> np.ndarray:
    """Return a record of a busy band: noise around a spectrum of each channel's own."""
    rng = np.random.default_rng([seed, tick])
    rows = np.zeros(n_channels, FEATURES_DTYPE)
    for name in FEATURES_DTYPE.names:
        rows[name] = rng.uniform(0.0, 0.4, rows[name].shape)
    rows["log_mel_db"] = rng.normal(-45.0, 6.0, (n_channels, 40)) + 10 * np.sin(np.arange(n_channels))[:, None]
    rows["bark_dbfs"] = rows["log_mel_db"][:, :24]
    for name, level in (("rms_dbfs", -30.0), ("peak_dbfs", -18.0), ("loudness_momentary_lufs", -30.0),
                        ("loudness_short_term_lufs", -30.0), ("noise_floor_dbfs", -70.0)):  # fmt: skip
        rows[name] = level + rng.normal(0.0, 1.0, n_channels)
    rows["centroid_hz"], rows["rolloff_hz"], rows["crest_db"], rows["is_active"] = 900.0, 3000.0, 12.0, 1.0
    rows["attack_ms"], rows["decay_db_per_s"], rows["bleed_source"], rows["masked_by"] = 20.0, 60.0, -1.0, -1.0
    for ch in silent:
        rows["is_active"][ch], rows["rms_dbfs"][ch], rows["loudness_momentary_lufs"][ch] = 0.0, -100.0, -100.0
        rows["log_mel_db"][ch] = -100.0
    return rows


def question(tick: int, rows: np.ndarray, **more: object) -> Question:
    n = len(rows)
    mix = np.zeros((), MIX_FEATURES_DTYPE)
    mix["chroma"] = np.random.default_rng(tick).uniform(0, 1, 12)
    given: dict = {
        "roles_given": np.full(n, -1, np.int8), "generation": np.zeros(n, np.uint8), "trim_db": np.zeros(n, np.float32),
        "mix_features": mix,
    } | more  # fmt: skip
    return Question(tick=tick, features=rows, **given)


def assert_bounded(answer: Answer) -> None:
    for name, (low, high) in BOUNDS.items():
        values = answer.channels[name]
        assert np.isfinite(values).all(), name
        assert values.min() >= low - 1e-5, name
        assert values.max() <= high + 1e-5, name
    for name in answer.session.dtype.names:
        assert np.isfinite(answer.session[name]).all()
        if name == "tempo_bpm":
            assert 40.0 < answer.session[name] < 240.0
            continue
        assert np.all((answer.session[name] >= 0.0) & (answer.session[name] <= 1.0 + 1e-6))


def same(one: Answer, other: Answer) -> bool:
    return one.to_bytes() == other.to_bytes()


@pytest.mark.parametrize("candidate", candidates_of(tiny_bundle()), ids=lambda c: c.title)
def test_the_same_questions_get_the_same_answers_to_the_bit(candidate: Candidate) -> None:
    brains = [brain_for(5, candidate), brain_for(5, candidate)]
    for tick in range(60):
        one, other = (b.think(question(tick, features(5, tick))) for b in brains)
        assert same(one, other)
        assert_bounded(one)


def test_questions_and_answers_cross_a_process_boundary_unchanged() -> None:
    brain = brain_for(3)
    explained = []
    for tick in range(48):
        asked = question(tick, features(3, tick), style=2, asks_about=1)
        again = Question.from_bytes(asked.to_bytes(), 3)
        assert again.to_bytes() == asked.to_bytes()
        answer = brain.think(again)
        assert same(Answer.from_bytes(answer.to_bytes(), 3), answer)
        explained += [answer.explanation.channel] if answer.explanation else []
    assert set(explained) == {1}
    for cut in (b"", answer.to_bytes()[:-1], answer.to_bytes() + b"x"):
        with pytest.raises(ValueError, match="bytes"):
            Answer.from_bytes(cut, 3)
        with pytest.raises(ValueError, match="bytes"):
            Question.from_bytes(cut, 3)


def test_33_channels_are_refused_and_so_is_another_number_than_it_was_made_for() -> None:
    with pytest.raises(EvenhandError, match="33 channels"):
        brain_for(33)
    with pytest.raises(EvenhandError, match="asked about 4"):
        brain_for(3).think(question(0, features(4, 0)))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e30])
def test_features_that_are_no_numbers_stay_bounded_and_are_forgotten_within_a_second(poison: float) -> None:
    clean, hit = brain_for(4), brain_for(4)
    for tick in range(3 * TICKS_PER_S):
        rows, spoilt = features(4, tick), features(4, tick)
        if 60 <= tick < 65:
            for name in FEATURES_DTYPE.names:
                spoilt[name][1] = poison
        one, other = clean.think(question(tick, rows)), hit.think(question(tick, spoilt))
        assert_bounded(other)
        if tick >= 65 + TICKS_PER_S:
            assert other.is_valid
            for name in ("offset_lu", "tone_db", "pan_abs"):
                far = np.abs(one.channels[name] - other.channels[name]) / (BOUNDS[name][1] - BOUNDS[name][0])
                assert far.max() < 0.1, name


def test_a_state_that_is_no_number_is_zeroed_and_the_next_answer_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    brain = brain_for(4, Candidate(runtime="tflite_runtime", precision="f16"))
    for tick in range(10):
        brain.think(question(tick, features(4, tick)))
    states = {name: tuple(np.full_like(v, np.nan) for v in line) for name, line in brain.mix.states.items()}
    brain.mix.set_states(states)
    spoilt = brain.think(question(10, features(4, 10)))
    assert_bounded(spoilt)
    assert not spoilt.is_valid
    assert brain.think(question(11, features(4, 11))).is_valid


def test_a_channel_that_appears_and_vanishes_leaves_the_others_alone_and_bounded() -> None:
    brain = brain_for(4)
    for tick in range(4 * TICKS_PER_S):
        silent = (2,) if (tick // 40) % 2 else ()
        answer = brain.think(question(tick, features(4, tick, silent=silent)))
        assert_bounded(answer)
        assert answer.is_valid


def test_another_source_on_a_channel_begins_with_nothing_of_the_one_before() -> None:
    old, fresh = brain_for(2), brain_for(2)
    for tick in range(100):
        old.think(question(tick, features(2, tick)))
    generation = np.array([0, 1], np.uint8)
    again = old.think(question(100, features(2, 100), generation=generation))
    first = fresh.think(question(100, features(2, 100)))
    assert again.channels["evidence_s"][1] == pytest.approx(first.channels["evidence_s"][1])
    assert again.channels["role_prob"][1] == pytest.approx(first.channels["role_prob"][1])
    assert again.channels["evidence_s"][0] > 0.5


@pytest.mark.parametrize("n_channels", [1, 8, 25, 26, 32])
def test_every_channel_that_sounds_is_looked_at_twice_a_second_at_the_same_cost_a_tick(
    n_channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain = brain_for(n_channels)
    looks: list[tuple[int, int]] = []
    hear = RoleEvidence.hear
    now = {"tick": 0}

    def noted(self: RoleEvidence, ch: int, logits: np.ndarray, active_s: float, sound_s: float) -> None:
        looks.append((now["tick"], ch))
        hear(self, ch, logits, active_s, sound_s)

    monkeypatch.setattr(brain_module.RoleEvidence, "hear", noted)
    for tick in range(2 * TICKS_PER_S):
        now["tick"] = tick
        brain.think(question(tick, features(n_channels, tick)))
    for ch in range(n_channels):
        times = [tick for tick, seen in looks if seen == ch]
        assert np.diff(times).max() <= TICKS_PER_S // 2
    per_tick = np.bincount([tick for tick, _ in looks], minlength=2 * TICKS_PER_S)
    assert per_tick.max() <= -(-n_channels // 25)


def test_silent_channels_are_not_looked_at() -> None:
    brain = brain_for(4)
    for tick in range(100):
        answer = brain.think(question(tick, features(4, tick, silent=(0, 1, 3))))
    assert answer.channels["evidence_s"][2] > 0.5
    assert answer.channels["evidence_s"][[0, 1, 3]].max() == 0.0
    assert answer.channels["role_prob"][0] == pytest.approx(1.0 / len(ROLES))


def test_evidence_grows_with_what_was_heard_and_forgets_after_its_memory() -> None:
    evidence = RoleEvidence(1, 3, Evidence(temperature=1.0, memory_s=10.0, context_share=0.0))
    one, other = np.array([2.0, 0.0, 0.0]), np.array([0.0, 2.0, 0.0])
    sure = []
    for _ in range(100):
        evidence.hear(0, one, 0.5, 0.5)
        sure.append(evidence.prob[0, 0])
    assert sure[0] < sure[1] <= sure[-1]
    steady = np.array([2.0, 0.0, 0.0]) * 10.25 / (10.25 + 0.5)  # 10.25 s: the sum of 0.5 s at exp(-0.05) each
    assert sure[-1] == pytest.approx(np.exp(steady)[0] / np.exp(steady).sum(), abs=2e-3)
    for _ in range(60):
        evidence.hear(0, other, 0.5, 0.5)
    assert np.argmax(evidence.prob[0]) == 1
    before = evidence.prob.copy()
    evidence.hear(0, np.array([np.nan, 0.0, 0.0]), 0.5, 0.5)
    evidence.hear(0, one, 0.0, 0.0)
    assert np.array_equal(evidence.prob, before)


@pytest.mark.parametrize("silent", [(), (1, 2)])
def test_a_channel_that_nobody_plays_with_is_what_its_own_sound_says(silent: tuple[int, ...]) -> None:
    n_channels = 1 + len(silent)
    brains = [brain_for(n_channels, context_share=share) for share in (0.0, 0.9)]
    for tick in range(80):
        own, said = (b.think(question(tick, features(n_channels, tick, silent=silent))) for b in brains)
        assert np.array_equal(own.channels["role_prob"], said.channels["role_prob"])


def test_a_loud_moment_says_more_than_a_quiet_one_as_long() -> None:
    how = Evidence(temperature=1.0, memory_s=1e9, context_share=0.0)
    x = np.zeros((5, N_MODEL_INPUT), np.float32)
    x[:4, MODEL_INPUT_COLUMNS["is_active"]] = 1.0
    over_usual_db = np.array([0.0, -10.0, 10.0, 25.0, 0.0])
    x[:, MODEL_INPUT_COLUMNS["level_now"].start] = over_usual_db / 30.0
    np.testing.assert_allclose(sound_of(x), 0.02 * np.array([1.0, 0.1, 10.0, 10.0, 0.0]), rtol=1e-6)
    evidence, one, other = RoleEvidence(1, 2, how), np.array([1.0, 0.0]), np.array([0.0, 1.0])
    for _ in range(50):
        evidence.hear(0, one, 0.02, 0.02)
        evidence.hear(0, other, 0.02, 0.002)
    logit = (1.0 - 0.1) / (1.0 + 0.1) * 2.0 / (2.0 + 0.5)  # ten times as much sound on one side, and 0.5 s of doubt
    assert np.log(evidence.prob[0, 0] / evidence.prob[0, 1]) == pytest.approx(logit, abs=1e-5)
    assert evidence.active_s[0] == pytest.approx(2.0)


def test_who_is_heard_among_others_is_what_they_let_one_think_too() -> None:
    brains = [brain_for(3, context_share=share) for share in (0.0, 0.9)]
    for tick in range(80):
        own, said = (b.think(question(tick, features(3, tick))).channels["role_prob"] for b in brains)
    assert np.abs(own - said).max() > 1e-3
    assert said.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_the_more_are_heard_the_more_the_others_say() -> None:
    how = Evidence(temperature=0.5, memory_s=20.0, context_share=0.6)
    own, context = RoleEvidence(1, 2, how), RoleEvidence(1, 2, how)
    own.hear(0, np.array([2.0, 0.0]), 0.5, 0.5)  # among 0.5 s of doubt: half of it, over the temperature
    context.hear(0, np.array([0.0, 2.0]), 0.5, 0.5)
    odds = [np.log(prob[0, 0] / prob[0, 1]) for prob in (own.pooled(context, n) for n in (0, 1, 2, 3, 30))]
    assert odds == pytest.approx([2.0, 2.0, 0.8, 0.4, -0.32], abs=1e-5)


def test_a_named_channel_is_told_to_the_networks_as_named() -> None:
    brain = brain_for(2)
    given = np.array([ROLES.index("kick"), -1], np.int8)
    brain.think(question(0, features(2, 0), roles_given=given))
    told = brain.past[-1].inputs["role_prob"]
    assert told[0, ROLES.index("kick")] > 0.9
    assert told[1].max() < 0.5


def test_every_bundle_in_every_bucket_gives_the_channels_the_same_answer() -> None:
    """The brain of three channels and the same three among padding to 16 or 32 differ in nothing."""
    brains = [brain_for(3), brain_for(3)]
    brains[1].mix, brains[1]._size = brain_module.load(tiny_bundle(), "mix", brains[1].candidate, 32)
    for tick in range(30):
        asked = question(tick, features(3, tick))
        one, other = (b.think(asked) for b in brains)
        assert same(one, other)


def test_a_channel_that_vanished_for_long_is_answered_as_one_that_never_did_within_a_second_of_its_return() -> None:
    steady, gone = brain_for(4), brain_for(4)
    for tick in range(6 * TICKS_PER_S):
        away = (2,) if 100 <= tick < 200 else ()
        one = steady.think(question(tick, features(4, tick)))
        other = gone.think(question(tick, features(4, tick, silent=away)))
        assert_bounded(other)
        if tick >= 200 + TICKS_PER_S:
            for name in ("offset_lu", "tone_db", "pan_abs"):
                far = np.abs(one.channels[name] - other.channels[name]) / (BOUNDS[name][1] - BOUNDS[name][0])
                assert far.max() < 0.1, name


def test_no_bucket_is_too_small_for_32_channels_of_which_most_come_and_go() -> None:
    brain = brain_for(32)
    random = np.random.default_rng(6)
    for tick in range(2 * TICKS_PER_S):
        rows = features(32, tick, silent=tuple(np.flatnonzero(random.uniform(size=32) < 0.5).tolist()))
        if tick % 7 == 0:
            rows["log_mel_db"][random.integers(32)] = np.nan
        assert_bounded(brain.think(question(tick, rows)))


def test_the_tempo_of_the_answer_is_that_of_the_song_network_s_beats() -> None:
    """The network is the tiny one and hears no beat: its activations are put in the place of what it says."""
    brain = brain_for(2)
    read = brain._song_decoder.session

    def beating(z: np.ndarray) -> np.ndarray:
        told = read(z)
        told["beat"] = 0.9 if tick % 25 == 0 else 0.02
        told["downbeat"] = 0.9 if tick % 100 == 0 else 0.01
        return told

    brain._song_decoder.session = beating  # type: ignore[method-assign]
    for tick in range(12 * TICKS_PER_S):
        answer = brain.think(question(tick, features(2, tick)))
    assert answer.session["tempo_bpm"] == pytest.approx(120.0, rel=0.02)
    assert answer.session["tempo_confidence"] > 0.6


# ------------------------------------------------------------------------------------------------------ explanations


def explanation_of(brain: Brain, ch: int) -> Explanation:
    explainer = Explainer(brain.mix)
    explainer.start(brain.past, ch, 0)
    while (told := explainer.step()) is None:
        pass
    return told


def test_all_that_an_explanation_tells_holds_when_the_cause_is_taken_away() -> None:
    """With a quarter less taken away than when it was found, and on the last tick alone."""
    brain = brain_for(4)
    for tick in range(80):
        brain.think(question(tick, features(4, tick)))
    told = explanation_of(brain, 1)
    causes = [(t, f) for t in range(len(TARGETS)) for f in range(len(FAMILIES)) if told.effect[t, f]]
    assert len(causes) > len(TARGETS)
    before = played(brain.mix, brain.past, 1, 0)[-1]
    moved = np.array([before - played(brain.mix, brain.past, 1, 0, family, 0.75)[-1] for family in FAMILIES])
    for target, family in causes:
        assert moved[family, target] * told.effect[target, family] > 0.0


def test_what_is_now_above_and_now_under_or_moves_nobody_is_not_told() -> None:
    random = np.random.default_rng(3)
    wanders = random.normal(0.0, 1.0, (TOLD_TICKS, len(TARGETS)))
    assert not effect_of(wanders + 0.5, np.zeros_like(wanders)).any()
    assert effect_of(wanders + 5.0, np.zeros_like(wanders)).all()
    brain = brain_for(4)
    for tick in range(80):
        brain.think(question(tick, features(4, tick)))
    told = np.abs(explanation_of(brain, 1).effect)
    assert ((told == 0.0) | (told >= LEAST[:, None].astype(np.float32))).all()


def test_what_a_network_does_not_listen_to_has_no_effect() -> None:
    """Where nothing is known of genre and section, that has no effect."""
    brain = brain_for(2)
    for tick in range(30):
        brain.think(question(tick, features(2, tick)))
    silent = [Moment({**m.inputs, "song": np.zeros_like(m.inputs["song"])}, m.states) for m in brain.past]
    brain.past.clear()
    brain.past.extend(silent)
    assert not explanation_of(brain, 0).effect[:, FAMILIES.index("genre and section")].any()


def test_an_explanation_comes_a_third_of_a_second_after_it_was_asked_for() -> None:
    brain = brain_for(3)
    for tick in range(30):
        brain.think(question(tick, features(3, tick)))
    came = [
        brain.think(question(t, features(3, t), asks_about=2 if t == 30 else -1)).explanation for t in range(30, 60)
    ]
    assert [told.channel for told in came if told] == [2]
    assert came.index(next(filter(None, came))) <= 16


def test_being_asked_why_changes_no_answer() -> None:
    plain, asked = brain_for(3), brain_for(3)
    for tick in range(60):
        rows = features(3, tick)
        one = plain.think(question(tick, rows))
        other = asked.think(question(tick, rows, asks_about=tick % 3))
        assert same(one, replace(other, explanation=None))


def test_a_brain_is_swapped_between_two_ticks_and_the_answer_is_a_tick_late() -> None:
    inline = Inline(brain_for(2))
    assert inline.take() is None
    inline.ask(question(7, features(2, 7)))
    inline.swap(brain_for(2))
    assert inline.take().tick == 7
    assert inline.take() is None
    inline.ask(question(8, features(2, 8)))
    assert inline.take().tick == 8
