"""One runtime and precision on both processors: what is apart, what that costs, and whether it is too much."""

from __future__ import annotations

from pathlib import Path

from firmware.errors import EvenhandError
from firmware.inference.bundle import Bundle

from . import networks
from .networks import Difference
from .sandbox import Sandbox

# 2.14's own int8 kernels round in another way on A64: there the golden vectors of a bundle, which were made on x86, may
# be missed, and then the box's trial takes another runtime, as here. Crashing is another matter.
MAY_BE_REFUSED = (("tflite_runtime", "int8"),)
# Of the values of mix:y, how many are within two steps. Some of its heads have coarse steps before the last tanh, which
# makes one step there up to 14 of y's. Measured: 98.5 % and 89.8 %.
MIX_WITHIN = {"ai_edge_litert": 0.97, "tflite_runtime": 0.85}
TRIALS = tuple((r, p) for r in ("ai_edge_litert", "tflite_runtime") for p in ("int8", "f16"))


def is_expected(error: EvenhandError, runtime: str, precision: str) -> bool:
    """Whether this is a refusal by the golden vectors that the box lives with."""
    return (runtime, precision) in MAY_BE_REFUSED and str(error).endswith("is allowed")


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
    golden_error = {net.name: net.golden_error for net in bundle.nets if net.precision == precision}
    return found, networks.tick_counts(spent), networks.beyond(found, golden_error, MIX_WITHIN[runtime])
