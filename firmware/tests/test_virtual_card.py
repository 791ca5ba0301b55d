"""The virtual card passes sound bit-exactly, on its own clock, to the frame; alsa-lib is the real one."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware.errors import EvenhandError
from firmware.system import alsa
from firmware.system.alsa_config import alsa_config_text
from firmware.system.virtual_card import VirtualCard
from firmware.system.virtual_card_report import Direction
from firmware.tests.alsa_client import CAPTURE, PLAYBACK, AlsaRefusal, Pcm
from firmware.tests.card_bench import (
    EBUSY,
    EINVAL,
    ENOENT,
    EPIPE,
    NAME,
    Duplex,
    Sleeper,
    alsa_names,
    card_on_bench,
    noise,
    played,
)

PERIOD = 64
BITS_CUT = {"S16_LE": 16, "S24_3LE": 8, "S32_LE": 0}

# ---------------------------------------------------------------------------------------------------------- passage


@pytest.mark.parametrize("format_name", BITS_CUT)
@pytest.mark.parametrize("n_channels", [1, 8, 32, 64])
def test_every_format_passes_both_ways_without_a_bit_changed(tmp_path: Path, format_name: str, n_channels: int) -> None:
    tape = noise(20 * PERIOD, n_channels) >> BITS_CUT[format_name] << BITS_CUT[format_name]
    with card_on_bench(tmp_path, n_capture=n_channels, n_playback=n_channels) as card:
        assert card.feed(tape) == len(tape)
        with Duplex(card, format_name=format_name) as program:
            program.start()
            read = np.concatenate([program.step() for _ in range(20)])
        np.testing.assert_array_equal(read, tape)
        np.testing.assert_array_equal(played(card)[2 * PERIOD :], tape[: -2 * PERIOD])


def test_narrow_formats_keep_the_highest_bits(tmp_path: Path) -> None:
    tape = noise(PERIOD, 2)
    with card_on_bench(tmp_path) as card:
        card.feed(tape)
        with Duplex(card, format_name="S16_LE") as program:
            program.start()
            np.testing.assert_array_equal(program.step(), tape & ~0xFFFF)


@pytest.mark.parametrize(("period_frames", "n_prefill"), [(64, 2), (64, 3), (32, 2), (48, 4), (101, 2)])
def test_the_round_trip_is_what_was_written_ahead_to_the_frame(
    tmp_path: Path, period_frames: int, n_prefill: int
) -> None:
    tape = noise(10 * period_frames, 2)
    with card_on_bench(tmp_path) as card:
        card.feed(tape)
        with Duplex(card, period_frames=period_frames, n_prefill=n_prefill) as program:
            program.start()
            for _ in range(10):
                program.step()
                assert program.playback.delay() == n_prefill * period_frames
        heard = played(card)
        n_ahead = n_prefill * period_frames
        assert not heard[:n_ahead].any()
        np.testing.assert_array_equal(heard[n_ahead:], tape[: len(tape) - n_ahead])


def test_more_playback_than_capture_channels_and_the_other_way_round(tmp_path: Path) -> None:
    for n_capture, n_playback in ((8, 2), (2, 12)):
        tape = noise(4 * PERIOD, n_capture)
        with card_on_bench(tmp_path, n_capture=n_capture, n_playback=n_playback) as card:
            card.feed(tape)
            with Duplex(card) as program:
                program.start()
                for _ in range(4):
                    program.step()
            heard = played(card)[2 * PERIOD :]
            n_shared = min(n_capture, n_playback)
            np.testing.assert_array_equal(heard[:, :n_shared], tape[: 2 * PERIOD, :n_shared])
            assert not heard[:, n_shared:].any()


@pytest.mark.parametrize("bits", [16, 24])
def test_a_session_of_16_or_24_bits_reaches_the_card_exactly(tmp_path: Path, bits: int) -> None:
    tape = noise(PERIOD, 2) >> (32 - bits)
    with card_on_bench(tmp_path) as card:
        card.feed((tape / 2.0 ** (bits - 1)).astype(np.float32))
        with Duplex(card) as program:
            program.start()
            np.testing.assert_array_equal(program.step(), tape << (32 - bits))


def test_rings_go_round_without_a_seam(tmp_path: Path) -> None:
    tape = noise(5000, 2)
    with card_on_bench(tmp_path, ring_frames=1024) as card, Duplex(card, period_frames=50) as program:
        n_fed = card.feed(tape)
        program.start()
        read, heard = [], []
        for _ in range(100):
            read.append(program.step())
            heard.append(played(card))
            n_fed += card.feed(tape[n_fed:])
        np.testing.assert_array_equal(np.concatenate(read), tape)
        np.testing.assert_array_equal(np.concatenate(heard)[100:], tape[:-100])


# ------------------------------------------------------------------------------------------------------------ starts


def test_playback_that_is_started_first_begins_in_the_frame_of_capture(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False, begins_at_once=True) as card, Duplex(card) as program:
        card.advance(1000)
        assert program.playback.write(noise(128, 2)) == 128
        assert program.playback.call("start") == 0
        card.advance(37)
        assert program.playback.delay() == 128, "it plays before capture has started"
        assert program.capture.call("start") == 0
        card.advance(10)
        assert program.playback.delay() == 118
        report = card.report()
        assert (report.capture.start_frame, report.playback.start_frame) == (1037, 1037)
        heard = played(card)
        assert not heard[:1037].any()
        np.testing.assert_array_equal(heard[1037:], noise(128, 2)[:10])


def test_playback_alone_does_not_wait_for_a_capture_nobody_opened(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Pcm(NAME, PLAYBACK, n_channels=2) as pcm:
        assert pcm.write(noise(128, 2)) == 128
        assert pcm.call("start") == 0
        card.advance(100)
        assert pcm.delay() == 28


def test_playback_that_waits_for_capture_begins_when_capture_is_closed(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        assert program.playback.write(noise(128, 2)) == 128
        assert program.playback.call("start") == 0
        assert card.advance(10) == 0, "the clock runs though nothing has started"
        program.capture.close()
        assert card.advance(10) == 10
        assert program.playback.delay() == 118


def test_the_first_captured_frame_is_the_first_of_the_session_however_late_it_starts(tmp_path: Path) -> None:
    tape = noise(PERIOD, 2)
    with card_on_bench(tmp_path) as card:
        card.feed(tape)
        assert card.advance(PERIOD) == 0
        with Duplex(card) as program:
            program.start()
            np.testing.assert_array_equal(program.step(), tape)


# ------------------------------------------------------------------------------------------------------------- clock


def test_the_clock_waits_for_the_tape_and_nothing_is_invented(tmp_path: Path) -> None:
    tape = noise(4 * PERIOD, 2)
    with card_on_bench(tmp_path) as card, Duplex(card) as program:
        assert card.feed(tape[:100]) == 100
        program.start()
        assert card.advance(4 * PERIOD) == 100
        assert card.report().n_waits == 1
        assert card.report().waited_frames == 4 * PERIOD - 100
        assert card.feed(tape[100:]) == len(tape) - 100
        assert card.advance(4 * PERIOD - 100) == 4 * PERIOD - 100
        got, frames = program.capture.read(4 * PERIOD)
        assert got == 4 * PERIOD
        np.testing.assert_array_equal(frames, tape)


def test_the_clock_waits_until_what_was_played_is_taken(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, ring_frames=1024, tape=False) as card, Duplex(card) as program:
        program.start()
        for _ in range(8):
            program.step()
        assert card.advance(1) == 0
        assert len(played(card)) == 512
        assert card.advance(1) == 1


def test_after_the_end_of_the_tape_there_is_silence(tmp_path: Path) -> None:
    with card_on_bench(tmp_path) as card, Duplex(card) as program:
        card.feed(noise(100, 2))
        card.end_tape()
        program.start()
        read = np.concatenate([program.step(), program.step()])
        np.testing.assert_array_equal(read[:100], noise(100, 2))
        assert not read[100:].any()


def test_two_cards_keep_two_clocks(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "n_capture": 1,
        "n_playback": 0,
        "clock": "manual",
        "tape": False,
        "begins_at_once": True,
    }
    with VirtualCard(tmp_path / "one", **settings) as one, VirtualCard(tmp_path / "two", **settings) as two:
        one.advance(48000)
        two.advance(48007)
        assert (one.frame, two.frame) == (48000, 48007)


def test_capture_moves_by_periods_and_playback_by_frames(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        program.start()
        card.advance(PERIOD - 1)
        assert program.capture.call("avail") == 0
        assert program.playback.delay() == PERIOD + 1
        card.advance(1)
        assert program.capture.call("avail") == PERIOD


def test_a_sleeping_program_wakes_in_its_frame_and_not_before(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        program.start()
        with Sleeper(card, lambda: program.capture.call("wait", -1)) as sleeper:
            assert card.wait_for_rest()
            assert card.report().capture.wait_frame == PERIOD
            card.advance(PERIOD - 1)
            assert card.wait_for_rest()
            assert sleeper.is_asleep
            card.advance(1)
            assert sleeper.answer() == 1
        assert program.capture.call("avail") == PERIOD


def test_a_program_that_plays_into_a_full_buffer_sleeps_until_a_period_is_free(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"n_channels": 2, "buffer_frames": 128, "is_blocking": True}
    with card_on_bench(tmp_path, tape=False) as card, Pcm(NAME, PLAYBACK, **settings) as pcm:
        assert pcm.write(noise(128, 2)) == 128
        assert pcm.call("start") == 0
        with Sleeper(card, lambda: pcm.write(noise(PERIOD, 2))) as sleeper:
            assert card.wait_for_rest(directions=[Direction.PLAYBACK])
            assert card.report().playback.wait_frame == PERIOD
            card.advance(PERIOD)
            assert sleeper.answer() == PERIOD


def test_drain_plays_to_the_last_frame_and_ends(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Pcm(NAME, PLAYBACK, n_channels=2, is_blocking=True) as pcm:
        sound = noise(101, 2)
        assert pcm.write(sound) == 101
        with Sleeper(card, lambda: pcm.call("drain")) as sleeper:
            assert card.wait_for_rest(directions=[Direction.PLAYBACK])
            assert card.advance(100) == 100
            assert card.wait_for_rest(directions=[Direction.PLAYBACK])
            assert sleeper.is_asleep
            card.advance(1)
            assert sleeper.answer() == 0
        assert pcm.state == "SETUP"
        np.testing.assert_array_equal(played(card), sound)


def test_a_program_with_its_own_poll_loop_sees_what_is_and_only_that(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        program.capture.fetch_descriptors()
        program.playback.fetch_descriptors()
        program.start()
        assert settled(program.capture) is None
        assert program.playback.poll(0) == select.POLLOUT, "there is room from the beginning"
        for _ in range(3):
            card.advance(PERIOD - 1)
            assert settled(program.capture) is None
            card.advance(1)
            for _ in range(2):  # it stays readable until it is read
                assert program.capture.poll(0) == select.POLLIN
            assert program.turn()[0] == PERIOD
        card.unplug()
        gone = select.POLLERR | select.POLLHUP
        assert program.capture.poll(0) == select.POLLIN | gone
        assert program.playback.poll(0) == select.POLLOUT | gone


def settled(pcm: Pcm) -> int | None:
    """Poll until nothing wakes in vain any more: a stale wake-up is allowed, once."""
    first = pcm.poll(0)
    return first if first else pcm.poll(0)


# ------------------------------------------------------------------------------------------------- natural overruns


def test_playback_underruns_in_the_frame_in_which_nothing_is_left(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        program.start()
        card.advance(127)
        assert program.playback.delay() == 1
        card.advance(1)
        assert program.playback.call("avail") == EPIPE
        assert program.playback.state == "XRUN"
        assert card.report().playback.n_xruns == 1


def test_capture_overruns_one_frame_after_its_buffer_is_full(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Pcm(NAME, CAPTURE, n_channels=2, buffer_frames=256) as pcm:
        assert pcm.call("start") == 0
        card.advance(256)
        assert pcm.call("avail") == 256
        card.advance(1)
        assert pcm.call("avail") == EPIPE
        assert card.report().capture.n_xruns == 1


def test_a_program_may_switch_the_detection_of_xruns_off(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"n_channels": 2, "buffer_frames": 256, "stop_frames": 2**63 - 1}
    with card_on_bench(tmp_path, tape=False) as card, Pcm(NAME, CAPTURE, **settings) as pcm:
        assert pcm.call("start") == 0
        card.advance(10 * PERIOD)
        assert pcm.call("avail") == 10 * PERIOD
        assert pcm.state == "RUNNING"


def test_sound_that_was_dropped_before_its_frame_is_never_heard(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, Duplex(card) as program:
        assert program.playback.write(noise(200, 2)) == 200
        assert program.playback.call("start") == 0
        assert program.capture.call("start") == 0
        card.advance(50)
        program.playback.call("drop")
        card.advance(300)
        heard = played(card)
        np.testing.assert_array_equal(heard[:50], noise(200, 2)[:50])
        assert not heard[50:].any()


def test_a_second_start_leaves_a_gap_of_silence_and_nothing_else(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False, begins_at_once=True) as card, Pcm(NAME, PLAYBACK, n_channels=2) as pcm:
        for start, seed in ((0, 1), (1000, 2)):
            card.advance(start - card.frame)
            assert pcm.call("prepare") == 0
            assert pcm.write(noise(200, 2, seed)) == 200
            assert pcm.call("start") == 0
            card.advance(200)
            assert pcm.call("avail") == EPIPE
        heard = played(card)
        np.testing.assert_array_equal(heard[:200], noise(200, 2, 1))
        assert not heard[200:1000].any()
        np.testing.assert_array_equal(heard[1000:1200], noise(200, 2, 2))


# ------------------------------------------------------------------------------------------------------------- cable


def test_a_cable_brings_playback_back_in_the_same_frame(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, n_capture=4, cable=[(1, 3)]) as card, Duplex(card) as program:
        sound = noise(128, 2)
        assert program.playback.write(sound) == 128
        assert program.playback.call("start") == 0
        assert program.capture.call("start") == 0
        card.advance(PERIOD)
        got, frames = program.capture.read(PERIOD)
        assert got == PERIOD
        np.testing.assert_array_equal(frames[:, 3], sound[:PERIOD, 1])
        assert not frames[:, :3].any()


def test_cables_that_meet_are_mixed_and_do_not_wrap(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, n_capture=1, cable=[(0, 0), (1, 0)]) as card, Duplex(card) as program:
        sound = noise(128, 2)
        assert program.playback.write(sound) == 128
        assert program.playback.call("start") == 0
        assert program.capture.call("start") == 0
        card.advance(PERIOD)
        _, frames = program.capture.read(PERIOD)
        mixed = sound[:PERIOD].astype(np.int64).sum(axis=1).clip(-(2**31), 2**31 - 1)
        np.testing.assert_array_equal(frames[:, 0], mixed)


# ---------------------------------------------------------------------------------------------------------- refusals


def refusal(open_it: Callable[[], Pcm]) -> int:
    with pytest.raises(AlsaRefusal) as refused:
        open_it().close()
    return refused.value.code


def test_a_direction_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with card_on_bench(tmp_path) as card:
        with Pcm(NAME, CAPTURE, n_channels=2):
            assert refusal(lambda: Pcm(NAME, CAPTURE, n_channels=2)) == EBUSY
            Pcm(NAME, PLAYBACK, n_channels=2).close()
        Pcm(NAME, CAPTURE, n_channels=2).close()
        assert card.report().capture.n_opens == 2


def test_a_card_offers_exactly_what_it_has(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, formats=["S24_3LE"], n_playback=0):
        good: dict[str, Any] = {"n_channels": 2, "format_name": "S24_3LE"}
        assert refusal(lambda: Pcm(NAME, CAPTURE, **{**good, "format_name": "S32_LE"})) == EINVAL
        assert refusal(lambda: Pcm(NAME, CAPTURE, **{**good, "n_channels": 1})) == EINVAL
        assert refusal(lambda: Pcm(NAME, CAPTURE, **{**good, "sample_rate_hz": 44100})) == EINVAL
        assert refusal(lambda: Pcm(NAME, CAPTURE, **{**good, "buffer_frames": 64})) == EINVAL
        assert refusal(lambda: Pcm(NAME, CAPTURE, **{**good, "buffer_frames": 32768})) == EINVAL
        assert refusal(lambda: Pcm(NAME, PLAYBACK, **good)) == ENOENT
        Pcm(NAME, CAPTURE, **good).close()


def overwritten(offset: int, layout: str, value: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(struct.pack(layout, value))

    return damage


def truncate(n_bytes: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, n_bytes)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (truncate(0), "no virtual card"),
    "half a header": (truncate(1000), "no virtual card"),
    "half a file": (truncate(900_000), "size does not fit"),
    "another magic": (overwritten(0, "<Q", 1), "no virtual card"),
    "another version": (overwritten(8, "<I", 99), "another version"),
    "another header": (overwritten(12, "<I", 64), "header has another size"),
    "another size": (overwritten(16, "<Q", 1 << 40), "size does not fit"),
    "65 channels": (overwritten(24, "<i", 65), "impossible channel count"),
    "-1 channels": (overwritten(28, "<i", -1), "impossible channel count"),
    "other channels": (overwritten(24, "<i", 3), "size does not fit"),
    "no ring": (overwritten(32, "<i", 0), "impossible size"),
    "a ring of 1000": (overwritten(32, "<i", 1000), "impossible size"),
    "another ring": (overwritten(32, "<i", 65536), "size does not fit"),
    "no FIFO": (lambda path: path.with_name("copy.capture").unlink(), "FIFO beside it is missing"),
    "a file for a FIFO": (
        lambda path: os.replace(shutil.copy(path, path.with_name("x")), path.with_name("copy.capture")),  # noqa: PTH105
        "FIFO beside it is missing",
    ),
}


@pytest.fixture
def talking_library() -> None:
    """Let alsa-lib print: a test before this one, in the same process, may have opened a card as the box does."""
    alsa.silence_library.cache_clear()
    ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(None)


@pytest.mark.usefixtures("talking_library")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_its_reason(
    tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with card_on_bench(tmp_path) as card:
        copy = tmp_path / "copy"
        shutil.copy(card.path, copy)
        for direction in ("capture", "playback"):
            os.mkfifo(tmp_path / f"copy.{direction}")
        with alsa_names(tmp_path, {"copied": copy}):
            Pcm("copied", CAPTURE, n_channels=2).close()
            hurt, reason = DAMAGES[damage]
            hurt(copy)
            assert refusal(lambda: Pcm("copied", CAPTURE, n_channels=2)) == EINVAL
    assert reason in capfd.readouterr().err


def test_a_missing_file_is_no_card(tmp_path: Path) -> None:
    with alsa_names(tmp_path, {NAME: tmp_path / "nothing"}):
        assert refusal(lambda: Pcm(NAME, CAPTURE, n_channels=2)) == ENOENT


def test_a_card_replaces_what_a_dead_world_left_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "card"
    with VirtualCard(path, n_capture=1, n_playback=1):
        with pytest.raises(EvenhandError, match="File exists"):
            VirtualCard(path, n_capture=1, n_playback=1)
        remains = path.read_bytes()
    path.write_bytes(remains)
    with VirtualCard(path, n_capture=2, n_playback=2) as card:
        assert card.report().capture.n_opens == 0
    assert list(tmp_path.iterdir()) == []
    path.write_text("someone's notes")
    with pytest.raises(EvenhandError, match="File exists"):
        VirtualCard(path, n_capture=1, n_playback=1)
    assert path.read_text() == "someone's notes"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"n_capture": 65}, "65 capture"),
        ({"n_capture": 0, "n_playback": 0}, "0 capture and 0 playback"),
        ({"sample_rate_hz": 47}, "sample_rate_hz = 47"),
        ({"clock": "sundial"}, "'wall' and 'manual'"),
        ({"formats": ["FLOAT_LE"]}, "S16_LE, S24_3LE, S32_LE"),
        ({"cable": [(0, 2)]}, "cable 0 > 2"),
        ({"ring_frames": 1000}, "power of two"),
    ],
)
def test_a_card_that_cannot_be_is_refused_in_one_line(tmp_path: Path, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EvenhandError) as refused:
        VirtualCard(tmp_path / "card", **{"n_capture": 2, "n_playback": 2, **settings})
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_that_alsa_would_misread_is_refused(tmp_path: Path) -> None:
    for name in ("", "1st", "hw:0", "a b", "x}"):
        with pytest.raises(EvenhandError, match="cannot name a sound card"):
            alsa_config_text({name: tmp_path / "card"})
    with pytest.raises(EvenhandError, match="quotes"):
        alsa_config_text({"card": tmp_path / 'a "card"'})
