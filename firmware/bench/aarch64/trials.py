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
# Of the values of mix:y, how many are within two steps. Steps before its gates are as coarse as 0.5, and one of them
# moves all heads: settings by up to 11 steps of y, a role's logit by up to 24. Measured: 97.2 % and 91.1 %.
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
    heads = next(net.heads for net in bundle.nets if net.name == "mix")
    found = networks.differences(here, there, precision, heads["ln_sigma"].first)
    golden_error = {net.name: net.golden_error for net in bundle.nets if net.precision == precision}
    return found, networks.tick_counts(spent), networks.beyond(found, golden_error, MIX_WITHIN[runtime])
