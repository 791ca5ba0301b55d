"""The virtual card breaks on command, in the frame that was asked for, and a program that recovers is as before."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware.errors import EvenhandError
from firmware.system.virtual_card import VirtualCard
from firmware.system.virtual_card_report import Direction, Fault
from firmware.tests.alsa_client import CAPTURE, AlsaRefusal, Pcm
from firmware.tests.card_bench import (
    EAGAIN,
    EINVAL,
    ENODEV,
    EPIPE,
    ESTRPIPE,
    NAME,
    Duplex,
    Sleeper,
    card_on_bench,
    noise,
    played,
)

PERIOD = 64
SIDES = [Direction.CAPTURE, Direction.PLAYBACK]


def pcm_of(program: Duplex, direction: Direction) -> Pcm:
    return program.capture if direction == Direction.CAPTURE else program.playback


# ------------------------------------------------------------------------------------------------------------- xruns


@pytest.mark.parametrize("direction", SIDES)
def test_an_xrun_comes_in_its_frame_and_recovery_restores_the_round_trip(tmp_path: Path, direction: Direction) -> None:
    tape = noise(4000, 2)
    with card_on_bench(tmp_path) as card, Duplex(card, buffer_frames=512, n_prefill=4) as program:
        card.feed(tape)
        card.schedule(direction, [(1000, Fault.XRUN, 0)])
        program.start()
        for _ in range(15):
            program.step()
        card.advance(39)
        assert pcm_of(program, direction).call("avail") >= 0, "frame 999 is not yet the one"
        card.advance(1)
        assert pcm_of(program, direction).call("avail") == EPIPE
        assert pcm_of(program, direction).state == "XRUN"
        program.start()
        for _ in range(10):
            program.step()
            assert program.playback.delay() == 4 * PERIOD
        heard = played(card)
        silent_until = 1000 + 4 * PERIOD
        np.testing.assert_array_equal(heard[256:1000], tape[: 1000 - 256])
        assert not heard[1000:silent_until].any()
        np.testing.assert_array_equal(heard[silent_until:], tape[1000 : len(heard) - 256])
        assert card.report().capture.n_injected_xruns + card.report().playback.n_injected_xruns == 1


def test_ten_thousand_xruns_are_all_met_and_leave_no_trace(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    n_periods = 12_000
    frames = rng.integers(0, n_periods * PERIOD, (2, 5000))
    seen = 0
    with card_on_bench(tmp_path, n_capture=1, n_playback=1, tape=False, recorder=False) as card:
        for direction in SIDES:
            card.schedule(direction, [(int(frame), Fault.XRUN, 0) for frame in frames[direction]])
        with Duplex(card) as program:
            program.start()
            for _ in range(n_periods + 2):  # two more, for who was due when the other one broke
                card.advance(PERIOD)
                while (done := program.turn()[0]) < 0:
                    assert done in (EPIPE, EAGAIN)
                    if done == EAGAIN:  # it has just started anew: nothing to read yet
                        break
                    seen += 1
                    program.start()
            report = card.report()
            assert program.playback.delay() == 2 * PERIOD
    assert seen == 10_000
    assert report.capture.n_injected_xruns == report.playback.n_injected_xruns == 5000
    assert report.capture.n_xruns == report.playback.n_xruns == 0
    assert report.capture.n_scheduled_left == report.playback.n_scheduled_left == 0


def test_an_xrun_now_comes_at_the_next_look_as_often_as_asked(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        program.start()
        program.step()
        card.xrun(Direction.PLAYBACK, 3)
        for _ in range(3):
            assert program.playback.call("avail") == EPIPE
            program.start()
        program.step()


def test_a_schedule_must_not_go_back_in_time(tmp_path: Path) -> None:
    with card_on_bench(tmp_path) as card:
        card.schedule(Direction.CAPTURE, [(500, Fault.XRUN, 0), (100, Fault.XRUN, 0)])
        with pytest.raises(EvenhandError, match="frame 499 lies before"):
            card.schedule(Direction.CAPTURE, [(499, Fault.XRUN, 0)])
        with pytest.raises(EvenhandError, match="finds no room"):
            card.schedule(Direction.CAPTURE, [(500 + i, Fault.XRUN, 0) for i in range(16383)])


# -------------------------------------------------------------------------------------------- plugged and unplugged


@pytest.mark.parametrize(("disguise", "errors"), [("enodev", {ENODEV}), ("epipe", {EPIPE}), ("eagain", {EAGAIN})])
def test_an_unplugged_card_fails_for_ever_in_every_disguise(tmp_path: Path, disguise: str, errors: set[int]) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        program.start()
        program.step()
        card.unplug(unplug_as=disguise)  # type: ignore[arg-type]
        card.advance(PERIOD)
        for _ in range(3):
            assert program.capture.read(PERIOD)[0] in errors
            assert program.playback.write(noise(PERIOD, 2)) in errors
            for pcm in (program.capture, program.playback):
                pcm.call("drop")
                prepared = pcm.call("prepare")
                assert prepared == (ENODEV if disguise == "enodev" else 0)
                pcm.write(noise(128, 2)) if pcm is program.playback else None
                pcm.call("start")
        if disguise == "enodev":
            assert program.capture.state == program.playback.state == "DISCONNECTED"
        card.replug()
        assert program.capture.read(PERIOD)[0] in errors, "a handle survives its card"


def test_an_unplugged_card_cannot_be_opened_until_it_is_back(tmp_path: Path) -> None:
    tape = noise(2000, 2)
    with card_on_bench(tmp_path) as card:
        card.feed(tape)
        with Duplex(card) as program:
            program.start()
            program.step()
            card.unplug()
        for _ in range(2):
            with pytest.raises(AlsaRefusal) as refused:
                Pcm(NAME, CAPTURE, n_channels=2)
            assert refused.value.code == ENODEV
        assert card.advance(500) == 500, "time stands still while the card is unplugged"
        card.replug()
        with Duplex(card) as program:
            program.start()
            np.testing.assert_array_equal(program.step(), tape[564 : 564 + PERIOD])
            program.step()
            program.step()
        heard = played(card)
        assert not heard[PERIOD : 564 + 2 * PERIOD].any()
        np.testing.assert_array_equal(heard[564 + 2 * PERIOD :], tape[564 : 564 + PERIOD])


@pytest.mark.parametrize(("disguise", "answer"), [("enodev", ENODEV), ("epipe", EPIPE), ("eagain", EAGAIN)])
def test_pulling_the_plug_wakes_who_sleeps_on_the_card(tmp_path: Path, disguise: str, answer: int) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card, is_blocking=True) as program:
        program.start()
        with Sleeper(card, lambda: program.capture.read(PERIOD)[0]) as sleeper:
            assert card.wait_for_rest()
            card.unplug(unplug_as=disguise)  # type: ignore[arg-type]
            assert sleeper.answer() == answer


def test_a_planned_unplugging_wakes_who_sleeps_for_a_later_frame(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card, is_blocking=True) as program:
        card.unplug(at_frame=30)
        program.start()
        with Sleeper(card, lambda: program.capture.read(PERIOD)[0]) as sleeper:
            assert card.wait_for_rest()
            card.advance(30)
            assert sleeper.answer() == ENODEV


def test_playback_that_waits_for_capture_is_not_heard_through_a_pulled_plug(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False, begins_at_once=True) as card, Duplex(card) as program:
        assert program.playback.write(noise(128, 2)) == 128
        assert program.playback.call("start") == 0
        card.unplug()
        program.capture.close()
        card.advance(200)
        assert not played(card).any()


def test_the_end_of_a_card_wakes_who_sleeps_on_it(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card, is_blocking=True) as program:
        program.start()
        with Sleeper(card, lambda: program.capture.read(PERIOD)[0]) as sleeper:
            assert card.wait_for_rest()
            card.close()
            assert sleeper.answer() == ENODEV


def test_a_planned_unplugging_happens_in_its_frames(tmp_path: Path) -> None:
    tape = noise(4000, 2)
    with card_on_bench(tmp_path) as card:
        card.feed(tape)
        card.unplug(at_frame=1000)
        card.replug(at_frame=2000)
        with Duplex(card, buffer_frames=512, n_prefill=4) as program:
            program.start()
            for _ in range(15):
                program.step()
            card.advance(39)
            assert program.capture.call("avail") == 0
            card.advance(1)
            assert program.capture.read(PERIOD)[0] == ENODEV
        card.advance(999)
        with pytest.raises(AlsaRefusal):
            Pcm(NAME, CAPTURE, n_channels=2)
        card.advance(1)
        Pcm(NAME, CAPTURE, n_channels=2).close()
        card.advance(2000)
        heard = played(card)
        np.testing.assert_array_equal(heard[256:1000], tape[: 1000 - 256])
        assert not heard[1000:].any(), "what was written before the plug was pulled is heard after it"


def test_a_card_may_come_back_with_another_rate(tmp_path: Path) -> None:
    with card_on_bench(tmp_path) as card:
        card.unplug()
        card.replug(sample_rate_hz=44100)
        with pytest.raises(AlsaRefusal) as refused:
            Pcm(NAME, CAPTURE, n_channels=2)
        assert refused.value.code == EINVAL
        Pcm(NAME, CAPTURE, n_channels=2, sample_rate_hz=44100).close()
        assert card.report().sample_rate_hz == 44100


def test_a_card_may_offer_other_formats_and_fewer_channels_to_the_next_program(tmp_path: Path) -> None:
    tape = noise(PERIOD, 4)
    with card_on_bench(tmp_path, n_capture=4) as card:
        card.feed(tape)
        card.offer(formats=["S24_3LE"], n_capture=3)
        offers: list[dict[str, Any]] = [
            {"n_channels": 4, "format_name": "S24_3LE"},
            {"n_channels": 3, "format_name": "S32_LE"},
        ]
        for settings in offers:
            with pytest.raises(AlsaRefusal):
                Pcm(NAME, CAPTURE, **settings)
        with Pcm(NAME, CAPTURE, n_channels=3, format_name="S24_3LE") as pcm:
            pcm.call("start")
            card.advance(PERIOD)
            np.testing.assert_array_equal(pcm.read(PERIOD)[1], tape[:, :3] & ~0xFF)


def test_plugging_out_of_order_is_refused(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False, begins_at_once=True) as card:
        card.advance(100)
        with pytest.raises(EvenhandError, match="so already"):
            card.replug()
        with pytest.raises(EvenhandError, match="must follow"):
            card.unplug(at_frame=99)
        card.unplug(at_frame=200)
        with pytest.raises(EvenhandError, match="must follow"):
            card.replug(at_frame=199)


# ----------------------------------------------------------------------------------------------------- lesser faults


@pytest.mark.parametrize("direction", SIDES)
def test_a_suspended_stream_has_to_be_prepared_anew(tmp_path: Path, direction: Direction) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        program.start()
        program.step()
        card.suspend(direction)
        card.advance(PERIOD)
        pcm = pcm_of(program, direction)
        move = program.capture.read if direction == Direction.CAPTURE else program.playback.write
        argument = PERIOD if direction == Direction.CAPTURE else noise(PERIOD, 2)
        for _ in range(2):
            answer = move(argument)  # type: ignore[arg-type]
            assert (answer if isinstance(answer, int) else answer[0]) == ESTRPIPE
        assert pcm.state == "SUSPENDED"
        assert pcm.call("resume") == 0
        assert pcm.call("avail") == EPIPE, "alsa-lib lets no ioplug refuse to resume, so the stream must"
        program.start()
        program.step()
        assert card.report().capture.n_suspends + card.report().playback.n_suspends == 1


def test_a_short_read_gives_what_it_has_and_loses_nothing(tmp_path: Path) -> None:
    tape = noise(4 * PERIOD, 2)
    with card_on_bench(tmp_path) as card, Duplex(card) as program:
        card.feed(tape)
        program.start()
        card.shorten(Direction.CAPTURE, 10, count=2)
        card.advance(PERIOD)
        read = [program.capture.read(PERIOD) for _ in range(2)]
        assert [got for got, _ in read] == [10, 10]
        read.append(program.capture.read(PERIOD - 20))
        assert read[-1][0] == PERIOD - 20
        np.testing.assert_array_equal(np.concatenate([frames for _, frames in read]), tape[:PERIOD])
        assert card.report().capture.n_short_transfers == 2


def test_a_short_write_takes_what_it_says_and_no_more(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        sound = noise(3 * PERIOD, 2)
        card.shorten(Direction.PLAYBACK, 10)
        assert program.playback.write(sound) == 10
        assert program.playback.write(sound[10:]) == 3 * PERIOD - 10
        program.playback.call("start")
        program.capture.call("start")
        card.advance(2 * PERIOD)
        np.testing.assert_array_equal(played(card), sound[: 2 * PERIOD])


def test_a_short_transfer_can_be_planned(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        card.schedule(Direction.CAPTURE, [(PERIOD, Fault.SHORT_TRANSFER, 7)])
        program.start()
        card.advance(PERIOD)
        assert program.capture.read(PERIOD)[0] == 7
        assert program.capture.read(PERIOD)[0] == PERIOD - 7


@pytest.mark.parametrize("is_planned", [False, True])
def test_a_late_wake_up_is_late_by_the_frames_asked_for(tmp_path: Path, is_planned: bool) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        if is_planned:
            card.schedule(Direction.CAPTURE, [(0, Fault.LATE_WAKE, 30)])
        else:
            card.wake_late(Direction.CAPTURE, 30, count=1)
        program.start()
        for wakes_in in (PERIOD + 30, 2 * PERIOD):
            with Sleeper(card, lambda: program.capture.call("wait", -1)) as sleeper:
                assert card.wait_for_rest()
                assert card.report().capture.wait_frame == wakes_in
                card.advance(wakes_in - 1 - card.frame)
                assert card.wait_for_rest()
                assert sleeper.is_asleep
                card.advance(1)
                assert sleeper.answer() == 1
            assert program.capture.read(PERIOD)[0] == PERIOD
        assert card.report().capture.max_late_frames == 30


# ------------------------------------------------------------------------------------------------------------- drift


def test_a_wall_clock_runs_as_much_too_fast_as_it_is_told(tmp_path: Path) -> None:
    """Bounds that hold on any machine, however it stalls: the clock is compared with the times around its reading."""
    rate_hz, ppm = 48000, 500_000.0
    before_s = time.monotonic()
    with VirtualCard(
        tmp_path / "card", n_capture=1, n_playback=0, tape=False, begins_at_once=True, ppm=ppm, sample_rate_hz=rate_hz
    ) as card:
        after_s = time.monotonic()
        time.sleep(0.05)
        earliest_s = time.monotonic()
        frame = card.frame
        latest_s = time.monotonic()
        assert 1.5 * rate_hz * (earliest_s - after_s) - 1 <= frame <= 1.5 * rate_hz * (latest_s - before_s) + 1

        change_before_s = time.monotonic()
        frame = card.frame
        card.ppm = -500_000.0
        after_change = card.frame
        change_after_s = time.monotonic()
        assert frame <= after_change <= frame + 1.5 * rate_hz * (change_after_s - change_before_s) + 2
        time.sleep(0.05)
        earliest_s = time.monotonic()
        last = card.frame
        latest_s = time.monotonic()
        assert 0.5 * rate_hz * (earliest_s - change_after_s) - 2 <= last - after_change
        assert (
            last - frame
            <= 1.5 * rate_hz * (change_after_s - change_before_s) + 0.5 * rate_hz * (latest_s - change_before_s) + 2
        )


def test_a_clock_that_waited_goes_on_without_a_jump(tmp_path: Path) -> None:
    """Again bounds that hold however the machine stalls."""
    with VirtualCard(tmp_path / "card", n_capture=1, n_playback=0, begins_at_once=True) as card:
        card.feed(noise(100, 1))
        before = card.report()
        while card.frame < 100:
            time.sleep(0.001)
        time.sleep(0.05)
        before_s = time.monotonic()
        assert card.feed(noise(10_000, 1)) == 10_000
        frame = card.frame
        assert 100 <= frame <= 100 + 48000 * (time.monotonic() - before_s) + 1
        after = card.report()
        assert after.n_waits == before.n_waits + 1
        assert after.waited_frames >= before.waited_frames + 0.04 * 48000


def test_the_recorder_of_a_wall_clock_keeps_away_from_what_may_still_be_written(tmp_path: Path) -> None:
    with VirtualCard(tmp_path / "card", n_capture=0, n_playback=1, begins_at_once=True) as card:
        while card.frame < 1000:
            time.sleep(0.001)
        assert sum(len(block) for _, block in card.take()) > 0
        assert card.report().taken_frame + 256 <= card.frame
