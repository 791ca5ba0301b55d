"""The live box on a virtual card: the same bits as a render, the same delay after every fault."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.native import installed
from firmware.control.control import Control
from firmware.control.mixer_state import Mode
from firmware.engine import OUTPUT_LANES, Engine
from firmware.observation import ChannelSetup, Observation
from firmware.segment import Segment
from firmware.system.virtual_card import Direction, Disguise, Fault
from firmware.tests.live_rig import LiveRig, LockstepControl, play, started, wait_for

RATE_HZ = 48000
PERIOD, N_PERIODS, LOOKAHEAD = 64, 2, 48
WAY_FRAMES = N_PERIODS * PERIOD + LOOKAHEAD  # from the card's input to its output
FADE_FRAMES = RATE_HZ // 100
FOUR = [ChannelSetup(name=name, role=role) for name, role in
        (("Host", "speech"), ("Kick", "kick"), ("Lead", "vocal_lead"), ("Bass", "bass"))]  # fmt: skip
STEREO = [*FOUR, ChannelSetup(name="Music", role="playback", is_stereo=True)]


def noise_bursts(n_frames: int, n_lanes: int, seed: int = 1) -> NDArray[np.float32]:
    """Return bursts of noise on a 16-bit grid, another rhythm on each lane: something to decide about."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(n_frames)[:, None] / RATE_HZ
    gate = np.sin(2 * np.pi * time_s * (0.7 + 0.3 * np.arange(n_lanes))) > 0
    sound = rng.standard_normal((n_frames, n_lanes)) * 0.05 * gate * np.linspace(0.3, 1.5, n_lanes)
    return (np.round(np.clip(sound, -1, 1) * 32767) / 32768).astype(np.float32)


