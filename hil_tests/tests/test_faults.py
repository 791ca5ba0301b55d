"""What breaks a simulated box does so, ends when it is told to, and leaves nothing behind on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hil_tests.board import FAULTS
from hil_tests.drivers.data_disk import BLOCK_BYTES, THROTTLE, DataDisk
from hil_tests.drivers.hogs import CpuHogs, MemoryFence
from hil_tests.drivers.wire import RESEND_S, Wire
from hil_tests.rig import FIXTURES

PATIENCE_S = 60.0
MOMENT_S = 0.2  # in which what is held back must not come
HOLD = """
import sys, time
from pathlib import Path
from hil_tests.drivers.data_disk import DataDisk
disk = DataDisk(Path(sys.argv[1]), Path(sys.argv[2]))
disk.mount()
disk.stick()
print("done", flush=True)
time.sleep(600)
"""


def wait_for(is_true: object, what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not is_true():  # type: ignore[operator]
        assert time.monotonic() < until_s, what
        time.sleep(0.01)


def test_each_fault_names_a_fixture_that_a_rig_can_have() -> None:
    assert {kind.needs for kind in FAULTS.values()} <= set(FIXTURES)


# ------------------------------------------------------------------------------------------------------------- network


@pytest.fixture
def echo() -> Iterator[int]:
    """Yield the port of one who says everything again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    link = server.accept()[0]
                except OSError:
                    return
                threading.Thread(target=say_again, args=(link,), daemon=True).start()

        def say_again(link: socket.socket) -> None:
            with link:
                while part := link.recv(4096):
                    link.sendall(part)

        threading.Thread(target=serve, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def link(echo: int) -> Iterator[tuple[Wire, socket.socket]]:
    with Wire(lambda: echo) as wire, socket.create_connection(wire.address) as laptop:
        laptop.settimeout(PATIENCE_S)
        yield wire, laptop


def test_wire_carries_every_byte_both_ways(link: tuple[Wire, socket.socket]) -> None:
    _, laptop = link
    text = bytes(range(256)) * 4096
    threading.Thread(target=laptop.sendall, args=(text,), daemon=True).start()
    got = bytearray()
    while len(got) < len(text):
        got += laptop.recv(65536)
    assert bytes(got) == text


def test_pulled_out_wire_holds_back_and_loses_nothing(link: tuple[Wire, socket.socket]) -> None:
    wire, laptop = link
    wire.plug(is_in=False)
    laptop.sendall(b"later")
    laptop.settimeout(MOMENT_S)
    with pytest.raises(TimeoutError):
        laptop.recv(16)
    wire.plug(is_in=True)
    laptop.settimeout(PATIENCE_S)
    assert laptop.recv(16) == b"later"


def test_slow_wire_takes_as_long_as_it_was_told_each_way(link: tuple[Wire, socket.socket]) -> None:
    wire, laptop = link
    wire.delay(MOMENT_S)
    began_s = time.monotonic()
    laptop.sendall(b"slow")
    assert laptop.recv(16) == b"slow"
    assert time.monotonic() - began_s >= 2 * MOMENT_S


def test_bad_wire_sends_again_what_it_has_lost_later_each_time_and_in_order(link: tuple[Wire, socket.socket]) -> None:
    wire, laptop = link
    wire.lose(0.5)
    began_s = time.monotonic()
    for number in range(12):
        laptop.sendall(bytes([number]))
        assert laptop.recv(16) == bytes([number])
    wire.lose(0.0)
    assert time.monotonic() - began_s >= 5 * RESEND_S, "12 packets there and back, and hardly one was lost"
    assert wire._resent_s(1 << 20) == 0.0


def test_cut_wire_ends_connections_and_takes_new_ones(link: tuple[Wire, socket.socket]) -> None:
    wire, laptop = link
    laptop.sendall(b"one")
    assert laptop.recv(16) == b"one"
    wire.cut()
    with suppress(ConnectionResetError):
        assert laptop.recv(16) == b""
    with socket.create_connection(wire.address) as again:
        again.settimeout(PATIENCE_S)
        again.sendall(b"two")
        assert again.recv(16) == b"two"


# ---------------------------------------------------------------------------------------------------------------- disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[DataDisk, Path]]:
    place = tmp_path / "data"
    place.mkdir()
    disk = DataDisk(tmp_path / "disk", place)
    disk.mount()
    try:
        if disk.lacking:
            pytest.skip(disk.lacking)
        yield disk, place
    finally:
        disk.unmount()
        assert not os.path.ismount(place)
        assert not (tmp_path / "disk").exists()


def test_full_disk_takes_nothing_and_an_emptied_one_does(disk: tuple[DataDisk, Path]) -> None:
    its, place = disk
    its.fill(0.0)
    with pytest.raises(OSError, match="No space left"):
        (place / "more").write_bytes(bytes(1 << 20))
    (place / "more").unlink()
    its.empty()
    (place / "more").write_bytes(bytes(1 << 20))


def test_stuck_disk_lets_writers_wait_and_then_go_on(disk: tuple[DataDisk, Path]) -> None:
    its, place = disk
    (place / "there").write_bytes(b"before")
    its.stick()
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(place / 'new')!r}, 'w').write('x')"])
    try:
        assert (place / "there").read_bytes() == b"before"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(5 * MOMENT_S)
        its.free()
        assert writer.wait(PATIENCE_S) == 0
    finally:
        its.free()
        writer.kill()
        writer.wait()


