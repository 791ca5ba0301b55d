"""What one live period costs the engine process without load, and the memory that engine and control take."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from firmware.errors import EvenhandError

from .loops import EngineLoop, Setting, end, last_words, start_process
from .rounds import watch

FRAMES = 32  # the shortest period of a board; figure T5 is about it
CONTROL_S = 5.0  # until control has seen 250 ticks
KIB = 1024


def measure_costs(n_channels: int, seconds: float) -> dict[str, Any]:
    """Play noise through full strips in periods of 32 frames, beside cyclictest; then let a control process join.

    Raises
    ------
    EvenhandError
        When one of the two does not start.
    """
    setting = Setting(n_channels=n_channels, n_frames=FRAMES, n_periods=2, has_load=False, has_tape=True)
    with EngineLoop(setting) as loop:
        tally = watch(loop, seconds)
        period = {"frames": FRAMES, "period_us": setting.period_us, **tally.as_record(setting.slack_us)}
        period["card_waits"] = loop.card.report().n_waits
        control = start_process(["firmware.control_process", "--mixer", str(loop.mixer), "--segment",
                                 str(loop.segment_path)])  # fmt: skip
        try:
            time.sleep(CONTROL_S)
            if control.poll() is not None:
                raise EvenhandError(f"the control process ended at once; it said: {last_words(control)}")
            memory = {"engine": memory_mb(loop.process.pid), "control": memory_mb(control.pid)}
        finally:
            end(control)
    return {"period": period, "memory": memory}


def memory_mb(pid: int) -> dict[str, float]:
    """Return the memory of a process in 10^6 bytes: resident, its peak, and locked."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    names = {"rss_mb": "VmRSS", "peak_mb": "VmHWM", "locked_mb": "VmLck"}
    return {name: int(lines[key].split()[0]) * KIB / 1e6 for name, key in names.items()}
