"""The audio thread's promises: no allocation, no lock, no system call; sane under sanitizers and hostile input."""

from __future__ import annotations

import importlib
import signal
import subprocess
from pathlib import Path

import pytest

from firmware.tests import harnesses

ADDRESS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREAD = ("-O1", "-fsanitize=thread")
# What the compiled engine may ask of the C library: functions that touch nothing but the memory they are given.
PURE_FUNCTIONS = {"memcpy", "memset", "memmove", "memcmp"}


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
    done = harnesses.run(harnesses.build("threads", *THREAD, "-DTORN_MAILBOX"))
    assert "data race" in done.stderr


def test_a_hostile_minute_leaves_the_engine_finite_silent_and_as_good_as_new() -> None:
    done = harnesses.run(harnesses.build("hostile_hour", compiler="gcc"), "60", "16")
    assert done.returncode == 0, done.stdout
    print(done.stdout)


@pytest.mark.soak
def test_a_hostile_hour_leaves_the_engine_finite_silent_and_as_good_as_new() -> None:
    done = harnesses.run(harnesses.build("hostile_hour", compiler="gcc"), "3600", "32")
    assert done.returncode == 0, done.stdout
    print(done.stdout)
