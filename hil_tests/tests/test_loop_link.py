"""Sound of an emulated box: what its guest has sent arrives, however late a busy machine takes it."""

from __future__ import annotations

import re
import socket
import threading
import time

import numpy as np

from board_configs.board import load_board
from hil_tests.drivers.loop_link import LoopLink


def test_recording_that_arrives_after_the_guest_is_done_is_waited_for() -> None:
    late: list[threading.Thread] = []

    def guest(command: str, timeout_s: float) -> str:
        assert timeout_s > 1.0
        port = int(re.findall(r"/dev/tcp/[0-9.]+/(\d+)", command)[0])
        for _ in ("script", "samples"):
            samples = received(port)
        late.append(threading.Thread(target=send_late, args=(port, samples)))
        late[0].start()
        return "at RUNNING 0 1.5 RUNNING 0 1.4\n"

    link = LoopLink(load_board("qemu_arm64"), guest)
    assert link.n_inputs == 8  # as many as the card plays: what goes in comes out
    played = np.random.default_rng(3).uniform(-0.5, 0.5, (1000, link.n_inputs)).astype(np.float32)
    heard = np.concatenate([block.sound for block in link.stream([played])])
    late[0].join()
    np.testing.assert_allclose(heard[:, link.output_names.index("main_l")], played[:, 0], atol=1e-6)


def received(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as line:
        got = bytearray()
        while part := line.recv(1 << 16):
            got += part
    return bytes(got)


def send_late(port: int, samples: bytes) -> None:
    time.sleep(0.5)
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(samples)
