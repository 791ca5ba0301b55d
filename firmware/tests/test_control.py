"""The whole control in closed loops with a plant that turns parameters into loudness."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from dsp_kernels.contract.layout import PARAMS_DTYPE
from firmware.control import slots
from firmware.control.control import TICK_S, Control
from firmware.control.mixer_state import Mode
from firmware.control.proposals import Proposal
from firmware.errors import EvenhandError
from firmware.observation import TICK_MS
from firmware.tests.control_plant import Plant, Source, setups, tuned

BAND = ("kick", "snare", "bass", "gtr l", "gtr r", "keys", "vox lead", "bgvox 1")
RATE_HZ = 48000.0


def band(levels_dbfs: list[float] | None = None, **options: object) -> Plant:
    levels = levels_dbfs or [-20.0, -30.0, -18.0, -26.0, -34.0, -22.0, -40.0, -36.0]
    centres = [70.0, 900.0, 90.0, 800.0, 1000.0, 500.0, 1500.0, 1700.0]
    control = Control(setups(*BAND), sample_rate_hz=RATE_HZ, **options)  # type: ignore[arg-type]
    return tuned(control, *(Source(level, centre_hz=f) for level, f in zip(levels, centres, strict=True)))


def mix_level_db(plant: Plant) -> np.ndarray:
    """Return what each channel sends to the mix."""
    return plant.value("fader.level_db") + 10.0 * np.log10(plant.strip[-1].clip(1e-10))


# ------------------------------------------------------------------------------------------------------ closed loops


def test_the_balance_stands_after_three_seconds_and_stays() -> None:
    plant = band().run(3.0)
    early = mix_level_db(plant)
    assert np.argmax(early) == BAND.index("vox lead")
    plant.run(27.0)
    assert np.abs(mix_level_db(plant) - early).max() < 1.5
    late = plant.track("fader")[-500:]
    assert np.ptp(late, axis=0).max() < 0.5


def test_input_levels_do_not_matter() -> None:
    mixes = [
        mix_level_db(band(levels).run(8.0))
        for levels in (None, [-40.0, -20.0, -35.0, -20.0, -22.0, -38.0, -25.0, -24.0])
    ]
    spread = (mixes[0] - mixes[0].mean()) - (mixes[1] - mixes[1].mean())
    assert np.abs(spread).max() < 1.5


@pytest.mark.parametrize("step_db", [-6.0, 6.0])
def test_a_step_of_6_db_is_followed_without_oscillation(step_db: float) -> None:
    levels = [-24.0] * 8
    control = Control(setups(*BAND), sample_rate_hz=RATE_HZ)
    sources = [Source(level) for level in levels]
    sources[6] = Source(lambda t: -24.0 + (step_db if t >= 20.0 else 0.0))
    plant = tuned(control, *sources).run(70.0)
    net = (plant.track("fader") + plant.track("trim"))[:, 6]
    after = net[round(20.0 / TICK_S) :]
    assert after[-1] - after[0] == pytest.approx(-step_db, abs=2.0)  # the mean of eight follows by an eighth
    moves = np.diff(after)
    against = moves[np.sign(moves) == np.sign(step_db)]
    assert np.abs(against).sum() < 0.5  # never more than half a decibel in the wrong direction
    ride = plant.track("ride")[round(40.0 / TICK_S) :]
    assert np.ptp(ride) < 1.5


def test_a_silent_channel_moves_nobody() -> None:
    alone = tuned(Control(setups("vox", "bass"), sample_rate_hz=RATE_HZ), Source(-30.0), Source(-20.0)).run(10.0)
    names = ["vox", "bass", *(f"keys {n}" for n in range(16))]
    silent = [Source(-np.inf) for _ in range(16)]
    among = tuned(Control(setups(*names), sample_rate_hz=RATE_HZ), Source(-30.0), Source(-20.0), *silent).run(10.0)
    difference = among.value("fader.level_db")[:2] - alone.value("fader.level_db")
    assert np.abs(difference).max() <= 0.1


def test_the_order_of_channels_does_not_matter() -> None:
    forward = band().run(6.0)
    control = Control(setups(*reversed(BAND)), sample_rate_hz=RATE_HZ)
    backward = tuned(control, *reversed(forward.sources)).run(6.0)
    assert np.allclose(forward.value("fader.level_db"), backward.value("fader.level_db")[::-1], atol=1e-3)


# A jump of 8 dB or more in the last seconds of a programme of ten cannot be paid back without pumping: not promised.
CONTOURS = {
    "steady": (lambda t: -25.0, (10.0, 17.0, 40.0)),
    "talking": (lambda t: -30.0 + 6.0 * np.sin(9.0 * t) if t % 3.0 < 2.2 else -np.inf, (10.0, 17.0, 40.0)),
    "fade_in": (lambda t: min(-60.0 + 12.0 * t, -20.0), (10.0, 17.0, 40.0)),
    "quiet_intro": (lambda t: -40.0 if t < 5.0 else -25.0, (17.0, 40.0)),
    "verse_and_chorus": (lambda t: -28.0 if t % 16.0 < 8.0 else -22.0, (17.0, 28.0, 40.0)),
}


@pytest.mark.parametrize(("name", "seconds"), [(name, s) for name, (_, lengths) in CONTOURS.items() for s in lengths])
def test_integrated_loudness_ends_within_half_a_lu(name: str, seconds: float) -> None:
    at = CONTOURS[name][0]
    control = Control(setups("vox", "keys"), sample_rate_hz=RATE_HZ, target_lufs=-16.0)
    plant = tuned(control, Source(at), Source(lambda t: at(t) - 4.0)).run(seconds)
    assert plant.integrated_lufs == pytest.approx(-16.0, abs=0.5)


def test_the_ride_keeps_the_dynamics_of_a_song() -> None:
    control = Control(setups("vox", "keys"), sample_rate_hz=RATE_HZ)
    song = tuned(control, *(Source(lambda t: -30.0 if t % 4.0 < 2.0 else -22.0) for _ in range(2))).run(60.0)
    late = 10.0 * np.log10(np.array(song.mix[-800:]))
    assert np.percentile(late, 95) - np.percentile(late, 5) > 6.0  # of 8 dB
    slew = np.abs(np.diff(song.track("ride")[300:])) / TICK_S
    assert slew.max() <= 3.01


def test_what_control_moves_is_made_up_for_before_it_is_heard() -> None:
    control = Control(setups("vox", "keys"), sample_rate_hz=RATE_HZ)
    plant = tuned(control, Source(-30.0), Source(-33.0)).run(12.0)
    lift = [Proposal("channel", ch, "fader.level_db", float(plant.value("fader.level_db")[ch]) + 6.0, "lifted", {}, 1.0,
                     "model", "net", 40.0) for ch in range(2)]  # fmt: skip
    for _ in range(100):
        control.offer(lift)
        plant.step()
    momentary_lufs = 10.0 * np.log10(np.convolve(plant.mix[-120:], np.full(20, 0.05), "valid"))
    assert plant.value("fader.level_db")[0] == pytest.approx(lift[0].value)
    assert np.abs(momentary_lufs + 16.0).max() < 0.75  # of 6 dB


def test_what_the_engineer_moves_is_not_made_up_for_at_once() -> None:
    control = Control(setups("vox"), sample_rate_hz=RATE_HZ)
    plant = tuned(control, Source(-30.0)).run(12.0)
    before = plant.track("ride")[-1]
    control.set_parameter("channel", 0, "fader.level_db", plant.value("fader.level_db")[0] - 8.0)
    plant.run(0.5)
    assert plant.track("ride")[-1] < before + 2.0


def test_the_ride_freezes_in_silence() -> None:
    control = Control(setups("vox"), sample_rate_hz=RATE_HZ)
    plant = tuned(control, Source(lambda t: -25.0 if t < 10.0 else -np.inf)).run(12.0)
    before = plant.track("ride")[-1]
    plant.run(30.0)
    assert plant.track("ride")[-1] == before


def test_talkers_12_db_apart_are_level_after_ten_seconds() -> None:
    control = Control(setups("host", "guest 1", "guest 2", "guest 3"), sample_rate_hz=RATE_HZ)
    levels = [-20.0, -44.0, -32.0, -26.0]

    def talks(ch: int) -> Callable[[float], float]:
        return lambda t: levels[ch] + 3.0 * np.sin(11.0 * t) if int(t) % 4 == ch else -np.inf

    plant = tuned(control, *(Source(talks(ch), floor_dbfs=-90.0) for ch in range(4))).run(16.0)
    net = plant.value("fader.level_db") + plant.value("input.trim_db") + np.array(levels)
    assert np.ptp(net) <= 2.0
    assert control.scene_kind == "speech"


def test_a_noisy_talker_is_not_lifted_into_his_noise() -> None:
    control = Control(setups("host", "guest"), sample_rate_hz=RATE_HZ)
    clean = Source(lambda t: -20.0 if t % 6.0 < 3.0 else -np.inf, floor_dbfs=-80.0)
    noisy = Source(lambda t: -40.0 if t % 6.0 > 3.4 else -np.inf, floor_dbfs=-52.0)
    plant = tuned(control, clean, noisy).run(20.0)
    cause = [d.cause for d in control.decisions if d.channel == "guest" and d.parameter == "input.trim_db"]
    assert any("poor S/N, noise is only 12 dB lower" in c for c in cause)
    assert plant.value("fader.level_db")[1] <= 0.0


# ------------------------------------------------------------------------------------------------ the engineer's hand


def test_the_engineer_s_hand_wins_at_once_and_stays() -> None:
    plant = band().run(2.0)
    control = plant.control
    control.set_parameter("channel", 6, "fader.level_db", -20.0)
    snapshot = control.snapshot()
    assert snapshot is not None
    assert snapshot["channel"]["fader.level_db"][6] == -20.0
    plant.run(20.0)
    assert plant.value("fader.level_db")[6] == -20.0
    assert control.decisions[-1].time_s > 0.0


def test_nan_from_a_hand_is_refused() -> None:
    control = band().control
    with pytest.raises(EvenhandError, match="is not a number"):
        control.set_parameter("channel", 0, "fader.level_db", float("nan"))


def test_undo_of_a_hand_gives_value_and_mode_back() -> None:
    plant = band().run(5.0)
    before = plant.value("fader.level_db")[6]
    decision = plant.control.set_parameter("channel", 6, "fader.level_db", -20.0)
    plant.control.undo(decision.id)
    state = plant.control.state
    assert state.get("channel", 6, "fader.level_db") == before
    assert state.mode[state.section("channel", 6, "fader")] == Mode.AUTO


def test_undo_of_a_rule_s_move_stands() -> None:
    plant = band().run(8.0)
    move = next(d for d in plant.control.decisions if d.parameter == "fader.level_db" and d.time_s > 0)
    plant.control.undo(move.id)
    plant.run(10.0)
    assert plant.value(move.parameter)[move.index] == np.float32(move.from_value)
    with pytest.raises(EvenhandError, match="decision 999999 is not in the log"):
        plant.control.undo(999999)


def test_locks_are_never_moved() -> None:
    plant = band()
    control = plant.control
    sections = sorted({k.section for k in _channel_sections()})
    before = plant.params["channel"][0].copy()
    for section in sections:
        control.set_locked("channel", 0, section, True)
    plant.run(15.0)
    assert plant.params["channel"][0] == before
    assert plant.value("input.trim_db")[1] != 0.0


def _channel_sections() -> list:
    from firmware.control.slots import SECTION_KEYS

    return [k for k in SECTION_KEYS if k.scope == "channel" and k.index == 0]


def test_amount_0_moves_nothing() -> None:
    plant = band(amount_percent=0.0)
    fresh = plant.params.copy()
    plant.run(15.0)
    assert plant.params == fresh
    assert len(plant.control.decisions) == 0


def test_amount_50_goes_half_way() -> None:
    full, half = band().run(20.0), band(amount_percent=50.0).run(20.0)
    assert np.allclose(half.value("pan.position"), 0.5 * full.value("pan.position"), atol=0.03)
    assert np.allclose(half.value("input.trim_db"), 0.5 * full.value("input.trim_db"), atol=0.6)


def test_changing_the_amount_takes_effect() -> None:
    plant = band().run(10.0)
    trim_db = plant.value("input.trim_db")[6]
    plant.control.set_amount("channel", 6, "input", 0.0)
    plant.run(10.0)
    assert plant.value("input.trim_db")[6] == 0.0
    plant.control.set_amount("channel", 6, "input", 100.0)
    plant.run(15.0)
    assert plant.value("input.trim_db")[6] == pytest.approx(trim_db, abs=0.6)


def test_assist_waits_for_a_tap() -> None:
    plant = band()
    control = plant.control
    control.set_mode("channel", 6, "fader", Mode.ASSIST)
    start = plant.value("fader.level_db")[6]
    plant.run(6.0)
    assert plant.value("fader.level_db")[6] == start
    (waiting,) = [p for p in control.pending if p.proposal.param == "fader.level_db"]
    assert waiting.proposal.cause
    assert control.accept(waiting.id)
    plant.run(6.0)
    assert plant.value("fader.level_db")[6] == pytest.approx(waiting.proposal.value, abs=1.5)


def test_what_was_manual_is_balanced_again_when_set_to_auto() -> None:
    plant = band().run(6.0)
    balanced = plant.value("fader.level_db")[6]
    plant.control.set_parameter("channel", 6, "fader.level_db", -30.0)
    plant.run(2.0)
    plant.control.set_mode("channel", 6, "fader", Mode.AUTO)
    plant.run(15.0)
    assert plant.value("fader.level_db")[6] == pytest.approx(balanced, abs=1.0)


def test_a_model_s_wish_beats_the_rules() -> None:
    plant = band().run(6.0)
    for _ in range(400):
        plant.control.offer([Proposal("channel", 6, "fader.level_db", -9.0, "model", {}, 0.9, "model", "net")])
        plant.step()
    assert plant.value("fader.level_db")[6] == -9.0


# ------------------------------------------------------------------------------------------------------ whole control


def test_the_first_snapshot_is_sensible_before_any_sound() -> None:
    control = Control(
        setups("kick", "vox", "gtr l", "gtr r", "host 1", "host 2", "drums", stereo=("drums",)), sample_rate_hz=RATE_HZ
    )
    params = control.snapshot()
    assert params is not None
    strip = params["channel"]
    assert params.dtype == PARAMS_DTYPE
    assert strip["pan.position"][2] == -strip["pan.position"][3] != 0.0
    assert strip["hpf.is_on"][1] == 1.0
    assert 60.0 <= strip["hpf.freq_hz"][1] <= 120.0
    assert list(strip["automix.group"][:7]) == [0, 0, 0, 0, 1, 1, 0]
    assert params["group"]["share.mode"][0] == 1.0
    assert abs(strip["pan.position"][4]) <= 0.15
    assert strip["fx_send.1.level_db"][0] == -90.0 < strip["fx_send.1.level_db"][1]
    assert control.snapshot() is None


def test_the_same_observations_give_the_same_decisions() -> None:
    first, second = band().run(8.0), band().run(8.0)
    assert first.control.state.state_hash() == second.control.state.state_hash()
    assert [d.as_record() for d in first.control.decisions] == [d.as_record() for d in second.control.decisions]


def test_decisions_are_few_and_every_one_has_a_reason() -> None:
    plant = band().run(60.0)
    plant.control.finish()
    live = [d for d in plant.control.decisions if d.time_s > 0.0]
    assert len([d for d in live if d.time_s > 20.0]) <= 12  # a steady band: hardly anything to do
    assert len(live) <= 10 * len(BAND)
    assert all(len(d.cause) > 8 and 0.0 <= d.confidence <= 1.0 for d in live)
    assert all(np.isfinite(list(d.evidence.values())).all() for d in live)


def test_wild_levels_leave_every_parameter_in_range_and_the_log_bounded() -> None:
    rng = np.random.default_rng(7)

    def wild(t: float) -> float:
        return float(rng.choice([-np.inf, -90.0, -60.0, -30.0, -10.0, 0.0]))

    control = Control(setups(*BAND), sample_rate_hz=RATE_HZ)
    plant = tuned(control, *(Source(wild) for _ in BAND)).run(40.0)
    assert np.isfinite(plant.control.state.values).all()
    assert control.as_record()["n_refused"] == 0
    assert len(control.decisions) < 40 * len(BAND)


def test_features_that_are_no_numbers_never_reach_a_parameter() -> None:
    plant = band().run(3.0)
    control = plant.control
    for n in range(300):
        observation = plant.observe()
        name = observation.features.dtype.names[n % len(observation.features.dtype.names)]
        observation.features[name][n % 8] = np.nan if n % 2 else np.inf
        control.tick(observation)
    assert np.isfinite(control.state.values).all()
    plant.run(10.0)
    assert np.isfinite(control.state.values).all()
    assert np.argmax(mix_level_db(plant)) == BAND.index("vox lead")


def test_channel_summaries_carry_what_a_render_reports() -> None:
    plant = band().run(20.0)
    summaries = [s.as_record() for s in plant.control.channel_summaries()]
    wanted = ["name", "role", "role_confidence", "gain_db", "pan", "sends", "eq", "gate", "compressor", "reasons"]
    assert list(summaries[0]) == wanted
    vocal = summaries[6]
    assert vocal["role"] == "vocal_lead"
    assert vocal["gain_db"] == pytest.approx(
        float(plant.value("fader.level_db")[6] + plant.value("input.trim_db")[6]), abs=0.02
    )
    assert vocal["compressor"]["ratio"] == 3.0
    assert any("LUFS" in reason for reason in vocal["reasons"])


def test_a_gate_that_is_off_gives_no_reason_to_be_on() -> None:
    plant = band().run(20.0)
    arbiter, state = plant.control._arbiter, plant.control.state
    for name in ("gate.is_on", "gate.threshold_dbfs"):
        slot = slots.slot("channel", 6, name)
        arbiter.causes[slot] = next(iter(arbiter.causes.values()))._replace(cause=f"why {name}")
    state.write(slots.slot("channel", 6, "gate.is_on"), 0.0)
    reasons = plant.control.channel_summaries()[6].reasons
    assert "gate: why gate.is_on" in reasons
    assert "gate: why gate.threshold_dbfs" not in reasons
    state.write(slots.slot("channel", 6, "gate.is_on"), 1.0)
    assert "gate: why gate.threshold_dbfs" in plant.control.channel_summaries()[6].reasons


def test_bad_arguments_are_refused_in_one_line() -> None:
    with pytest.raises(EvenhandError, match='no automix mode "speach"; near: speech'):
        Control(setups("a"), sample_rate_hz=RATE_HZ, automix="speach")
    with pytest.raises(EvenhandError, match="33 channels; a mixer has 1 to 32"):
        Control(setups(*"a" * 33), sample_rate_hz=RATE_HZ)
    with pytest.raises(EvenhandError, match="amount_percent = 120 is outside 0 to 100"):
        Control(setups("a"), sample_rate_hz=RATE_HZ, amount_percent=120.0)


MAX_CALLS_PER_TICK = 84  # gated on a count, which no neighbour disturbs; 60 to 80 us a tick on a server core


def test_a_tick_of_16_channels_stays_in_its_budget() -> None:
    names = [*BAND, "hihat", "tom 1", "oh l", "oh r", "bgvox 2", "host", "guest", "playback"]
    plant = tuned(Control(setups(*names), sample_rate_hz=RATE_HZ), *(Source(-30.0 + n) for n in range(16))).run(8.0)
    two_seconds = [plant.observe() for _ in range(round(2000 / TICK_MS))]  # every rule has its turn
    n_calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal n_calls
        n_calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        for observation in two_seconds:
            plant.control.tick(observation)
    finally:
        sys.setprofile(None)
    start = time.perf_counter()
    for observation in two_seconds:
        plant.control.tick(observation)
    tick_us = (time.perf_counter() - start) / len(two_seconds) * 1e6
    print(f"a tick of 16 channels: {n_calls / len(two_seconds):.0f} calls, {tick_us:.0f} us")
    assert n_calls / len(two_seconds) <= MAX_CALLS_PER_TICK
