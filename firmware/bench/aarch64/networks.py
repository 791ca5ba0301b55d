"""The networks of a bundle on both processors: how far apart what they say is, and the A64 instructions of a tick."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.build_ffi import ROOT
from firmware.errors import EvenhandError
from firmware.inference.brain import TICKS_PER_ROUND
from firmware.inference.bundle import Bundle
from firmware.inference.net_spec import BUCKETS

from .play import N_COUNTED_TICKS, sizes_of
from .sandbox import Sandbox

N_TICKS, SEED = 24, 20
MAX_STEPS = 2.0  # of an int8 output
ROUNDING = 1e-4  # of all that an int8 output spans: a fortieth of a step, float32 needs a thousandth of that
TIME_LIMIT_S = 900.0  # emulated, on a machine that has other work
Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one output of two processors is apart: the most of all ticks, in its unit and in int8 steps."""

    tensor: str
    error: float
    step: float  # between neighbouring codes of an int8 output; 0 for f16
    share_within: float = 1.0  # of all values, those at most MAX_STEPS apart

    @property
    def steps(self) -> float:
        """Return the difference in steps."""
        return self.error / self.step if self.step else 0.0


def make_inputs(bundle: Bundle, precision: str) -> dict[str, NDArray[np.float32]]:
    """Return what all networks of a precision are given: their golden vectors, then seeded walks between -1 and 1.

    Arithmetic that two machines might round in two ways stays out of the players.
    """
    inputs = {}
    for title, spec, n_channels in sizes_of(bundle, precision):
        for n, tensor in enumerate(t for t in spec.inputs if t.name in spec.goldens):
            rng = np.random.default_rng([SEED, n, n_channels])
            shape = (N_TICKS, *tensor.shape_for(n_channels))
            values = np.clip(np.cumsum(rng.uniform(-0.3, 0.3, shape), axis=0) + rng.uniform(-1, 1, shape[1:]), -1, 1)
            if tensor.name in ("role_prob", "role_sum", "song"):
                values = np.abs(values) / np.abs(values).sum(axis=-1, keepdims=True)
            if tensor.name == "mask":
                values = np.ones(shape)
                values[:, -1] = 0.0
            if tensor.name == "inv_sqrt_n":
                values = np.full(shape, (n_channels - 1) ** -0.5)
            golden = bundle.golden(spec, tensor.name)
            if golden.shape[1:] == shape[1:]:
                values[: len(golden)] = golden
            inputs[f"{title}:{tensor.name}"] = values.astype(np.float32)
    return inputs


def play(
    bundle: Path, runtime: str, precision: str, inputs: Tensors, directory: Path, python: list[str],
    environment: Mapping[str, str],
) -> tuple[dict[str, NDArray[np.float32]], str]:  # fmt: skip
    """Return what the networks say in a process of their own, and what it said on standard error.

    Raises
    ------
    EvenhandError
        When it crashed, did not end, or its golden vectors were missed.
    """
    given, told = directory / "inputs.npz", directory / "outputs.npz"
    np.savez(given, **inputs)  # type: ignore[arg-type]  # the stubs of 1.26 take no keywords
    told.unlink(missing_ok=True)
    command = [*python, "-m", "firmware.bench.aarch64.play", "--bundle", str(bundle), "--runtime", runtime]
    command += ["--precision", precision, "--inputs", str(given), "--out", str(told)]
    title = f"{precision} in {runtime}, {python[0]}"
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, timeout=TIME_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise EvenhandError(f"{title}: did not end within {TIME_LIMIT_S:.0f} s") from None
    if done.returncode < 0 or "uncaught target signal" in done.stderr:
        raise EvenhandError(f"{title}: crashed ({done.stderr.strip()[-200:]})")
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise EvenhandError(f"{title}: {errors[-1].removeprefix('error: ') if errors else done.stderr.strip()[-300:]}")
    with np.load(told) as stored:
        return dict(stored), done.stderr


