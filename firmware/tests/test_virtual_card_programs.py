"""Ordinary programs in their own processes use the virtual card: blocking, killed, sanitized, on the wall clock."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware.system.virtual_card import VirtualCard
from firmware.system.virtual_card_report import Direction, Fault
from firmware.system.virtual_tape import CardPlayer, play_through
from firmware.tests import card_programs
from firmware.tests.alsa_client import CAPTURE, PLAYBACK, AlsaRefusal, Pcm
from firmware.tests.card_bench import EBUSY, NAME, Sleeper, alsa_names, card_on_bench, noise, played

PERIOD = 64
N_PREFILL = 2
PROGRAM_TIMEOUT_S = 60


@contextmanager
def loop_program(
    card: VirtualCard, *, n_periods: int, format_name: str = "S32_LE", is_sanitized: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run ``card_loop`` on the card; it is killed at the end if it has not ended."""
    process = card_programs.start(
        card_programs.program("card_loop", is_sanitized=is_sanitized),
        *(NAME, format_name, 48000, card.n_capture, card.n_playback, PERIOD, N_PREFILL, n_periods),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def outcome(process: subprocess.Popen[str]) -> tuple[int, int, int]:
    """Return periods, recoveries and error of a ``card_loop`` that has come to its end."""
    out, errors = process.communicate(timeout=PROGRAM_TIMEOUT_S)
    assert process.returncode == 0, errors
    periods, recoveries, error = map(int, out.split())
    return periods, recoveries, error


def in_blocks(tape: np.ndarray, n_frames: int) -> Iterator[np.ndarray]:
    for start in range(0, len(tape), n_frames):
        yield tape[start : start + n_frames]


def float_noise(n_frames: int, n_channels: int) -> np.ndarray:
    """Return 24-bit noise: exact as float32 and on the card."""
    return ((noise(n_frames, n_channels) >> 8) / 2.0**23).astype(np.float32)


def as_s32(frames: np.ndarray) -> np.ndarray:
    return (frames.astype(np.float64) * 2.0**31).astype(np.int32)


def listener(heard: list[np.ndarray]) -> Callable[[int, np.ndarray], None]:
    return lambda _, block: heard.append(block)


# -------------------------------------------------------------------------------------------------------- lockstep


@pytest.mark.parametrize(("n_channels", "format_name"), [(1, "S32_LE"), (8, "S24_3LE"), (32, "S32_LE")])
def test_a_blocking_program_follows_the_manual_clock_bit_by_bit(
    tmp_path: Path, n_channels: int, format_name: str
) -> None:
    n_periods = 500
    tape = float_noise(n_periods * PERIOD, n_channels)
    heard: list[np.ndarray] = []
    with (
        card_on_bench(tmp_path, n_capture=n_channels, n_playback=n_channels) as card,
        loop_program(card, n_periods=n_periods, format_name=format_name) as process,
    ):
        assert card.wait_for_start()
        blocks = in_blocks(tape, 1000)
        n_frames = play_through(card, blocks, step_frames=PERIOD, on_played=listener(heard))
        assert outcome(process) == (n_periods, 0, 0)
    sound = np.concatenate(heard)
    assert n_frames == len(sound) == len(tape)
    assert not sound[: N_PREFILL * PERIOD].any()
    np.testing.assert_array_equal(sound[N_PREFILL * PERIOD :], as_s32(tape)[: -N_PREFILL * PERIOD])


def test_the_same_run_with_the_same_faults_sounds_the_same_twice(tmp_path: Path) -> None:
    tape = float_noise(1500 * PERIOD, 2)
    rng = np.random.default_rng(3)
    frames = rng.integers(0, len(tape) - 10 * PERIOD, 100)
    sounds = []
    for turn in ("first", "second"):
        (tmp_path / turn).mkdir()
        heard: list[np.ndarray] = []
        with card_on_bench(tmp_path / turn) as card, loop_program(card, n_periods=10_000) as process:
            for direction in Direction:
                card.schedule(direction, [(int(frame), Fault.XRUN, 0) for frame in frames[direction::2]])
            assert card.wait_for_start()
            play_through(card, in_blocks(tape, 4096), step_frames=PERIOD, on_played=listener(heard))
            assert process.poll() is None
            report = card.report()
            assert report.capture.n_injected_xruns + report.playback.n_injected_xruns == 100
        sounds.append(np.concatenate(heard))
    np.testing.assert_array_equal(sounds[0], sounds[1])
    assert (sounds[0] != 0).any()


# ----------------------------------------------------------------------------------------------------------- killed


def test_a_killed_program_gives_the_card_back_at_once(tmp_path: Path) -> None:
    with card_on_bench(tmp_path, tape=False) as card, loop_program(card, n_periods=1000) as process:
        assert card.wait_for_start()
        for stream in (CAPTURE, PLAYBACK):
            with pytest.raises(AlsaRefusal) as refused:
                Pcm(NAME, stream, n_channels=2)
            assert refused.value.code == EBUSY
        process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in (CAPTURE, PLAYBACK):
            Pcm(NAME, stream, n_channels=2).close()


def test_what_a_killed_program_had_written_is_gone_when_the_next_one_opens(tmp_path: Path) -> None:
    tape = float_noise(4 * PERIOD, 2)
    with card_on_bench(tmp_path) as card, loop_program(card, n_periods=1000) as process:
        card.feed(tape)
        assert card.wait_for_start()
        card.run(3 * PERIOD, step_frames=PERIOD)
        process.send_signal(signal.SIGKILL)
        process.wait()
        Pcm(NAME, PLAYBACK, n_channels=2).close()
        card.end_tape()
        card.advance(4 * PERIOD)
        heard = played(card)
        np.testing.assert_array_equal(heard[2 * PERIOD : 3 * PERIOD], as_s32(tape)[:PERIOD])
        assert not heard[3 * PERIOD :].any()


def test_playback_does_not_wait_for_a_capture_program_that_was_killed(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"n_channels": 2, "buffer_frames": 128, "is_blocking": True}
    with card_on_bench(tmp_path, tape=False) as card, Pcm(NAME, PLAYBACK, **settings) as pcm:
        holder = card_programs.start(card_programs.program("card_hold"), NAME)
        assert holder.stdout.readline() == "prepared\n"
        assert pcm.write(noise(128, 2)) == 128
        assert pcm.call("start") == 0
        with Sleeper(card, lambda: pcm.write(noise(PERIOD, 2))) as sleeper:
            assert card.wait_for_rest(directions=[Direction.PLAYBACK])
            assert card.advance(PERIOD) == 0
            holder.kill()
            holder.communicate()
            card.advance(0)
            assert card.wait_for_start(directions=[Direction.PLAYBACK])
            assert card.advance(PERIOD) == PERIOD
            assert sleeper.answer() == PERIOD


# ------------------------------------------------------------------------------------------------------- wall clock


def test_on_the_wall_clock_every_frame_is_the_right_one_or_silence(tmp_path: Path) -> None:
    """Holds however badly the machine stalls: a program that recovers starts both directions in one frame again."""
    tape = float_noise(24000, 2)
    heard: list[np.ndarray] = []
    with card_on_bench(tmp_path, clock="wall") as card, loop_program(card, n_periods=100_000):
        with CardPlayer(card, in_blocks(tape, 512), listener(heard)) as player:
            assert player.wait(PROGRAM_TIMEOUT_S)
        assert player.n_tape_frames == len(tape)
    sound = np.concatenate(heard)
    n_ahead = N_PREFILL * PERIOD
    assert len(sound) >= len(tape)
    assert not sound[:n_ahead].any()
    expected = as_s32(tape)[: len(sound) - n_ahead]
    got = sound[n_ahead : n_ahead + len(expected)]
    is_silent = ~got.any(axis=1)
    np.testing.assert_array_equal(got[~is_silent], expected[~is_silent])
    assert not is_silent.all()


def test_a_slow_feeder_delays_the_clock_and_falsifies_nothing(tmp_path: Path) -> None:
    tape = as_s32(float_noise(2048, 2))
    settings: dict[str, Any] = {
        "n_channels": 2,
        "is_blocking": True,
        "stop_frames": 2**63 - 1,
    }  # however late the reader is
    with card_on_bench(tmp_path, clock="wall") as card, Pcm(NAME, CAPTURE, **settings) as pcm:
        assert card.feed(tape[:1024]) == 1024
        read: list[np.ndarray] = []

        def read_all() -> int:
            for _ in range(len(tape) // PERIOD):
                got, frames = pcm.read(PERIOD)
                if got != PERIOD:
                    return got
                read.append(frames)
            return 0

        with Sleeper(card, read_all) as sleeper:
            while sleeper.is_asleep and (card.frame < 1024 or not card.wait_for_rest(timeout_s=0.01)):
                time.sleep(0.001)
            time.sleep(0.01)
            assert card.frame == 1024
            assert sleeper.is_asleep
            card.feed(tape[1024:])
            assert sleeper.answer() == 0
        assert card.report().n_waits == 1
        np.testing.assert_array_equal(np.concatenate(read), tape)


# --------------------------------------------------------------------------------------------------------- sanitized


def test_a_run_full_of_faults_is_clean_under_sanitizers(tmp_path: Path) -> None:
    n_periods = 2000
    rng = np.random.default_rng(5)
    kinds = [Fault.XRUN, Fault.SUSPEND, Fault.SHORT_TRANSFER, Fault.LATE_WAKE]
    with card_on_bench(tmp_path, n_capture=7, n_playback=3, tape=False, recorder=False) as card:
        for direction in Direction:
            frames = rng.integers(0, n_periods * PERIOD, 200)
            card.schedule(direction, [(int(f), kinds[i % 4], int(rng.integers(1, 40))) for i, f in enumerate(frames)])
        names = {NAME: card.path}
        with (
            alsa_names(tmp_path, names, plugin=card_programs.plugin(is_sanitized=True)),
            loop_program(card, n_periods=n_periods, format_name="S24_3LE", is_sanitized=True) as process,
        ):
            assert card.wait_for_start()
            while card.report().capture.state != "closed":
                card.run(PERIOD, step_frames=PERIOD)
            periods, recoveries, error = outcome(process)
        assert (periods, error) == (n_periods, 0)
        assert recoveries > 50


def test_a_damaged_shared_file_never_leads_outside_it(tmp_path: Path) -> None:
    """The header behind the checked geometry is overwritten with noise, then a sanitized program tries everything."""
    with card_on_bench(tmp_path, tape=False) as card:
        names = {NAME: card.path}
        with alsa_names(tmp_path, names, plugin=card_programs.plugin(is_sanitized=True)):
            process = card_programs.start(card_programs.program("card_fuzz", is_sanitized=True), NAME, card.path, 400)
            out, errors = process.communicate(timeout=PROGRAM_TIMEOUT_S)
    assert process.returncode == 0, errors
    opened, transferred = map(int, out.split())
    assert opened > 100
    assert transferred > 100


# ------------------------------------------------------------------------------------------------------- alsa-utils


@pytest.mark.skipif(shutil.which("aplay") is None, reason="aplay is not installed (Debian: alsa-utils)")
@pytest.mark.parametrize("options", [[], ["-M"]], ids=["rw", "mmap"])
def test_aplay_plays_a_file_bit_exactly(tmp_path: Path, options: list[str]) -> None:
    sound = noise(5000, 2)
    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(4)
        file.setframerate(48000)
        file.writeframes(sound.astype("<i4").tobytes())
    with card_on_bench(tmp_path, clock="wall", tape=False) as card:
        subprocess.run(
            ["aplay", "-q", *options, "-D", NAME, str(tmp_path / "in.wav")], check=True, timeout=PROGRAM_TIMEOUT_S
        )
        heard = played(card)
        n_xruns = card.report().playback.n_xruns
    if n_xruns == 0:  # a stalled machine may tear any program's sound; then its pieces are elsewhere
        np.testing.assert_array_equal(heard[: len(sound)], sound)
    assert heard.any()


@pytest.mark.skipif(shutil.which("arecord") is None, reason="arecord is not installed (Debian: alsa-utils)")
@pytest.mark.parametrize("options", [[], ["-M"]], ids=["rw", "mmap"])
def test_arecord_records_a_session_bit_exactly(tmp_path: Path, options: list[str]) -> None:
    tape = noise(4800, 2)
    out = tmp_path / "out.wav"
    with card_on_bench(tmp_path, clock="wall") as card:
        card.feed(tape)
        card.end_tape()
        command = ["arecord", "-q", *options, "-D", NAME, "-f", "S32_LE", "-c", "2", "-r", "48000", "-s", "4800"]
        subprocess.run([*command, str(out)], check=True, timeout=PROGRAM_TIMEOUT_S)
        n_xruns = card.report().capture.n_xruns
    with wave.open(str(out), "rb") as file:
        frames = np.frombuffer(file.readframes(4800), "<i4").reshape(-1, 2)
    assert len(frames) == 4800
    if n_xruns == 0:
        np.testing.assert_array_equal(frames, tape)
