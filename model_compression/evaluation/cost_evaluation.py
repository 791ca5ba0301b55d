"""What a model costs, and what is heard while it moves something."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ..errors import ModelError
from ..run_layout import read_toml
from . import clicks
from .model_child import run_child
from .model_files import ModelFiles
from .results import Figure, Results, Table, goal_figure

TICK_CHANNELS = "32"
MMAC, KILOBYTES, MEDIAN_MS, P99_MS, RESIDUE_DBFS = 5.0, 200.0, 0.2, 2.0, -90.0
TIMEOUT_S = 600.0


def evaluate(path: Path, model: ModelFiles, precision: str, results: Results) -> None:
    """Add size, arithmetic, time of a tick on each runtime, and the residue of moving parameters."""
    size_kb = sum(len(model.files[net["file"]]) for net in model.manifest["net"] if net["precision"] == precision) / 1e3
    results.figures.append(
        goal_figure(f"size of all networks, {precision}", size_kb, "kB", 1, at_most=KILOBYTES, goal="G1")
    )
    converted = path / "tflite" / "net.toml"
    if converted.exists():
        tables = [table for table in read_toml(converted).values() if isinstance(table, dict)]
        mmac = sum(table["n_mac"] for table in tables) / 1e6
        results.figures.append(goal_figure("a tick of 32 channels", mmac, "MMAC", 1, at_most=MMAC, goal="G1"))
    line = [sys.executable, "-m", "model_compression.evaluation.model_timing", str(path), precision]
    timed = json.loads(run_child(line, f"{path}: {precision}", TIMEOUT_S))
    if not timed:
        raise ModelError("no TFLite runtime is installed; install ai-edge-litert")
    results.figures += _time_figures(timed)
    rows = [(runtime, int(n), median, p99) for runtime, by_n in timed.items() for n, (median, p99) in by_n.items()]
    results.tables.append(
        Table(
            title=f"A tick of the networks, {precision}", columns=("runtime", "channels", "median us", "p99 us"),
            rows=rows,
            note="Looks, song and mix with what goes in and out, on one thread of this machine as it was.",
        )
    )  # fmt: skip
    results.figures += [
        goal_figure(f"residue of a step of 6 dB, {name}", dbfs, "dBFS", 1, at_most=RESIDUE_DBFS, goal="G2")
        for name, dbfs in clicks.residues().items()
    ]


def _time_figures(timed: dict[str, dict[str, tuple[float, float]]]) -> list[Figure]:
    """Return the time of the runtime that a box would take: the faster one."""
    runtime = min(timed, key=lambda name: timed[name][TICK_CHANNELS][0])
    median_us, p99_us = timed[runtime][TICK_CHANNELS]
    return [
        goal_figure(f"tick of 32 channels, median, {runtime}", median_us / 1e3, "ms", 1, at_most=MEDIAN_MS, goal="G1"),
        goal_figure(f"tick of 32 channels, p99, {runtime}", p99_us / 1e3, "ms", 1, at_most=P99_MS, goal="G1"),
    ]
