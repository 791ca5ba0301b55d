"""The audio thread's promises: no allocation, no lock, no system call; sane under sanitizers and hostile input."""

from __future__ import annotations

import importlib
import signal
import subprocess
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from firmware.build_ffi import LIVE_DIR, RT_DIR, live_sources
from firmware.segment import Segment
from firmware.system.virtual_card import Direction, VirtualCard
from firmware.tests import card_programs, harnesses
from firmware.tests.calls import reached_from
from firmware.tests.card_bench import NAME, alsa_names, noise
from firmware.tests.live_rig import wait_for
from firmware.tests.test_live import has_mixed

ADDRESS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREAD = ("-O1", "-fsanitize=thread")
FIRST_RACE = {"TSAN_OPTIONS": "halt_on_error=1"}  # one is proof enough; to tell them all takes half a minute
# What the compiled engine may ask of the C library: functions that touch nothing but the memory they are given.
PURE_FUNCTIONS = {"memcpy", "memset", "memmove", "memcmp"}
# What the audio thread may ask for beside them and the engine: the card, the clock, and a nudge to another thread.
AUDIO_THREAD_FUNCTIONS = PURE_FUNCTIONS | {
    "snd_pcm_avail_update", "snd_pcm_drop", "snd_pcm_prepare", "snd_pcm_readi", "snd_pcm_resume", "snd_pcm_start",
    "snd_pcm_wait", "snd_pcm_writei", "clock_gettime", "clock_nanosleep", "nanosleep", "sem_post",
}  # fmt: skip
SEGMENT_THREADS: dict[str, Any] = {
    "sources": (LIVE_DIR / "segment.c", LIVE_DIR / "segment_file.c"),
    "own_flags": ("-Wno-tsan",),
}  # fences: see the harness


@pytest.fixture(scope="module")
def proof() -> Path:
    return harnesses.build("realtime_proof", compiler="gcc")


def test_process_allocates_nothing_locks_nothing_and_never_enters_the_kernel(proof: Path) -> None:
    done = harnesses.run(proof)
    assert (done.returncode, done.stdout) == (0, "clean\n")


@pytest.mark.parametrize(("how", "status"), [("malloc", 1), ("lock", 1), ("syscall", -signal.SIGKILL)])
def test_the_proof_sees_a_thread_that_misbehaves(proof: Path, how: str, status: int) -> None:
    assert harnesses.run(proof, how).returncode == status


