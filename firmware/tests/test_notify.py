"""The service manager is told over a real datagram socket, and nobody waits for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firmware.system.notify import Notifier


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if address.startswith("@") else address)
        listening.settimeout(10.0)
        yield listening


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@evenhand-test-{os.getpid()}"


def test_states_arrive_together_in_one_message(address: str) -> None:
    with manager(address) as listening:
        Notifier(address).tell("READY=1", "STATUS=running")
        assert listening.recv(4096) == b"READY=1\nSTATUS=running"


def test_the_address_comes_from_the_environment(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with manager(address) as listening:
        Notifier().tell("WATCHDOG=1")
        assert listening.recv(4096) == b"WATCHDOG=1"


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().tell("READY=1")
    Notifier("").tell("READY=1")
    Notifier(str(tmp_path / "nobody")).tell("READY=1")
    Notifier("/" + "x" * 300).tell("READY=1")


def test_a_manager_that_does_not_read_is_not_waited_for(address: str) -> None:
    with manager(address) as listening:
        notifier = Notifier(address)
        for _ in range(5000):
            notifier.tell("STATUS=" + "x" * 1000)
        assert listening.recv(4096).startswith(b"STATUS=x")


def test_a_manager_that_was_restarted_is_told_again(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    notifier = Notifier(str(path))
    for _ in range(2):
        with manager(str(path)) as listening:
            notifier.tell("WATCHDOG=1")
            assert listening.recv(4096) == b"WATCHDOG=1"
        path.unlink()
        notifier.tell("WATCHDOG=1")


def test_a_text_of_several_lines_is_still_one_state(address: str) -> None:
    with manager(address) as listening:
        Notifier(address).tell("STATUS=no card\nREADY=1", "WATCHDOG=1")
        assert listening.recv(4096) == b"STATUS=no card READY=1\nWATCHDOG=1"
