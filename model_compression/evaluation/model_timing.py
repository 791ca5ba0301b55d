"""Child process: what a tick of a model costs on this machine, network by network, on each runtime. Never beside TF.

``python -m model_compression.evaluation.model_timing MODEL PRECISION`` prints one JSON object: by runtime, by number of
channels, microseconds of the runtime's work in a tick (looks, song and mix) at the median and at p99.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from ..errors import ModelError
from ..nets.layout import N_PATCH_COLUMNS, N_PATCH_TICKS
from .model_files import ModelFiles, read
from .model_network import Network, installed_runtimes
from .model_runner import TICKS_PER_ROUND

CHANNELS = (8, 16, 32)
N_TICKS, N_WARM = 500, 100


def tick_us(model: ModelFiles, precision: str, runtime: str, n_channels: int) -> tuple[float, float]:
    """Return median and p99 of a tick."""
    role, song = (Network(model, name, precision, runtime=runtime) for name in ("role", "song"))
    mix = Network(model, "mix", precision, n_channels, runtime=runtime)
    looks = -(-n_channels // TICKS_PER_ROUND)
    rng = np.random.default_rng(0)
    patch = rng.uniform(-1, 1, (1, N_PATCH_TICKS, N_PATCH_COLUMNS))
    songs = {name: rng.uniform(-1, 1, shape) for name, shape in song.shapes.items() if not name.startswith("tap")}
    mixes = {name: rng.uniform(0, 1, shape) for name, shape in mix.shapes.items() if not name.startswith("tap")}
    spent_us = np.zeros(N_TICKS)
    for tick in range(N_TICKS):
        begin_ns = perf_counter_ns()
        for _ in range(looks):
            role.run({"patch": patch})
        song.run(songs)
        mix.run(mixes)
        spent_us[tick] = (perf_counter_ns() - begin_ns) / 1000.0
    median, p99 = np.percentile(spent_us[N_WARM:], [50.0, 99.0])
    return float(median), float(p99)


def main(arguments: list[str]) -> int:
    """Time one precision on every runtime."""
    try:
        model = read(Path(arguments[0]))
        found = {
            runtime: {str(n): tick_us(model, arguments[1], runtime, n) for n in CHANNELS}
            for runtime in installed_runtimes()
        }
    except ModelError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
