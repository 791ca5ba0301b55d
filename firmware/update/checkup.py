"""What an installer gets wrong, as far as the box itself can see it."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from board_configs.board import Board

from ..errors import EvenhandError
from ..system.board_fit import board_pcm, is_simulated
from ..system.health import Health, read_health
from .sounding import Ear

HOT_C = 75.0  # a Raspberry Pi begins to slow down at 80
MIN_FREE_PERCENT = 5.0
BUILT_S = 1_767_225_600  # 2026-01-01: a clock before that was never set
ANSWER_S = 5.0


def checkup(board: Board, data: Path, ear: Ear, machine: Path = Path("/")) -> list[dict[str, Any]]:
    """Return findings: ``what`` was looked at, ``is_well``, and ``text`` that says what, and what to try.

    ``machine``: where the file tree begins in which the machine tells of its supply, its heat and its clocks.
    """
    health = read_health(machine)
    return [
        _engine(ear), _realtime(ear), _card(board), _power(health), _heat(health), _governor(health), _disk(data),
        _clock(),
    ]  # fmt: skip


def _finding(what: str, is_well: bool | None, text: str) -> dict[str, Any]:
    return {"what": what, "is_well": is_well, "text": text}


def _engine(ear: Ear) -> dict[str, Any]:
    if ear.trouble:
        return _finding("engine", None, ear.trouble)
    return _finding("engine", ear.engine_state == "running", {
        "running": "runs", "no_card": "runs without a sound card; is it plugged in and powered?",
        "absent": "does not run; see `evenhand logs`",
    }.get(ear.engine_state, ear.engine_state))  # fmt: skip


def _realtime(ear: Ear) -> dict[str, Any]:
    status = ear.status()
    if status is None:
        return _finding("real time", None, "cannot be told without an engine")
    missing = [name for name, has in (("no real-time priority", status.is_realtime), ("memory is not locked",
               status.is_locked)) if not has]  # fmt: skip
    return _finding("real time", not missing, f"{' and '.join(missing)}; LimitRTPRIO and LimitMEMLOCK of the engine's "
                    "unit are not given" if missing else "audio thread in real time, memory locked")  # fmt: skip


def _card(board: Board) -> dict[str, Any]:
    if is_simulated(board):
        return _finding("sound card", True, f"{board.name} simulates its own")
    try:
        return _finding("sound card", True, f"{board.main_card.key} is {board_pcm(board)} today")
    except EvenhandError as error:
        return _finding("sound card", False, str(error))


def _power(health: Health) -> dict[str, Any]:
    if health.throttled_now is None:
        return _finding("power", None, "this machine does not say whether its supply is enough")
    now, before = health.throttled_now, health.throttled_since_boot or ()
    text = f"now: {', '.join(now) or 'nothing'}; since the start: {', '.join(before) or 'nothing'}"
    is_well = not now and "undervoltage" not in before
    return _finding("power", is_well, text if is_well else f"{text}; take a stronger supply or a shorter cable")


def _heat(health: Health) -> dict[str, Any]:
    temp_c = health.temp_c
    if temp_c is None:
        return _finding("temperature", None, "this machine does not say")
    is_well = temp_c < HOT_C
    return _finding("temperature", is_well, f"{temp_c:.0f} C" + ("" if is_well else "; give it air or a fan"))


def _governor(health: Health) -> dict[str, Any]:
    governors = health.governors
    if not governors:
        return _finding("governor", None, "this machine does not say")
    is_well = set(governors) == {"performance"}
    return _finding("governor", is_well, ", ".join(governors) + ("" if is_well else "; set performance"))


def _disk(data: Path) -> dict[str, Any]:
    try:
        usage = shutil.disk_usage(data)
    except OSError as error:
        return _finding("disk", False, f"{data}: {error.strerror}")
    percent = 100.0 * usage.free / usage.total
    is_well = percent >= MIN_FREE_PERCENT
    text = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB free"
    return _finding("disk", is_well, text if is_well else f"{text}; fetch and remove recordings")


def _clock() -> dict[str, Any]:
    if time.time() < BUILT_S:
        return _finding("clock", False, "was never set: signatures will look expired; give the box a network or NTP")
    try:
        done = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"], capture_output=True, text=True,
            timeout=ANSWER_S,
        )  # fmt: skip
        word = done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        word = ""
    if word == "yes":
        return _finding("clock", True, "set over the network")
    return _finding("clock", None, "nobody says that it is set; `evenhand doctor` compares it with the laptop's")
