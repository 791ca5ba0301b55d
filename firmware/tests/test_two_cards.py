"""A second card with a clock of its own: bridged without a gap, and when it fails nobody else hears it."""

from __future__ import annotations

import functools
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.build_ffi import C_FLAGS, SOURCE_DIR, machine_flags
from firmware.build_ffi import RT_DIR
from firmware.segment import Segment
from firmware.system.alsa_config import write_alsa_config
from firmware.system.virtual_card import Direction, VirtualCard
from firmware.tests import harnesses
from firmware.tests.live_rig import started, wait_for
from firmware.tests.test_live import noise_bursts
from firmware.tests.test_secondary import thd_n_db
from firmware.tests.two_card_rig import RATE_HZ, TwoCardRig, both_started, sends_only, tone

MAIN_HZ, SECOND_HZ, LEVEL = 997.0, 1499.0, 0.25
SETTLED_S, SECONDS = 8, 16
# Main on aux 2, second on aux 1: strip 1, of the main card, is heard on the second, and strip 2 the other way round.
CROSSED = {"main": ["aux_2"], "second": ["aux_1"]}
THREE_PERIODS = {"n_periods": "3", "max_round_trip_frames": "240"}


def late_by(seed: int) -> Callable[[], float]:
    """Return wake-ups that are 40 us late on average, and at most a millisecond."""
    rng = np.random.default_rng(seed)
    return lambda: min(float(rng.exponential(40e-6)), 1e-3)


def crossed(main_ppm: float, second_ppm: float, *, seed: int = 1, second: tuple[str, ...] = ("Second",),
            outputs: dict[str, list[str]] | None = None) -> TwoCardRig:  # fmt: skip
    rig = TwoCardRig(
        main=["Main"], second=second, outputs=outputs or CROSSED, main_ppm=main_ppm, second_ppm=second_ppm,
        late_s=late_by(seed), board_changes=THREE_PERIODS,
    )  # fmt: skip
    rig.tapes[0] = tone(MAIN_HZ, LEVEL)
    if second:
        rig.tapes[1] = tone(SECOND_HZ, LEVEL)
    return rig


def run_with_stalls(rig: TwoCardRig, seconds: float, seed: int) -> None:
    """Run; ten times a second a thread sleeps through a period of the main card, or two of the second."""
    rng = np.random.default_rng(seed)
    for _ in range(round(seconds * 10)):
        which = int(rng.integers(2))
        rig.stalled_periods[which] = 1 + which
        rig.run_both(0.1)