def rendered(control: Control, audio: NDArray[np.float32], rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Return all outputs as a render makes them: engine and control in step."""
    tick_frames = rate_hz // 50
    outputs, mix_gain = [], control.mix_gain_bark()
    with Engine(sample_rate_hz=rate_hz, channels=control.channels) as engine:
        engine.publish(control.snapshot())
        engine.set_mix_gain_bark(mix_gain)
        for number in range(1, len(audio) // tick_frames + 1):
            outputs.append(engine.process(audio[(number - 1) * tick_frames : number * tick_frames]))
            params = control.tick(engine.observe(number * tick_frames / rate_hz))
            if params is not None:
                engine.publish(params)
            if number % 10 == 0 and (now := control.mix_gain_bark()) is not mix_gain:
                engine.set_mix_gain_bark(now)
                mix_gain = now
    return np.concatenate(outputs)


def as_s32(audio: NDArray[np.float32]) -> NDArray[np.int32]:
    library = installed()
    out = np.empty(audio.shape, np.int32)
    ffi = library.ffi
    library.lib.eh_convert_to_s32(
        ffi.cast("float *", audio.ctypes.data), ffi.cast("int32_t *", out.ctypes.data), audio.size
    )
    return out


# ------------------------------------------------------------------------------------------------------- same bits


def compare_with_render(
    channels: list[ChannelSetup], rate_hz: int, changes: dict[str, str], *, is_fixed: bool
) -> tuple[Control, Control]:
    """Play noise live and offline; the bits must agree. Return both controls."""
    tick_frames = rate_hz // 50
    n_lanes = sum(2 if c.is_stereo else 1 for c in channels)
    audio = noise_bursts(150 * tick_frames, n_lanes)
    live, offline = (Control(channels, sample_rate_hz=float(rate_hz)) for _ in range(2))
    for control in (live, offline) if is_fixed else ():
        control.state.mode[:] = Mode.MANUAL
    with LiveRig(channels, sample_rate_hz=rate_hz, board_changes=changes) as rig, started(rig, live) as lockstep:
        play(rig, lockstep, audio, tick_frames)
        status = lockstep.segment.status()
        played = rig.all_played()
    way_frames = status.round_trip_frames - LOOKAHEAD  # the limiter is part of the render's engine too
    expected = as_s32(rendered(offline, audio, rate_hz))
    assert np.array_equal(played[way_frames:], expected[: len(played) - way_frames])
    assert np.abs(played).max() > 1e7, "nothing was heard"
    assert (status.counters["xruns"], status.counters["observations_dropped"]) == (0, 0)
    return live, offline


@pytest.mark.parametrize(
    ("channels", "changes"), [(STEREO, {}), (FOUR, {"period_frames": "16", "n_periods": "4"})], ids=["64x2", "16x4"]
)
def test_with_the_automation_on_a_live_box_plays_the_bits_of_a_render(
    channels: list[ChannelSetup], changes: dict[str, str]
) -> None:
    live, offline = compare_with_render(channels, 48000, changes, is_fixed=False)
    assert live.state.state_hash() == offline.state.state_hash()
    assert live.decisions.n_decisions == offline.decisions.n_decisions > 0


@pytest.mark.parametrize(
    ("rate_hz", "changes"),
    [
        (48000, {}),
        (48000, {"period_frames": "128", "max_round_trip_frames": "304"}),
        (44100, {"period_frames": "64"}),
        (96000, {"period_frames": "32", "n_periods": "3"}),
    ],
    ids=["48k-64x2", "48k-128x2", "44k1-64x2", "96k-32x3"],
)
def test_with_a_fixed_scene_a_live_box_plays_the_bits_of_a_render(rate_hz: int, changes: dict[str, str]) -> None:
    compare_with_render(STEREO, rate_hz, changes, is_fixed=True)


@pytest.mark.parametrize("sample_format", ["S24_3LE", "S16_LE"])
def test_a_card_of_another_format_plays_the_render_rounded_to_it(sample_format: str) -> None:
    audio = noise_bursts(50 * 960, 4)  # on a 16-bit grid: what is captured is exact in every format
    live, offline = (Control(FOUR, sample_rate_hz=48000.0) for _ in range(2))
    for control in (live, offline):
        control.state.mode[:] = Mode.MANUAL
    with LiveRig(FOUR, card={"formats": (sample_format,)}) as rig, started(rig, live) as lockstep:
        play(rig, lockstep, audio, 960)
        played = rig.all_played()
    silence = np.zeros((N_PERIODS * PERIOD, len(OUTPUT_LANES)), np.float32)
    sent = np.ascontiguousarray(np.concatenate([silence, rendered(offline, audio)])[: len(played)])
    ffi, lib = installed().ffi, installed().lib
    floats = ffi.cast("float *", sent.ctypes.data)
    if sample_format == "S16_LE":
        words, seed = np.empty(sent.shape, np.int16), ffi.new("uint32_t *", 1)
        lib.eh_convert_to_s16(floats, ffi.cast("int16_t *", words.ctypes.data), sent.size, seed)
        expected = words.astype(np.int32) << 16
    else:
        packed = np.empty((*sent.shape, 3), np.uint8)
        lib.eh_convert_to_s24_3(floats, ffi.cast("uint8_t *", packed.ctypes.data), sent.size)
        high = packed.astype(np.uint32)
        expected = (high[..., 0] << 8 | high[..., 1] << 16 | high[..., 2] << 24).astype(np.int32)
    assert np.array_equal(played, expected)


def test_control_sees_what_a_render_sees_to_the_bit() -> None:
    audio = noise_bursts(100 * 960, 4)
    live, offline = (Control(FOUR, sample_rate_hz=48000.0) for _ in range(2))
    seen: list[Observation] = []
    with LiveRig(FOUR) as rig, started(rig, live) as lockstep:
        play(rig, lockstep, audio, 960)
    with Engine(sample_rate_hz=48000, channels=FOUR) as engine:
        engine.publish(offline.snapshot())
        mix_gain = offline.mix_gain_bark()
        engine.set_mix_gain_bark(mix_gain)
        for number in range(1, 101):
            engine.process(audio[(number - 1) * 960 : number * 960])
            seen.append(engine.observe(number * 0.02))
            params = offline.tick(seen[-1])
            if params is not None:
                engine.publish(params)
            if number % 10 == 0 and (now := offline.mix_gain_bark()) is not mix_gain:
                engine.set_mix_gain_bark(now)
                mix_gain = now
    assert len(lockstep.observations) == len(seen) == 100
    for ours, theirs in zip(lockstep.observations, seen, strict=True):
        assert ours.features.tobytes() == theirs.features.tobytes()
        assert ours.channel_meters.tobytes() == theirs.channel_meters.tobytes()
        assert ours.bus_meters.tobytes() == theirs.bus_meters.tobytes()
        assert ours.loudness == theirs.loudness


# ---------------------------------------------------------------------------------------------------------- faults


def straight_control(channels: list[ChannelSetup]) -> Control:
    """Return a control that moves nothing: every fader at 0 dB, every section manual."""
    control = Control(channels, sample_rate_hz=48000.0, amount_percent=0.0)
    control.state.mode[:] = Mode.MANUAL
    control.state.values[:] = Control(channels, sample_rate_hz=48000.0, amount_percent=0.0).state.base
    control.state.n_changes += 1
    return control


class Clicks:
    """A tape with a click every ``spacing`` frames, and where they come out."""

    def __init__(self, n_lanes: int, spacing: int = 1000) -> None:
        self.n_lanes, self.spacing = n_lanes, spacing
        self.n_fed = 0

    def block(self, n_frames: int) -> NDArray[np.float32]:
        block = np.zeros((n_frames, self.n_lanes), np.float32)
        frames = np.arange(self.n_fed, self.n_fed + n_frames)
        block[frames % self.spacing == self.spacing // 2] = 0.25
        self.n_fed += n_frames
        return block

    def ways(self, played: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return when each click went in and how many frames later its peak came out; lost ones are left out."""
        loud = np.abs(played[:, OUTPUT_LANES.index("main_l")].astype(np.float64))
        times = np.arange(self.spacing // 2, len(played) - self.spacing, self.spacing)
        peaks = np.array([t + int(np.argmax(loud[t : t + self.spacing])) for t in times])
        is_heard = loud[peaks] > 1e6
        return times[is_heard], (peaks - times)[is_heard]


def run_clicks(rig: LiveRig, lockstep: LockstepControl, clicks: Clicks, n_ticks: int) -> None:
    """Play clicks for ``n_ticks``, whatever befalls the card meanwhile; control only keeps the rings empty."""
    for _ in range(n_ticks):
        block = clicks.block(960)
        assert rig.card.feed(block) == len(block)
        rig.advance(960)
        for frame, _ in lockstep.segment.observations():
            lockstep.segment.beat(frame)


def check_xruns(n_xruns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    spacing = 2400  # on average, of the faults
    n_ticks = n_xruns * spacing // 960 + 100
    frames = np.sort(rng.choice(np.arange(4800, n_xruns * spacing), n_xruns, replace=False))
    sides = rng.integers(0, 2, n_xruns)
    clicks = Clicks(4, 500)
    with LiveRig(FOUR) as rig, started(rig, straight_control(FOUR)) as lockstep:
        for side in Direction:
            faults = [(int(f), Fault.XRUN, 0) for f in frames[sides == side]]
            rig.card.schedule(side, faults)
        run_clicks(rig, lockstep, clicks, n_ticks)
        status, report = lockstep.segment.status(), rig.card.report()
        n_injected = report.capture.n_injected_xruns + report.playback.n_injected_xruns
        played = rig.all_played()
        settled = rig.card.frame
    went_in, ways = clicks.ways(played)
    # A click that was inside the mixer or the card when the stream broke, or in the fade, is not looked at.
    since = went_in - frames[np.searchsorted(frames, went_in) - 1]
    to_next = np.append(frames, settled + 10_000)[np.searchsorted(frames, went_in)] - went_in
    clear = (since > 4 * PERIOD + FADE_FRAMES) & (to_next > WAY_FRAMES + 1) & (went_in > frames[0])
    assert n_injected == report.capture.n_injected_xruns + report.playback.n_injected_xruns
    assert n_injected >= 0.95 * n_xruns, "two in the same recovery count once; more than that were not delivered"
    assert status.counters["xruns"] >= 0.95 * n_injected
    assert status.counters["card_losses"] == 0
    assert clear.sum() > n_xruns, "the measurement has too few clicks to say anything"
    assert set(ways[clear]) == {WAY_FRAMES}
    print(f"{n_injected} xruns, {clear.sum()} clicks between them, each {WAY_FRAMES} frames after it went in")


def test_a_thousand_xruns_leave_the_delay_as_it_was_to_the_frame() -> None:
    check_xruns(1000, seed=7)


@pytest.mark.soak
def test_ten_thousand_xruns_leave_the_delay_as_it_was_to_the_frame() -> None:
    check_xruns(10_000, seed=8)


def test_after_an_xrun_sound_is_back_in_two_periods_and_fades_in_over_ten_milliseconds() -> None:
    tone = np.tile((0.1 * np.sin(2 * np.pi * np.arange(960) / 48)).astype(np.float32)[:, None], (1, 4))
    at = 48_000 + 17
    with LiveRig(FOUR) as rig, started(rig, straight_control(FOUR)) as lockstep:
        rig.card.schedule(Direction.PLAYBACK, [(at, Fault.XRUN, 0)])
        for _ in range(100):
            rig.card.feed(tone)
            rig.advance(960)
            list(lockstep.segment.observations())
        played = rig.all_played()[:, 0].astype(np.float64)
    full = np.abs(played[40_000:48_000]).max()
    level = np.array([np.abs(played[n : n + 48]).max() for n in range(len(played) - 48)]) / full
    detected = at + PERIOD  # at the latest, at the edge of the period
    silent_until = at + int(np.argmax(level[at : at + 4000] > 0.001)) + 47  # the first 48 frames with sound in them
    assert silent_until <= detected + N_PERIODS * PERIOD + 48
    back = at + int(np.argmax(level[at + 200 : at + 4000] > 0.99)) + 200
    assert back <= detected + N_PERIODS * PERIOD + FADE_FRAMES + 48
    ramp = level[silent_until : silent_until + FADE_FRAMES]
    assert np.diff(ramp).max() < 0.05, "the fade has a step in it"


def has_mixed(segment: Segment, n_frames: int) -> bool:
    return segment.status().counters["frames"] > n_frames


DISGUISES: tuple[Disguise, ...] = ("enodev", "epipe", "eagain")


def check_unplugs(disguises: Sequence[Disguise]) -> None:
    """Unplug the card once for each disguise, and look at what is left of settings, delay and answers."""
    control = straight_control(FOUR)
    control.set_parameter("channel", 0, "fader.level_db", -3.0)
    clicks, away_s, unplugged = Clicks(4), [], []
    with LiveRig(FOUR, card_timeout_ms=2000) as rig, started(rig, control) as lockstep:
        segment = lockstep.segment
        segment.publish(control.state.snapshot())
        run_clicks(rig, lockstep, clicks, 50)
        before, hash_before = segment.params(), control.state.state_hash()
        for number, disguise in enumerate(disguises):
            unplugged.append(rig.card.frame)
            rig.card.unplug(unplug_as=disguise)
            wait_for(lambda: segment.status().state == "no_card", "the loss was not noticed")
            n_frames = segment.status().counters["frames"] + 2400
            wait_for(partial(has_mixed, segment, n_frames), "the mixer stopped without its card")
            assert segment.status().trouble, "nobody says what is wrong"
            replugged_s = time.monotonic()
            rig.card.replug()
            wait_for(lambda: segment.status().state == "running", "the card is back and nobody took it")
            away_s.append(time.monotonic() - replugged_s)
            rig.card.wait_for_start()
            run_clicks(rig, lockstep, clicks, 25)
            assert segment.status().counters["card_returns"] == number + 1
        status = segment.status()
        assert status.counters["card_losses"] == len(disguises)
        assert status.trouble == ""
        assert segment.params().tobytes() == before.tobytes()
        assert control.state.state_hash() == hash_before
        played = rig.all_played()
    went_in, ways = clicks.ways(played)
    is_clear = np.ones(len(went_in), bool)
    for frame in unplugged:
        is_clear &= (went_in < frame - WAY_FRAMES) | (went_in > frame + 4 * PERIOD + FADE_FRAMES)
    assert set(ways[is_clear]) == {WAY_FRAMES}
    assert is_clear.sum() > 20 * len(disguises)
    most_s, mostly_s = max(away_s), float(np.median(away_s))
    print(f"{len(disguises)} unplugs: sound {most_s:.2f} s after the replug at most, {mostly_s:.2f} s mostly")


def test_an_unplugged_card_comes_back_however_its_driver_tells_it() -> None:
    check_unplugs(DISGUISES)


@pytest.mark.soak
def test_a_card_unplugged_a_hundred_times_comes_back_each_time() -> None:
    check_unplugs([DISGUISES[number % 3] for number in range(100)])


def test_a_card_that_comes_back_at_another_rate_is_refused_until_it_is_right_again() -> None:
    with LiveRig(FOUR, card_timeout_ms=2000) as rig, started(rig, straight_control(FOUR)) as lockstep:
        segment, clicks = lockstep.segment, Clicks(4)
        run_clicks(rig, lockstep, clicks, 10)
        rig.card.unplug()
        wait_for(lambda: segment.status().state == "no_card", "the loss was not noticed")
        rig.card.replug(sample_rate_hz=44100)
        wait_for(lambda: "44100" in segment.status().trouble, "nobody says that the rate is wrong")
        assert "48000" in segment.status().trouble
        assert segment.status().state == "no_card"
        rig.card.unplug()
        rig.card.replug(sample_rate_hz=48000)
        wait_for(lambda: segment.status().state == "running", "the right card was not taken")


def test_an_engine_that_may_wait_starts_without_its_card_and_takes_it_when_it_comes() -> None:
    with LiveRig(FOUR, engine_options=["--wait-for-card"]) as rig:
        rig.card.unplug()
        rig.start_engine()
        segment = rig.attach()
        segment.publish(straight_control(FOUR).state.snapshot())
        wait_for(lambda: segment.status().state == "no_card", "the engine does not run without its card")
        frames = segment.status().counters["frames"]
        wait_for(lambda: segment.status().counters["frames"] > frames + 4800, "the mixer stands still")
        rig.card.replug()
        wait_for(lambda: segment.status().state == "running", "the card came and nobody took it")


def test_an_engine_that_may_not_wait_refuses_a_missing_card_in_one_line() -> None:
    with LiveRig(FOUR) as rig:
        rig.card.unplug()
        engine = rig.start_engine()
        said = engine.communicate(timeout=30)[1]
    assert engine.returncode == 1
    assert len(said.splitlines()) == 1, said
    assert said.startswith("error: evenhand_test (capture): cannot be opened: No such device"), said
