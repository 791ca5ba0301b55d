"""Who abuses the update agent wears it out, not the sound: all that a network can do to it while the box mixes."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from host_tools.boxes import PairedBox
from host_tools.device import pair

from .board import Box

pytestmark = [pytest.mark.soak, pytest.mark.needs("network", "shell", "clock_faults")]  # a clock of its own

QUIET_S, ABUSED_S, AFTER_S = 20, 40, 8
PATIENCE_S = 60.0
# Never idle: on a box whose clock leaps while it is, hours would pass between two requests.
BUSY = "chrt --idle 0 timeout {} sh -c 'while :; do :; done' || true"
COUNTS = ("periods_lost", "xruns", "card_losses", "engine_starts", "control_starts")
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE


@dataclass(frozen=True)
class Abuser:
    """One way to abuse the agent of a box; the token is a paired laptop's, if it has one."""

    abuse: Callable[[PairedBox], str]
    n_at_once: int = 1
    answer: str = ""  # while nobody else asks


def asked(box: PairedBox, method: str, path: str, body: str | None = None, token: str | None = None) -> str:
    with closing(http.client.HTTPSConnection(box.host, box.port, context=CONTEXT, timeout=PATIENCE_S)) as connection:
        connection.request(method, f"/v1/{path}", body, {"Authorization": f"Bearer {token or box.token}"})
        return str(connection.getresponse().status)


def hundred_gigabytes(box: PairedBox) -> str:
    return asked(box, "POST", "upload", json.dumps({"size_bytes": 100 << 30, "sha256": "0" * 64, "name": "x.raucb"}))


def path_trick(box: PairedBox) -> str:
    return asked(box, "GET", "recordings/..%2f../%2fetc%2fpasswd")


def wrong_token(box: PairedBox) -> str:
    return asked(box, "GET", "status", token="0" * 64)


def crowd(box: PairedBox) -> str:
    return asked(box, "GET", "events?after=0&wait_s=1")


def slow_loris(box: PairedBox) -> str:
    with CONTEXT.wrap_socket(socket.create_connection((box.host, box.port), timeout=PATIENCE_S)) as line:
        for _ in range(10):
            line.send(b"x")
            time.sleep(0.2)
    return "waited for"


def endless_head(box: PairedBox) -> str:
    with CONTEXT.wrap_socket(socket.create_connection((box.host, box.port), timeout=PATIENCE_S)) as line:
        line.sendall(b"x" * (1 << 18))
        return line.recv(100)[9:12].decode("ascii", "replace")


ABUSERS = (
    Abuser(hundred_gigabytes, 1, "413"), Abuser(path_trick, 1, "400"), Abuser(wrong_token, 1, "401"),
    Abuser(endless_head, 1, "431"), Abuser(slow_loris, 3), Abuser(crowd, 44),
)  # fmt: skip


def test_an_abused_agent_costs_the_sound_no_period(box: Box, record_property: Any) -> None:
    is_over, answers = threading.Event(), Counter[str]()
    code = json.loads(box.evenhand("pair", "--show", "--json"))["code"]

    def again(abuse: Callable[[PairedBox], str], target: PairedBox) -> None:
        while not is_over.is_set():
            try:
                said = abuse(target)
            except (OSError, http.client.HTTPException) as error:
                said = type(error).__name__
            answers[f"{abuse.__name__} {said}"] += 1

    def alone() -> tuple[PairedBox, list[str]]:
        target = pair(*box.network_address, code, "stolen", PATIENCE_S)
        return target, [abuser.abuse(target) for abuser in ABUSERS if abuser.answer]

    before = counters(box)
    with ThreadPoolExecutor(1) as laptop:
        first = laptop.submit(alone)
        box.run(BUSY.format(QUIET_S))
        target, said = first.result()
    assert said == [abuser.answer for abuser in ABUSERS if abuser.answer]
    quiet = counters(box)
    threads = [
        threading.Thread(target=again, args=(abuser.abuse, target), daemon=True)
        for abuser in ABUSERS for _ in range(abuser.n_at_once)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    box.run(BUSY.format(ABUSED_S))
    is_over.set()
    box.run(BUSY.format(AFTER_S))  # the last of them are let go
    after = counters(box)
    n_periods = after["periods"] - quiet["periods"]
    record_property("answers", json.dumps(answers))
    record_property("connections", answers.total())
    record_property("periods", n_periods)
    assert answers["crowd 503"], answers
    assert n_periods > quiet["periods"] - before["periods"] > 0
    assert {name: after[name] for name in COUNTS} == {name: before[name] for name in COUNTS}


def counters(box: Box) -> dict[str, int]:
    (told,) = json.loads(box.evenhand("status", "--json"))["boxes"]
    return dict(told["engine"]["counters"])
