"""The whole benchmark as one record: both loops for each period size, then what a period and a process cost."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

from . import load
from .costs import measure_costs
from .loops import EngineLoop, PythonLoop, Setting
from .rounds import play_rounds

SECONDS, ROUNDS, CHANNELS, FRAMES = 10.0, 2, 32, (64,)
N_PERIODS = 2
N_MODEL_PASSES = 50


def measure(
    *, seconds: float = SECONDS, n_rounds: int = ROUNDS, frames: Sequence[int] = FRAMES, n_channels: int = CHANNELS,
    has_load: bool = True, has_costs: bool = True, tell: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Return the figures; ``seconds`` is what each loop gets in all its rounds together.

    Raises
    ------
    EvenhandError
        When a loop cannot be started.
    """
    loops: list[type[EngineLoop] | type[PythonLoop]] = [EngineLoop]
    notes: list[str] = []
    if importlib.util.find_spec("alsaaudio"):
        loops.append(PythonLoop)
    else:
        notes.append("no Python loop to compare with: `pip install pyalsaaudio` brings what drives it")
    rows = []
    for n_frames in frames:
        setting = Setting(n_channels=n_channels, n_frames=n_frames, n_periods=N_PERIODS, has_load=has_load)
        tallies = play_rounds(setting, loops, n_rounds=n_rounds, seconds=seconds / n_rounds, tell=tell)
        deadline_us = setting.slack_us - (tallies[EngineLoop.name].cpu_us or 0.0)
        for name, tally in tallies.items():
            rows.append({"loop": name, "frames": n_frames, **tally.as_record(deadline_us)})
            if tally.why_no_wakes and tally.why_no_wakes not in notes:
                notes.append(tally.why_no_wakes)
    if not all(row["is_realtime"] for row in rows):
        notes.append("no right to SCHED_FIFO (RLIMIT_RTPRIO): ordinary threads lose periods whatever drives them")
    costs = None
    if has_costs:
        tell("costs of a period, memory of the processes")
        costs = measure_costs(n_channels, seconds)
    return {
        "seconds": seconds, "rounds": n_rounds, "channels": n_channels, "periods_ahead": N_PERIODS,
        "load": load.TEXT if has_load else "none", "models_ms": models_ms(), "cores": os.cpu_count(),
        "loops": rows, "costs": costs, "notes": notes,
    }  # fmt: skip


def models_ms() -> float:
    """Return what one pass of the models' stand-in takes at best."""
    return min(itertools.islice(load.model_passes(), N_MODEL_PASSES))