def as_float(played: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.asarray(played[:, 0] / 2.0**31)


def steepest(freq_hz: float) -> float:
    return LEVEL * 2 * np.pi * freq_hz / RATE_HZ


def assert_undisturbed(segment: Segment) -> None:
    counters = segment.status().counters
    names = ("secondary_gaps", "secondary_xruns", "secondary_losses", "xruns", "card_losses")
    assert {name: counters[name] for name in names} == dict.fromkeys(names, 0)


# ---------------------------------------------------------------------------------------------------------- drift


def check_drift(main_ppm: float, second_ppm: float, second: tuple[str, ...], outputs: dict[str, list[str]],
                seconds: float) -> None:  # fmt: skip
    drift_ppm = ((1 + second_ppm * 1e-6) / (1 + main_ppm * 1e-6) - 1) * 1e6
    control = sends_only(["Main", *second], {0: 0, 1: 1} if second else {0: 0})
    rig = crossed(main_ppm, second_ppm, second=second, outputs=outputs)
    with rig, both_started(rig, control) as segment:
        run_with_stalls(rig, SETTLED_S, seed=2)
        told_ppm: list[float] = []
        for _ in range(round((seconds - SETTLED_S) / 0.5)):
            run_with_stalls(rig, 0.5, seed=len(told_ppm))
            told_ppm.append(segment.status().secondary_ppm)
        assert_undisturbed(segment)
        on_main, on_second = as_float(rig.all_played()), as_float(rig.all_played_on_second())
    worst_ppm = max(abs(ppm - drift_ppm) for ppm in told_ppm)
    found_db = {}
    if second:
        found_db["second card on main"] = thd_n_db(on_main[-(1 << 18) :], SECOND_HZ * (1 + drift_ppm * 1e-6))
    if outputs["second"]:
        found_db["main card on second"] = thd_n_db(on_second[-(1 << 18) :], MAIN_HZ / (1 + drift_ppm * 1e-6))
    print(f"drift {drift_ppm:.1f} ppm, told to within {worst_ppm:.2f} ppm; THD+N", found_db)
    assert worst_ppm < 5
    assert found_db
    assert max(found_db.values()) < -100


@pytest.mark.parametrize(("main_ppm", "second_ppm"), [(0, 200), (0, -200), (150, -150)])
def test_a_card_with_its_own_clock_is_heard_and_hears_without_a_gap(main_ppm: float, second_ppm: float) -> None:
    check_drift(main_ppm, second_ppm, ("Second",), CROSSED, SECONDS)


def test_a_second_card_may_only_capture() -> None:
    check_drift(-50, 120, ("Second",), {"main": ["aux_2"], "second": []}, SECONDS)


def test_a_second_card_may_only_play() -> None:
    check_drift(-50, 120, (), CROSSED, SECONDS)


@pytest.mark.soak
@pytest.mark.parametrize("second_ppm", [200, -200])
def test_an_hour_of_drift_is_bridged_without_a_gap(second_ppm: float) -> None:
    control = sends_only(["Main", "Second"], {0: 0, 1: 1})
    with crossed(0, second_ppm) as rig, both_started(rig, control) as segment:
        for minute in range(60):
            run_with_stalls(rig, 60, seed=minute)
            status = segment.status()
            rig.played, rig.second_played = rig.played[-400:], rig.second_played[-400:]
            assert minute == 0 or abs(status.secondary_ppm - second_ppm) < 5
        assert_undisturbed(segment)
        on_main, on_second = as_float(rig.all_played()), as_float(rig.all_played_on_second())
    assert thd_n_db(on_main[-(1 << 18) :], SECOND_HZ * (1 + second_ppm * 1e-6)) < -100
    assert thd_n_db(on_second[-(1 << 18) :], MAIN_HZ / (1 + second_ppm * 1e-6)) < -100


@pytest.mark.soak
@pytest.mark.parametrize(("main_ppm", "second_ppm"), [(0, 200), (0, -200), (200, -200)])
def test_a_minute_of_drift_costs_no_xrun(main_ppm: float, second_ppm: float) -> None:
    """The promise for half a minute of real time, without the wall: here no host can stall, so none is excused."""
    with (
        crossed(main_ppm, second_ppm) as rig,
        both_started(rig, sends_only(["Main", "Second"], {0: 0, 1: 1})) as segment,
    ):
        run_with_stalls(rig, 60, seed=11)
        assert_undisturbed(segment)
        status = segment.status()
    drift_ppm = ((1 + second_ppm * 1e-6) / (1 + main_ppm * 1e-6) - 1) * 1e6
    assert abs(status.secondary_ppm - drift_ppm) < 5
    assert status.counters["periods_lost"] == 0


@pytest.mark.soak
def test_on_the_machines_own_clock_nothing_is_lost_that_the_cards_did_not_lose() -> None:
    """Half a minute of real time. A host that stalls costs xruns, which are told and not held against the bridge."""
    rig = TwoCardRig(
        main=["Main"], second=["Second"], outputs=CROSSED, clock="wall", is_simulated=False,
        second_card={"clock": "wall", "ppm": 200.0}, engine_options=["--secondary-slack-ms", "60"],
        board_changes={"period_frames": "128", "n_periods": "8", "max_round_trip_frames": "1072"},
    )  # fmt: skip
    with rig:
        fed = [0, 0]

        def tend() -> None:
            for which, (card, freq_hz) in enumerate(((rig.card, MAIN_HZ), (rig.second, SECOND_HZ))):
                n = 2400
                while n == 2400:  # less finds room: full, and emptied as we look
                    n = card.feed(tone(freq_hz, LEVEL)(fed[which], 2400))
                    fed[which] += n
            rig.take()

        tend()
        with both_started(rig, sends_only(["Main", "Second"], {0: 0, 1: 1})) as segment:
            for _ in range(600):
                time.sleep(0.05)
                tend()
            status = segment.status()
            on_main, on_second = as_float(rig.all_played()), as_float(rig.all_played_on_second())
        n_xruns = status.counters["xruns"] + status.counters["secondary_xruns"]
        found_db = thd_n_db(on_main[-(1 << 18) :], SECOND_HZ * (1 + 200e-6)), thd_n_db(
            on_second[-(1 << 18) :], MAIN_HZ / (1 + 200e-6))  # fmt: skip
    print(
        f"{n_xruns} xruns, {status.counters['secondary_gaps']} gaps, {status.secondary_ppm:.1f} ppm, THD+N {found_db}"
    )
    assert np.abs(on_main).max() == pytest.approx(LEVEL, rel=0.01)
    assert np.abs(on_second).max() == pytest.approx(LEVEL, rel=0.01)
    if n_xruns == 0:
        assert status.counters["secondary_gaps"] == 0
        assert max(found_db) < -90
        assert abs(status.secondary_ppm - 200) < 5


def test_two_clocks_play_the_same_bits_again() -> None:
    runs = []
    for _ in range(2):
        with crossed(30, -70, seed=9) as rig, both_started(rig, sends_only(["Main", "Second"], {0: 0, 1: 1})):
            run_with_stalls(rig, 4, seed=5)
            runs.append((rig.all_played(), rig.all_played_on_second()))
    for one, other in zip(*runs, strict=True):
        n = min(len(one), len(other))
        assert n > 3.9 * RATE_HZ
        assert np.array_equal(one[:n], other[:n])
        assert np.abs(one).max() > 1e8


# --------------------------------------------------------------------------------------------------------- faults


def lose_second(rig: TwoCardRig, segment: Segment) -> None:
    rig.second.unplug()
    wait_for(lambda: segment.status().secondary_state == "no_card", "the loss was not noticed")


def bring_second_back(rig: TwoCardRig) -> None:
    rig.second.replug()
    assert rig.second.wait_for_start()


def test_while_the_second_card_is_away_its_lanes_are_silent_and_it_comes_back_without_a_click() -> None:
    with crossed(0, 100) as rig, both_started(rig, sends_only(["Main", "Second"], {0: 0, 1: 1})) as segment:
        rig.run_both(2)
        for _ in range(2):
            went_at = rig.card.frame
            lose_second(rig, segment)
            assert "evenhand_second" in segment.status().secondary_trouble
            rig.run_both(1, is_second_there=False)
            came_at = rig.card.frame
            bring_second_back(rig)
            rig.run_both(2)
        status, kinds = segment.status(), [event.kind for event in segment.events()]
        on_main, on_second = as_float(rig.all_played()), as_float(rig.all_played_on_second())
    assert (status.state, status.secondary_state, status.secondary_trouble) == ("running", "running", "")
    counters = status.counters
    assert (counters["secondary_losses"], counters["secondary_returns"], counters["card_losses"]) == (2, 2, 0)
    assert [kind for kind in kinds if "second" in kind] == ["secondary_lost", "secondary_back"] * 2
    assert not on_main[went_at + 4800 : came_at].any()
    assert np.abs(on_main[went_at - 4800 : went_at]).max() == pytest.approx(LEVEL, rel=0.01)
    assert np.abs(on_main[-RATE_HZ:]).max() == pytest.approx(LEVEL, rel=0.01)
    assert np.abs(np.diff(on_main)).max() < 1.02 * steepest(SECOND_HZ)
    assert np.abs(on_second[-RATE_HZ:]).max() == pytest.approx(LEVEL, rel=0.01)


def play_main(second_comes_and_goes: bool) -> NDArray[np.int32]:
    """Return what the main card plays of its own strips; the second card's strip is heard nowhere."""
    names, audio = ["A", "B", "C"], noise_bursts(6 * RATE_HZ, 2)
    outputs = {"main": ["aux_1", "aux_2", "main_l"], "second": ["aux_1"]}
    control = sends_only(names, {0: 0, 1: 1})
    control.set_parameter("channel", 2, "fader.is_muted", 1.0)
    with TwoCardRig(main=names[:2], second=names[2:], outputs=outputs, late_s=late_by(3)) as rig:
        rig.tapes = [lambda start, n: audio[start : start + n], tone(SECOND_HZ)]
        rig.second.unplug()
        with started(rig, control) as lockstep:
            wait_for(lambda: lockstep.segment.status().secondary_state == "no_card", "a card that is not there")
            for _ in range(3):
                rig.run_both(0.5, is_second_there=False)
                if second_comes_and_goes:
                    bring_second_back(rig)
                rig.run_both(1, is_second_there=second_comes_and_goes)
                if second_comes_and_goes:
                    lose_second(rig, lockstep.segment)
            counters = lockstep.segment.status().counters
            assert counters["secondary_returns"] == (3 if second_comes_and_goes else 0)
            assert (counters["xruns"], counters["periods_lost"]) == (0, 0)
            return rig.all_played()


def test_a_second_card_that_comes_and_goes_changes_not_a_bit_of_the_main_cards_sound() -> None:
    without, with_it = play_main(False), play_main(True)
    assert len(without) > 4 * RATE_HZ
    assert np.abs(without).max() > 1e7
    n = min(len(without), len(with_it))
    assert np.array_equal(without[:n], with_it[:n])


def test_a_box_starts_without_its_second_card_and_takes_it_when_it_comes() -> None:
    with crossed(0, 0) as rig:
        rig.second.unplug()
        with started(rig, sends_only(["Main", "Second"], {0: 0, 1: 1})) as lockstep:
            segment = lockstep.segment
            wait_for(lambda: segment.status().secondary_state == "no_card", "a card that is not there")
            assert "cannot be opened" in segment.status().secondary_trouble
            rig.run_both(0.5, is_second_there=False)
            bring_second_back(rig)
            rig.run_both(1)
            status, kinds = segment.status(), [event.kind for event in segment.events()]
        assert (status.secondary_state, status.secondary_trouble) == ("running", "")
        assert (status.counters["secondary_losses"], status.counters["secondary_returns"]) == (0, 1)
        assert "secondary_back" in kinds
        assert np.abs(as_float(rig.all_played())[-4800:]).max() == pytest.approx(LEVEL, rel=0.01)


@pytest.mark.parametrize("direction", list(Direction))
def test_after_an_xrun_of_the_second_card_its_sound_is_back_and_nobody_else_noticed(direction: Direction) -> None:
    with crossed(0, 100) as rig, both_started(rig, sends_only(["Main", "Second"], {0: 0, 1: 1})) as segment:
        rig.run_both(1)
        rig.second.xrun(direction)
        rig.run_both(2)
        counters = segment.status().counters
        on_main, on_second = as_float(rig.all_played()), as_float(rig.all_played_on_second())
    assert (counters["secondary_xruns"], counters["secondary_losses"], counters["xruns"]) == (1, 0, 0)
    assert counters["secondary_gaps"] in (1, 2)  # the other way may bear it
    assert np.abs(on_main[-RATE_HZ:]).max() == pytest.approx(LEVEL, rel=0.01)
    assert np.abs(on_second[-RATE_HZ:]).max() == pytest.approx(LEVEL, rel=0.01)
    assert np.abs(np.diff(on_main)).max() < 1.02 * steepest(SECOND_HZ)


def test_at_the_end_both_cards_fade_out() -> None:
    with crossed(0, 100) as rig, both_started(rig, sends_only(["Main", "Second"], {0: 0, 1: 1})) as segment:
        rig.run_both(2)
        assert rig.stop_both(segment) == 0
        on_main, on_second = as_float(rig.all_played()), as_float(rig.all_played_on_second())
    for played, freq_hz in ((on_main, SECOND_HZ), (on_second, MAIN_HZ)):
        assert np.abs(played).max() == pytest.approx(LEVEL, rel=0.01)
        assert played[-1] == 0.0
        assert np.abs(np.diff(played)).max() < 1.02 * steepest(freq_hz)


def test_while_the_main_card_is_away_the_second_card_is_still_mixed() -> None:
    """On the machine's own clock, as the mixer then has no other; what is late here is only heard later."""
    rig = TwoCardRig(main=["Main"], second=["Second"], outputs={"main": ["main_l"], "second": ["aux_1"]},
                     second_card={"clock": "wall"}, is_simulated=False,
                     engine_options=["--secondary-slack-ms", "60"])  # fmt: skip
    with rig, both_started(rig, sends_only(["Main", "Second"], {1: 0})) as segment:
        fed = 0

        def is_heard() -> bool:
            nonlocal fed
            while rig.second.feed(tone(SECOND_HZ, LEVEL)(fed, 4800)) == 4800:
                fed += 4800
            return any(np.abs(block).max() > 0.9 * LEVEL * 2**31 for _, block in rig.second.take())

        rig.card.unplug()
        wait_for(lambda: segment.status().state == "no_card", "the loss was not noticed")
        wait_for(is_heard, "the second card fell silent with the main one")
        status = segment.status()
    assert (status.state, status.secondary_state) == ("no_card", "running")


# -------------------------------------------------------------------------------------------------------- threads

THREAD_SOURCES = [
    *(
        RT_DIR / "live" / f"{name}.c"
        for name in ("secondary_card", "card", "pcm", "secondary", "card_clock", "segment")
    ),
    *(RT_DIR / f"{name}.c" for name in ("mailbox", "triple")),
    *(SOURCE_DIR / f"{name}.c" for name in ("resampler", "drift", "convert", "types")),
]


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="evenhand-second-")


