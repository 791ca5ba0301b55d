"""What one live period costs the engine process without load, and the memory that engine and control take."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from firmware.errors import EvenhandError

from .loops import EngineLoop, Setting, end, last_words, start_process
from .rounds import watch
from .web import clients

FRAMES = 32  # the shortest period of a board; figure T5 is about it
START_S = 20.0
CONTROL_S = 5.0  # until control has seen 250 ticks
KIB = 1024


def measure_costs(n_channels: int, seconds: float) -> dict[str, Any]:
    """Play noise through full strips in periods of 32 frames, beside cyclictest; then let the control side join.

    Raises
    ------
    EvenhandError
        When one of them does not start.
    """
    setting = Setting(n_channels=n_channels, n_frames=FRAMES, n_periods=2, has_load=False, has_tape=True)
    with EngineLoop(setting) as loop:
        tally = watch(loop, seconds)
        period = {"frames": FRAMES, "period_us": setting.period_us, **tally.as_record(setting.slack_us)}
        period["card_waits"] = loop.card.report().n_waits
        memory = {"engine": memory_mb(loop.process.pid), **_control_side_mb(loop)}
    return {"period": period, "memory": memory}


def _control_side_mb(loop: EngineLoop) -> dict[str, dict[str, float]]:
    """Return the memory of control, and of stand-ins for the web server and the models beside it."""
    socket = loop.segment_path.with_name("web.socket")
    started = {
        "control": ["firmware.control_process", "--mixer", str(loop.mixer), "--segment", str(loop.segment_path)],
        "web": ["firmware.bench.service.web", str(loop.segment_path), str(socket)],
        "models": ["firmware.bench.service.load", "models"],
    }
    with ExitStack() as stack:
        processes = {name: start_process(arguments) for name, arguments in started.items()}
        for process in processes.values():
            stack.callback(end, process)
        until_s = time.monotonic() + START_S
        while not socket.exists() and processes["web"].poll() is None and time.monotonic() < until_s:
            time.sleep(0.05)
        with clients(socket) as n_answers:
            time.sleep(CONTROL_S)
        for name, process in processes.items():
            if process.poll() is not None:
                raise EvenhandError(f"the {name} process ended at once; it said: {last_words(process)}")
        if not all(n_answers):
            raise EvenhandError(f"the web stand-in answered its clients {n_answers} times in {CONTROL_S:g} s")
        return {name: memory_mb(process.pid) for name, process in processes.items()}


def memory_mb(pid: int) -> dict[str, float]:
    """Return the memory of a process in 10^6 bytes: resident, its peak, locked, and its share of what it shares."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    names = {"rss_mb": "VmRSS", "peak_mb": "VmHWM", "locked_mb": "VmLck"}
    shares = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    share = {"share_mb": int(shares["Pss"].split()[0]) * KIB / 1e6}
    return {name: int(lines[key].split()[0]) * KIB / 1e6 for name, key in names.items()} | share
