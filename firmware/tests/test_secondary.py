"""Two cards, two clocks: nothing is lost over hours, the pitch stands, and what interrupts the sound does not click."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.tests import harnesses
from firmware.tests.secondary_rig import RATE_HZ, Audio, Link, harness, library_path, two_clocks

TONE_HZ, TONE_LIN = 997.0, 0.9
STEEPEST = TONE_LIN * 2 * np.pi * TONE_HZ / RATE_HZ  # of the tone, between two frames
SETTLED_S = 10
PURE_FUNCTIONS = {"memcpy", "memset", "memmove", "memcmp"}


def thd_n_db(x: NDArray[np.float64], freq_hz: float) -> float:
    """Return all that is further than 4 Hz from the tone, relative to it; slower wobble is measured as such."""
    n = 1 << 18
    frequencies = np.fft.rfftfreq(n, 1 / RATE_HZ)
    power = np.abs(np.fft.rfft(x[:n] * np.kaiser(n, 20))) ** 2
    is_tone = np.abs(frequencies - freq_hz) < 4
    return float(10 * np.log10(power[~is_tone].sum() / power[is_tone].sum()))


def pitch_cents(x: NDArray[np.float64], freq_hz: float) -> NDArray[np.float64]:
    """Return the deviation from ``freq_hz`` over 100 ms, every 10 ms."""
    turned = x * np.exp(-2j * np.pi * freq_hz / RATE_HZ * np.arange(len(x)))
    tens = turned[: len(turned) // 480 * 480].reshape(-1, 480).mean(axis=1)
    phase = np.unwrap(np.angle(np.convolve(tens, np.ones(10) / 10, "valid")))
    return 1200 * np.log2(1 + np.diff(phase) / (2 * np.pi) * 100 / freq_hz)


def assert_nothing_was_lost(said: dict[str, float]) -> None:
    for name in ("n_starved", "n_gaps", "n_recentred", "n_silent_frames", "n_overflowed_frames"):
        assert said[name] == 0, name
    assert said["first_sound_s"] < 0.3


def assert_it_holds(said: dict[str, float], seconds: float) -> None:
    assert_nothing_was_lost(said)
    assert said["locked_s"] > seconds - SETTLED_S
    assert max(-said["fill_lowest"], said["fill_highest"]) < 4  # 16 would do
    assert said["ratio_deviation_ppm"] < 1
    assert max(-said["ratio_lowest_ppm"], said["ratio_highest_ppm"]) < 6  # 0.01 cent


@pytest.mark.parametrize("drift_ppm", [-200, 200])
def test_two_minutes_of_jitter_and_stalls_lose_nothing_and_bend_nothing(tmp_path: Path, drift_ppm: int) -> None:
    sound = tmp_path / "sound.f32"
    said = two_clocks(seconds=120, drift_ppm=drift_ppm, stalls_per_minute=6, sound=sound)
    assert_it_holds(said, 120)
    x = np.fromfile(sound, np.float32).astype(np.float64)[12 * RATE_HZ :]
    freq_hz = TONE_HZ * (1 + drift_ppm * 1e-6)  # the tone is made by the writer's clock
    for start in range(0, len(x) - (1 << 18), 20 * RATE_HZ):
        assert thd_n_db(x[start:], freq_hz) < -115
    assert np.abs(pitch_cents(x, freq_hz)).max() < 0.05  # 1 would do


@pytest.mark.parametrize(("write_frames", "read_frames"), [(16, 16), (16, 128), (128, 16), (64, 48), (128, 128)])
def test_the_fill_is_held_whatever_the_periods(write_frames: int, read_frames: int) -> None:
    said = two_clocks(
        seconds=90, drift_ppm=170, write_frames=write_frames, read_frames=read_frames, stalls_per_minute=6
    )
    assert_it_holds(said, 90)


@pytest.mark.parametrize("drift_ppm", [-150, 150])
def test_another_rate_is_bridged(drift_ppm: int) -> None:
    assert_it_holds(two_clocks(seconds=90, drift_ppm=drift_ppm, writer_hz=44100, stalls_per_minute=6), 90)


@pytest.mark.parametrize("drift_ppm", [-900, 900])
def test_a_bad_crystal_is_bridged(drift_ppm: int) -> None:
    said = two_clocks(seconds=90, drift_ppm=drift_ppm, stalls_per_minute=6)
    assert_nothing_was_lost(said)
    assert max(-said["fill_lowest"], said["fill_highest"]) < 16


def test_a_short_ring_holds_as_long_as_nobody_stalls() -> None:
    assert_it_holds(two_clocks(seconds=90, drift_ppm=200, target_frames=384), 90)


def test_a_stall_longer_than_the_ring_is_silence_without_a_click() -> None:
    said = two_clocks(seconds=120, drift_ppm=150, target_frames=320, stalls_per_minute=12)
    assert said["n_starved"] > 5
    assert said["n_gaps"] == said["n_recentred"] == said["n_overflowed_frames"] == 0
    assert said["n_silent_frames"] < said["n_starved"] * 0.07 * RATE_HZ  # a stall of at most 50 ms, and the refill
    assert said["largest_jump"] < 1.02 * STEEPEST
    assert max(-said["fill_lowest"], said["fill_highest"]) < 16


@pytest.mark.parametrize("target_frames", [1024, 9600])
def test_lost_frames_are_silence_without_a_click_and_the_delay_is_as_before(target_frames: int) -> None:
    said = two_clocks(seconds=120, drift_ppm=150, target_frames=target_frames, losses_per_minute=12)
    assert said["n_gaps"] > 5
    assert said["n_starved"] == said["n_recentred"] == said["n_overflowed_frames"] == 0
    assert said["n_silent_frames"] < said["n_gaps"] * (0.2 * RATE_HZ + target_frames)
    assert said["largest_jump"] < 1.02 * STEEPEST
    assert max(-said["fill_lowest"], said["fill_highest"]) < 16
    assert max(-said["ratio_lowest_ppm"], said["ratio_highest_ppm"]) < 577  # a cent


@pytest.mark.soak
@pytest.mark.parametrize("drift_ppm", [-200, 200])
@pytest.mark.parametrize(("write_frames", "read_frames"), [(64, 64), (128, 32)])
def test_an_hour_of_jitter_and_stalls_loses_nothing(write_frames: int, read_frames: int, drift_ppm: int) -> None:
    said = two_clocks(
        seconds=3600, drift_ppm=drift_ppm, write_frames=write_frames, read_frames=read_frames, stalls_per_minute=6
    )
    print(said)
    assert_it_holds(said, 3600)


def test_gcc_and_clang_build_the_same_link_to_the_bit(tmp_path: Path) -> None:
    sounds = []
    for compiler in ("gcc", "clang"):
        sound = tmp_path / compiler
        two_clocks(seconds=15, drift_ppm=150, losses_per_minute=12, sound=sound, compiler=compiler)
        sounds.append(sound.read_bytes())
    assert sounds[0] == sounds[1] != b""


def test_the_link_calls_nothing_that_is_not_pure() -> None:
    command = ["nm", "--dynamic", "--undefined-only", str(library_path())]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].split("@")[0] for line in said.splitlines()}
    assert {n for n in names if not n.startswith("_")} <= PURE_FUNCTIONS


THREAD = ("-O1", "-fsanitize=thread")


def test_thread_sanitizer_finds_no_race_between_writer_and_reader() -> None:
    done = harnesses.run(harness("secondary_threads", *THREAD))
    assert done.returncode == 0, done.stdout + done.stderr


def test_thread_sanitizer_sees_a_ring_without_its_memory_order() -> None:
    done = harnesses.run(harness("secondary_threads", *THREAD, "-DTORN_SECONDARY"))
    assert "data race" in done.stderr


def test_address_and_undefined_behaviour_sanitizers_find_nothing() -> None:
    program = harness("two_clocks", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    done = harnesses.run(program, "20", "150", "100", "37", "512", "20", "20", "44100", "-")
    assert done.returncode == 0, done.stdout + done.stderr


def ramp(start: int, n_frames: int) -> Audio:
    """Return a sound that tells its own place, and that a resampler leaves alone."""
    return np.repeat((np.arange(start, start + n_frames) * 1e-6)[:, None], 4, axis=1).astype(np.float32)


def run_level(link: Link, start: int, n_periods: int, *, writes: bool = True, reads: bool = True) -> Audio:
    """Let both sides work in step, 64 frames each, from frame ``start`` on; return what was read."""
    heard = [np.zeros((0, 4), np.float32)]
    for at in range(start, start + 64 * n_periods, 64):
        if writes:
            link.write(ramp(at, 64), at + 64)
        if reads:
            heard.append(link.read(64, at + 64))
    return np.concatenate(heard)


def test_it_sounds_when_the_target_is_reached_and_fades_in_over_10_ms() -> None:
    link = Link(target_frames=2048)
    heard = run_level(link, 0, 400)[:, 0]
    first = int(np.flatnonzero(heard)[0])
    assert first > 2048
    gain = heard[first : first + 600] / ramp(first - link.delay_frames, 600)[:, 0]
    assert np.abs(np.diff(gain)).max() < 1.5 / 480
    assert gain[520] == pytest.approx(1, abs=0.02)
    assert link.stats.is_sounding
    assert link.stats.n_silent_frames == 0


def test_the_sound_is_late_by_what_the_link_says() -> None:
    # In step, and with every stamp on time, place and delay are exact but for what the loop still moves.
    for target_frames in (256, 1000, 3072):
        link = Link(target_frames=target_frames)
        heard = run_level(link, 0, 3000)[:, 0]
        n = len(heard)
        place = heard[-1] / 1e-6
        assert n - 1 - place == pytest.approx(link.delay_frames - 64, abs=1)  # read 64 frames after their time


def test_starved_it_fades_to_silence_counts_once_and_comes_back_as_before() -> None:
    link = Link(target_frames=512)
    run_level(link, 0, 1000)
    starving = run_level(link, 64_000, 100, writes=False)[:, 0]
    assert np.abs(np.diff(starving)).max() < 64_000e-6 / 40  # 48 frames from all to nothing
    assert not starving[-4000:].any()
    assert link.stats.n_starved == 1
    assert not link.stats.is_sounding
    link.writer_lost_frames()
    back = run_level(link, 70_400, 1000)[:, 0]
    assert len(back) + 70_400 - 1 - back[-1] / 1e-6 == pytest.approx(link.delay_frames - 64, abs=1)
    assert link.stats.n_silent_frames > 6000
    assert link.stats.n_gaps == 0  # it was silent already


def test_a_reader_that_stays_away_overflows_the_ring_and_finds_the_same_delay() -> None:
    link = Link(target_frames=512)
    run_level(link, 0, 1000)
    run_level(link, 64_000, 100, reads=False)
    assert link.stats.n_overflowed_frames > 0
    back = run_level(link, 70_400, 1000)[:, 0]
    assert link.stats.n_gaps == 1
    assert len(back) + 70_400 - 1 - back[-1] / 1e-6 == pytest.approx(link.delay_frames - 64, abs=1)


def test_after_an_xrun_of_the_reader_the_delay_is_as_before() -> None:
    link = Link(target_frames=512)
    run_level(link, 0, 1000)
    run_level(link, 64_000, 10, reads=False)
    link.reader_lost_frames()
    back = run_level(link, 64_640, 1000)[:, 0]
    assert link.stats.n_recentred == 1
    assert link.stats.n_overflowed_frames == link.stats.n_starved == 0
    assert len(back) + 64_640 - 1 - back[-1] / 1e-6 == pytest.approx(link.delay_frames - 64, abs=1)


def test_a_reader_that_starts_late_does_not_wait_for_old_sound() -> None:
    link = Link(target_frames=512)
    run_level(link, 0, 500, reads=False)
    heard = run_level(link, 32_000, 200)[:, 0]
    first = int(np.flatnonzero(heard)[0])
    assert first < 0.2 * RATE_HZ
    assert len(heard) + 32_000 - 1 - heard[-1] / 1e-6 == pytest.approx(link.delay_frames - 64, abs=2)


@pytest.mark.parametrize("n_frames", [1, 7, 64, 700, 1500])
def test_every_read_is_filled_whatever_its_size(n_frames: int) -> None:
    link = Link(target_frames=2048, max_read_frames=n_frames)
    written = 0
    for at in range(0, 96_000, n_frames):
        while written < at + n_frames:
            link.write(ramp(written, 64), written + 64)
            written += 64
        assert np.isfinite(link.read(n_frames, at + n_frames)).all()
    assert link.stats.is_sounding
    assert link.stats.n_starved == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_lanes": 3},
        {"n_lanes": 68},
        {"target_frames": 191},
        {"max_write_frames": 0},
        {"max_read_frames": -1},
        {"writer_rate_hz": 96000},
        {"writer_rate_hz": float("nan")},
        {"target_frames": 1 << 20},
    ],
    ids=str,
)
def test_a_link_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    assert Link(target_frames=192).status == 0
    assert Link(**{"target_frames": 192, **wrong}).status != 0  # type: ignore[arg-type]
