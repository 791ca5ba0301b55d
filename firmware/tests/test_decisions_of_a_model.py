"""A thousand decisions with a model's part: causes hold, and each can be undone and locked, and is within bounds.

The default run takes the first quarter of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import PARAMS
from firmware.control.control import TICK_S
from firmware.control.learned import Learned
from firmware.control.mixer_state import Mode
from firmware.control.slots import section_of
from firmware.inference.answer import FAMILIES, TARGETS, Answer, Explanation, Question
from firmware.inference.brain import Brain
from firmware.inference.bundle import SHIPPED, Bundle, read_bundle
from firmware.inference.explain import PAST_TICKS, played
from firmware.inference.keys import trusted_keys
from firmware.inference.trial import candidates_of
from firmware.tests.control_plant import Source
from firmware.tests.test_brain import explanation_of, features, question
from firmware.tests.test_learned import Stage, answer, stage
from firmware.tests.tiny_bundle import tiny_bundle

N_CHANNELS = 6
TRIALS = [
    ("tiny", 250),
    pytest.param("tiny", 1000, marks=pytest.mark.soak),
    pytest.param("shipped", 1000, marks=pytest.mark.soak),
]
RANGES = {(p.scope, p.name): (p.minimum, p.maximum) for p in PARAMS}


def bundle_called(name: str) -> Bundle:
    return read_bundle(SHIPPED, trusted_keys([])) if name == "shipped" else tiny_bundle()


def cited(told: Explanation, target: str) -> list[str]:
    """Return the families that a decision's line names for a target, as control words it."""
    learned = Learned(N_CHANNELS, TICK_S)
    learned.effect[told.channel], learned.explained_tick[told.channel] = told.effect, 0.0
    words = learned.why(told.channel, target)
    return [family for family in FAMILIES if family in words]


def heard(tick: int) -> Question:
    """Return a look at a band of which one rests at a time, two seconds each."""
    return question(tick, features(N_CHANNELS, tick, silent=((tick // 100) % N_CHANNELS,)))


@pytest.mark.parametrize(("name", "n_wanted"), TRIALS)
def test_of_what_decisions_cite_95_percent_hold_when_the_cause_is_taken_away(name: str, n_wanted: int) -> None:
    """Judged on the ticks that follow the explanation's own, with three quarters of the cause gone."""
    bundle = bundle_called(name)
    brain = Brain(bundle, candidates_of(bundle)[0], [False] * N_CHANNELS)
    n_decisions = n_causes = n_hold = 0
    tick = 0
    while n_decisions < n_wanted:
        for _ in range(PAST_TICKS):
            brain.think(heard(tick))
            tick += 1
        if tick < 4 * PAST_TICKS:
            continue
        ch = n_decisions // len(TARGETS) % N_CHANNELS
        told = explanation_of(brain, ch)
        for _ in range(PAST_TICKS // 2):
            brain.think(heard(tick))
            tick += 1
        before = played(brain.mix, brain.past, ch, 0)[-1]
        moved = {family: before - played(brain.mix, brain.past, ch, 0, family, 0.75)[-1] for family in FAMILIES}
        for row, target in enumerate(TARGETS):
            n_decisions += 1
            for family in cited(told, target):
                n_causes += 1
                n_hold += float(moved[family][row]) * float(told.effect[row, FAMILIES.index(family)]) > 0.0
    print(f"{n_decisions} decisions cite {n_causes} causes, {100 * n_hold / n_causes:.1f} % hold ({bundle.title})")
    assert n_causes >= n_wanted // 2
    assert n_hold >= 0.95 * n_causes


def wandering(seed: int) -> Stage:
    """Return a band whose model wants another mix every six seconds."""
    random = np.random.default_rng(seed)
    names = ("vox", "gtr", "keys", "brass", "bass", "bgvox 1", "strings", "snare")
    n = len(names)
    wishes: dict[int, Answer] = {}

    def says(tick: int) -> Answer:
        number = tick // 300
        if number not in wishes:
            wishes[number] = answer(
                n=n, offset_lu=np.repeat(random.uniform(-15, 6, (n, 1)), 3, axis=1),
                tone_db=random.uniform(-6, 6, (n, 4)),
                pan_abs=np.repeat(random.uniform(0, 1, (n, 1)), 3, axis=1), ratio=random.uniform(1, 8, n),
                send_db=np.repeat(random.uniform(-40, 0, (n, 1)), 3, axis=1), threshold_db=random.uniform(-20, 20, n),
            )  # fmt: skip
        return wishes[number]

    made = stage(*names, says=says)
    made.sources = [Source(-30.0, centre_hz=150.0 * 1.6**ch, crest_db=15.0) for ch in range(n)]
    return made


@pytest.fixture(scope="module", params=[250, pytest.param(1000, marks=pytest.mark.soak)])
def decided(request: pytest.FixtureRequest) -> list[Stage]:
    """Return bands that made so many decisions with a model's part."""
    played_bands: list[Stage] = []
    while sum(len(of_model(s)) for s in played_bands) < request.param:
        band = wandering(len(played_bands)).run(60.0)
        band.control.finish()
        played_bands.append(band)
        assert len(played_bands) < 20, "too few decisions"
    return played_bands


def of_model(band: Stage) -> list:
    return [d for d in band.control.decisions if "sigma" in d.evidence]


def test_all_decisions_are_within_the_range_of_their_parameter(decided: list[Stage]) -> None:
    for decision in (d for band in decided for d in of_model(band)):
        low, high = RANGES[decision.scope, decision.parameter]
        assert low <= decision.from_value <= high
        assert low <= decision.to_value <= high
        assert 0.0 <= decision.confidence <= 1.0


def test_each_decision_is_taken_back_to_what_was_before(decided: list[Stage]) -> None:
    for band in decided:
        control = band.control
        for decision in of_model(band):
            control.undo(decision.id)
            assert control.state.get(decision.scope, decision.index, decision.parameter) == pytest.approx(
                decision.from_value, abs=1e-4
            )
            section = control.state.section(decision.scope, decision.index, section_of(decision.parameter))
            assert control.state.mode[section] == Mode.MANUAL


def test_a_locked_strip_makes_no_decision_of_a_model() -> None:
    band = wandering(99)
    for ch in range(4):
        for section in ("input", "fader", "eq", "pan", "compressor", "fx_send"):
            band.control.set_locked("channel", ch, section, True)
    band.run(25.0)
    band.control.finish()
    assert of_model(band)
    assert all(d.index >= 4 for d in of_model(band))
