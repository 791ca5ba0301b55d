"""The audio thread's promises: no allocation, no lock, no system call; sane under sanitizers and hostile input."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from firmware.tests import harnesses

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return harnesses.build("realtime_proof", tmp_path_factory.mktemp("proof"))


def test_process_allocates_nothing_locks_nothing_and_never_enters_the_kernel(proof: Path) -> None:
    done = harnesses.run(proof)
    assert (done.returncode, done.stdout) == (0, "clean\n")


@pytest.mark.parametrize(("how", "status"), [("malloc", 1), ("lock", 1), ("syscall", -signal.SIGKILL)])
def test_the_proof_sees_a_thread_that_misbehaves(proof: Path, how: str, status: int) -> None:
    assert harnesses.run(proof, how).returncode == status


def test_address_and_undefined_behaviour_sanitizers_find_nothing(tmp_path: Path) -> None:
    program = harnesses.build("hostile_hour", tmp_path, *SANITIZERS)
    done = harnesses.run(program, "5", "12")
    assert done.returncode == 0, done.stdout + done.stderr


def test_thread_sanitizer_finds_no_race_between_control_audio_and_analysis(tmp_path: Path) -> None:
    done = harnesses.run(harnesses.build("threads", tmp_path, "-fsanitize=thread"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_thread_sanitizer_sees_a_mailbox_without_its_memory_order(tmp_path: Path) -> None:
    done = harnesses.run(harnesses.build("threads", tmp_path, "-fsanitize=thread", "-DTORN_MAILBOX"))
    assert "data race" in done.stderr


def test_a_hostile_minute_leaves_the_engine_finite_silent_and_as_good_as_new(tmp_path: Path) -> None:
    done = harnesses.run(harnesses.build("hostile_hour", tmp_path), "60", "16")
    assert done.returncode == 0, done.stdout
    print(done.stdout)


@pytest.mark.soak
def test_a_hostile_hour_leaves_the_engine_finite_silent_and_as_good_as_new(tmp_path: Path) -> None:
    done = harnesses.run(harnesses.build("hostile_hour", tmp_path), "3600", "32")
    assert done.returncode == 0, done.stdout
    print(done.stdout)