def test_slow_disk_takes_so_much_a_second_and_then_as_much_as_ever(disk: tuple[DataDisk, Path]) -> None:
    its, place = disk
    if its.lacking_slow:
        pytest.skip(its.lacking_slow)

    def write_s() -> float:
        began_s = time.monotonic()
        with (place / "file").open("wb", buffering=0) as file:
            file.write(bytes(range(256)) * 256)
            os.fsync(file.fileno())
        return time.monotonic() - began_s

    its.slow(64.0)
    assert f"{its._device()} {64 * 1024}" in THROTTLE.read_text().splitlines()
    assert write_s() > 0.5, "64 KiB at 64 KiB/s"
    its.hurry()
    assert its._device() not in THROTTLE.read_text()
    assert write_s() < 0.5 * PATIENCE_S


def test_flipped_bit_is_the_lowest_of_the_byte_that_was_asked_for(disk: tuple[DataDisk, Path]) -> None:
    its, place = disk
    for part, flipped in ((0.0, b"14567"), (0.5, b"04467"), (0.999, b"04566")):
        (place / "file").write_bytes(b"04567")
        its.flip(place / "file", part)
        assert (place / "file").read_bytes() == flipped
    its.flip(place / "absent", 0.5)
    assert not (place / "absent").exists()


def test_bad_block_is_one_block_where_it_was_asked_for(disk: tuple[DataDisk, Path]) -> None:
    its, place = disk
    text = b"a" * (3 * BLOCK_BYTES + 100)
    for part, at, n_bytes in ((0.0, 0, BLOCK_BYTES), (0.5, 2 * BLOCK_BYTES, BLOCK_BYTES), (1.0, 3 * BLOCK_BYTES, 100)):
        (place / "file").write_bytes(text)
        its.spoil(place / "file", part)
        assert (place / "file").read_bytes() == text[:at] + b"\xff" * n_bytes + text[at + n_bytes :]
    its.spoil(place / "absent", 0.5)
    assert not (place / "absent").exists()


def test_disk_of_a_bench_that_was_killed_is_taken_away_stuck_or_not(
    disk: tuple[DataDisk, Path], tmp_path: Path
) -> None:
    place = tmp_path / "other"
    place.mkdir()
    words = [sys.executable, "-c", HOLD, str(tmp_path / "image"), str(place)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as bench:
        assert bench.stdout.readline() == b"done\n"
        assert os.path.ismount(place)
        bench.send_signal(signal.SIGKILL)
    wait_for(lambda: not os.path.ismount(place) and not (tmp_path / "image").exists(), "the disk is still there")


# ---------------------------------------------------------------------------------------------------------------- load


def test_hogs_are_as_many_as_asked_for_and_go() -> None:
    hogs = CpuHogs()
    hogs.begin(2)
    try:
        pids = [hog.pid for hog in hogs._hogs]
        assert len(pids) == 2
    finally:
        hogs.end()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_memory_is_short_for_those_inside_until_the_end(tmp_path: Path) -> None:
    """One who asks for more than is left is not given it; the machine beneath is not short of anything."""
    fence = MemoryFence()
    if fence.lacking:
        pytest.skip(fence.lacking)
    code = "import sys; print('in', flush=True); sys.stdin.readline(); x = b'x' * (48 << 20); print(len(x), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as inside:
        inside.stdout.readline()
        try:
            fence.begin([inside.pid], 16.0)
            group = fence._group
            assert str(inside.pid) in (group / "cgroup.procs").read_text().split()
            inside.stdin.write(b"\n")
            inside.stdin.flush()
            inside.stdout.readline()  # the kernel has ended the hog for it, or it
            failures = int((group / "memory.failcnt").read_text())
            assert failures > 0, "48 MiB fitted into 16"
        finally:
            fence.end()
            inside.kill()
    assert not group.exists()
