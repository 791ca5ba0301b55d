"""One runtime and precision on both processors: what is apart, what that costs, and whether it is too much."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from firmware.errors import EvenhandError
from firmware.inference.bundle import Bundle
from firmware.inference.trial import LAST_RESORT

from . import networks
from .networks import Difference
from .sandbox import Sandbox

# Of the values of mix:y in the box's last resort, how many are within two steps; of all else every one is. Its dense
# layers round in another way on A64, and one step there becomes up to 24 of y's. Its golden vectors, which were made on
# x86, may be missed, and then it is refused, here as on the box. Crashing is another matter.
LAST_WITHIN = 0.85
TRIALS = tuple((r, p) for r in ("ai_edge_litert", "tflite_runtime") for p in ("int8", "f16"))


def is_expected(error: EvenhandError, runtime: str, precision: str) -> bool:
    """Whether this is a refusal by the golden vectors that the box lives with."""
    return (runtime, precision) == LAST_RESORT and str(error).endswith("is allowed")


def tried(
    sandbox: Sandbox, cpu: str, plugin: Path, bundle: Bundle, path: Path, runtime: str, precision: str, directory: Path
) -> tuple[list[Difference], dict[str, int], list[str]]:
    """Return the differences, the instructions of each network and of whole ticks, and lines about what is too far.

    Raises
    ------
    EvenhandError
        When a process crashed, did not end, or missed its golden vectors.
    """
    inputs = networks.make_inputs(bundle, precision)
    here = networks.play_here(path, runtime, precision, inputs, directory)
    there, spent = networks.play_on_a64(sandbox, cpu, plugin, path, runtime, precision, inputs, directory)
    found = networks.differences(here, there, precision)
    is_last = (runtime, precision) == LAST_RESORT
    allowed = {net.name: np.inf if is_last else net.golden_error for net in bundle.nets if net.precision == precision}
    return found, networks.tick_counts(spent), networks.beyond(found, allowed, LAST_WITHIN if is_last else 1.0)