def test_the_engine_calls_nothing_that_is_not_pure() -> None:
    undefined = subprocess.run(
        ["nm", "--dynamic", "--undefined-only", importlib.import_module("firmware._engine").__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {line.split()[-1].split("@")[0] for line in undefined.splitlines()}
    # What cffi's glue and the linker bring along is Python's or begins with an underscore.
    ours = {n for n in names if not n.startswith(("Py", "_"))}
    assert ours <= PURE_FUNCTIONS


def test_the_live_audio_thread_reaches_nothing_that_allocates_locks_or_logs() -> None:
    reached = reached_from("eh_audio_main", live_sources())
    assert reached <= AUDIO_THREAD_FUNCTIONS, "the audio thread may call something new"
    assert {"snd_pcm_readi", "sem_post", "clock_nanosleep"} <= reached, "the search sees nothing"


@pytest.mark.parametrize(
    ("thread", "function"),
    [("eh_keeper_main", "snd_pcm_open"), ("eh_live_start", "aligned_alloc"), ("eh_segment_open", "mmap")],
)
def test_the_search_for_calls_sees_what_other_threads_do(thread: str, function: str) -> None:
    assert function in reached_from(thread, live_sources())


def test_gcc_and_clang_build_the_same_mixer_to_the_bit() -> None:
    said = [harnesses.run(harnesses.build("checksum", compiler=c)).stdout for c in ("gcc", "clang")]
    assert said[0] == said[1] != ""


def test_address_and_undefined_behaviour_sanitizers_find_nothing() -> None:
    program = harnesses.build("hostile_hour", *ADDRESS)
    done = harnesses.run(program, "5", "12")
    assert done.returncode == 0, done.stdout + done.stderr


def test_thread_sanitizer_finds_no_race_between_control_audio_and_analysis() -> None:
    done = harnesses.run(harnesses.build("threads", *THREAD))
    assert done.returncode == 0, done.stdout + done.stderr


def test_thread_sanitizer_sees_a_mailbox_without_its_memory_order() -> None:
    torn = harnesses.build("threads", *THREAD, sources=[RT_DIR / "triple.c"], own_flags=["-DTORN_MAILBOX"])
    assert "data race" in harnesses.run(torn, environment=FIRST_RACE).stderr


def test_thread_sanitizer_finds_no_race_at_the_segment(tmp_path: Path) -> None:
    program = harnesses.build("segment_threads", *THREAD, **SEGMENT_THREADS)
    done = harnesses.run(program, str(tmp_path / "segment"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_thread_sanitizer_sees_a_segment_whose_rings_lack_their_memory_order(tmp_path: Path) -> None:
    torn = {**SEGMENT_THREADS, "own_flags": ("-Wno-tsan", "-DTORN_SEGMENT")}
    program = harnesses.build("segment_threads", *THREAD, **torn)
    assert "data race" in harnesses.run(program, str(tmp_path / "segment"), environment=FIRST_RACE).stderr


def _play_with_faults(card: VirtualCard, process: subprocess.Popen[str], view: Segment) -> list[int]:
    """Play on through xruns and two unplugs, then end the program and return its counters."""
    tape = noise(960, card.n_capture) // 8
    for number in range(80):
        assert card.feed(tape) == len(tape)
        assert card.run(960, step_frames=64) == 960
        deque(card.take(everything=True), maxlen=0)
        process.stdin.write("x")
        process.stdin.flush()
        if number % 6 == 0:
            card.xrun(Direction.CAPTURE if number % 12 else Direction.PLAYBACK)
        if number in (30, 60):
            n_frames = view.status().counters["frames"]
            card.unplug()
            wait_for(lambda: view.status().state == "no_card", "the loss was not noticed")
            wait_for(partial(has_mixed, view, n_frames + 2400), "the mixer stands still")
            card.replug()
            wait_for(lambda: view.status().state == "running", "the card was not taken back")
            assert card.wait_for_start()
    card.end_tape()
    process.stdin.close()
    while process.poll() is None:
        card.advance(64)
        deque(card.take(everything=True), maxlen=0)
        time.sleep(0.001)
    return list(map(int, process.stdout.read().split()))


@pytest.mark.parametrize("flags", [ADDRESS, THREAD], ids=["address", "thread"])
def test_sanitizers_find_nothing_in_the_live_threads_on_a_card_with_faults(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    program = harnesses.build("live_box", *flags, sources=live_sources(), own_flags=("-Wno-tsan",))
    plugin = card_programs.plugin(is_sanitized=flags is ADDRESS)
    n_lanes, n_outputs = 4, 12
    with (
        VirtualCard(tmp_path / "card", n_capture=n_lanes, n_playback=n_outputs, clock="manual") as card,
        alsa_names(tmp_path, {NAME: card.path}, plugin=plugin),
    ):
        process = card_programs.start(program, NAME, tmp_path / "segment", n_lanes, n_outputs, 64)
        try:
            assert process.stdout.readline() == "started\n", process.stderr.read()
            assert card.wait_for_start()
            with Segment(tmp_path / "segment", is_control=False) as view:
                periods, xruns, losses, returns = _play_with_faults(card, process, view)
        finally:
            process.kill()
            process.wait()
            words = process.stderr.read()
    assert (process.returncode, words) == (0, "")
    assert (periods > 1000, xruns >= 10, losses, returns) == (True, True, 2, 2)


def test_a_hostile_minute_leaves_the_engine_finite_silent_and_as_good_as_new() -> None:
    done = harnesses.run(harnesses.build("hostile_hour", compiler="gcc"), "60", "16")
    assert done.returncode == 0, done.stdout
    print(done.stdout)


@pytest.mark.soak
def test_a_hostile_hour_leaves_the_engine_finite_silent_and_as_good_as_new() -> None:
    done = harnesses.run(harnesses.build("hostile_hour", compiler="gcc"), "3600", "32")
    assert done.returncode == 0, done.stdout
    print(done.stdout)