def play_here(
    bundle: Path, runtime: str, precision: str, inputs: Tensors, directory: Path
) -> dict[str, NDArray[np.float32]]:
    """Return what the networks say on this machine."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return play(bundle, runtime, precision, inputs, directory, [sys.executable], environment)[0]


def play_on_a64(
    sandbox: Sandbox, cpu: str, plugin: Path, bundle: Path, runtime: str, precision: str, inputs: Tensors,
    directory: Path,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, int]]:  # fmt: skip
    """Return what the networks say on ``cpu``, and the instructions of a tick of each, by title."""
    python = sandbox.command(cpu, "-plugin", str(plugin), "-d", "plugin")
    heard, said = play(bundle, runtime, precision, inputs, directory, python, sandbox.environment)
    marks = [int(n) for n in re.findall(r"^mark (\d+)$", said, re.MULTILINE)]
    titles = list(dict.fromkeys(key.partition(":")[0] for key in inputs))
    if len(marks) != 2 * len(titles):
        raise EvenhandError(f"{precision} in {runtime}: {len(marks)} marks for {len(titles)} networks")
    spent = [(end - begin) // N_COUNTED_TICKS for begin, end in zip(marks[::2], marks[1::2], strict=True)]
    return heard, dict(zip(titles, spent, strict=True))


def tick_of(spent: Mapping[str, int], n_channels: int) -> int:
    """Return the instructions of all networks that one tick with ``n_channels`` channels runs."""
    looks = -(-n_channels // TICKS_PER_ROUND)
    return looks * spent["role"] + spent["song"] + spent[f"mix_{n_channels}"]


def tick_counts(spent: Mapping[str, int]) -> dict[str, int]:
    """Return the instructions of each network, then of whole ticks by number of channels."""
    return dict(spent) | {f"tick_{n}": tick_of(spent, n) for n in BUCKETS}


def differences(one: Tensors, other: Tensors, precision: str) -> list[Difference]:
    """Return how far apart two processors are, a line a tensor.

    Raises
    ------
    EvenhandError
        When they did not play the same tensors.
    """
    if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in other.items()}:
        raise EvenhandError(f"the processors played other tensors: {sorted(one.keys() ^ other.keys())}")
    return [
        difference(name, one[name], other[name], step_of(one[name], name) if precision == "int8" else 0.0)
        for name in one
    ]


def difference(tensor: str, one: NDArray[np.float32], other: NDArray[np.float32], step: float) -> Difference:
    """Return how far apart two arrays of one shape are."""
    apart = np.abs(one.astype(np.float64) - other)
    share = float((apart <= (MAX_STEPS + 0.5) * step).mean()) if step else 1.0
    return Difference(tensor=tensor, error=float(apart.max()), step=step, share_within=share)


def step_of(values: NDArray[np.float32], tensor: str) -> float:
    """Return the step of an int8 output: the largest that all it says is a multiple of, up to rounding.

    Raises
    ------
    EvenhandError
        When there is none such that 256 codes would do.
    """
    codes = np.unique(values.astype(np.float64))
    if len(codes) < 2:
        return 0.0
    span = codes[-1] - codes[0]
    step = float(span)
    for distance in np.diff(codes):
        rest = float(distance)
        while rest > ROUNDING * span:  # Euclid
            step, rest = rest, step % rest
            rest = min(rest, step - rest)
    if span / step > 255.5:
        raise EvenhandError(f"{tensor}: takes more values than an int8 output has")
    return float(span / np.round(span / step))


def beyond(found: list[Difference], golden_error: Mapping[str, float], mix_share: float) -> list[str]:
    """Return lines about what is further apart than is allowed.

    Parameters
    ----------
    golden_error
        How far a network may miss its golden vectors, by name: f16 may be as far apart, and mix:y.
    mix_share
        Of the values of mix:y, how many have to be within ``MAX_STEPS``.
    """
    lines = []
    for d in found:
        net = d.tensor.partition(":")[0].partition("_")[0]
        is_mix = d.tensor.endswith(":y")
        share = mix_share if is_mix else 1.0
        if d.share_within < share:
            lines.append(f"{d.tensor}: {d.steps:.1f} steps apart, and {100 * (1 - d.share_within):.2f} % of its values "
                         f"more than {MAX_STEPS:g}; {100 * (1 - share):g} % may be")  # fmt: skip
        elif (is_mix or not d.step) and not d.error <= golden_error[net]:
            lines.append(f"{d.tensor}: {d.error:.3g} apart, {golden_error[net]:g} is allowed")
    return lines