def thread_harness(*flags: str) -> Path:
    """Build the second card's thread without an engine, under the thread sanitizer."""
    program = Path(_scratch().name) / "".join(("threads", *flags))
    sources = [harnesses.HARNESS_DIR / "second_card_threads.c", *THREAD_SOURCES]
    command = ["cc", *C_FLAGS, *machine_flags(), "-O1", "-fsanitize=thread", *flags, *harnesses.INCLUDES]
    libraries = ["-lasound", "-lpthread", "-lm"]
    subprocess.run([*command, *map(str, sources), "-o", str(program), *libraries], check=True)
    return program


def run_threads(program: Path, folder: Path, n_periods: int, *, pulls_plug: bool) -> subprocess.CompletedProcess[str]:
    """Run the harness on a card that runs by itself, hears what it plays, and is pulled out now and then."""
    with VirtualCard(folder / "card", n_capture=1, n_playback=1, recorder=False) as card:
        config = write_alsa_config(folder, {"second": card.path})
        is_over = threading.Event()

        def world() -> None:
            fed, looks = 0, 0
            while not is_over.wait(0.05):
                while card.feed(tone(SECOND_HZ, LEVEL)(fed, 2400)) == 2400:
                    fed += 2400
                looks += 1
                if pulls_plug and looks % 10 == 0:
                    (card.replug if looks % 20 == 0 else card.unplug)()

        feeder = threading.Thread(target=world)
        feeder.start()
        try:
            return harnesses.run(program, "second", str(n_periods), environment={"ALSA_CONFIG_PATH": str(config)})
        finally:
            is_over.set()
            feeder.join()


def test_thread_sanitizer_finds_no_race_between_the_audio_thread_and_the_second_cards(tmp_path: Path) -> None:
    done = run_threads(thread_harness(), tmp_path, 2000, pulls_plug=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(part.split() for part in done.stdout.split(", "))
    assert min(int(said[name]) for name in ("heard", "losses", "returns")) > 0


def test_thread_sanitizer_sees_the_second_card_without_a_memory_order(tmp_path: Path) -> None:
    assert "data race" in run_threads(thread_harness("-DTORN_SECONDARY"), tmp_path, 500, pulls_plug=False).stderr
