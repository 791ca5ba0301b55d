"""Tries a bundle in children that may crash, hang or eat memory, and says which runtime and precision to take.

A child gets a verified bundle, loads the networks of one precision in one runtime, plays the golden vectors and
measures the time of a tick. Where a tick's time matters the fastest that passes is taken, elsewhere the first.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from firmware.errors import EvenhandError
from firmware.system.parent import end_with_parent

from .bundle import Bundle, bucket_of, read_bundle
from .keys import trusted_keys
from .net_spec import BUCKETS, NetSpec
from .runtime import Network, installed

TIME_LIMIT_S = 20.0  # a small board under load needs a few seconds for one child
MEMORY_LIMIT_BYTES = 600_000_000  # of data; a runtime with its networks takes a tenth
N_TIMED, TICK_BUDGET_US = 40, 10_000.0  # half a tick, or the model would be late for ever
# tflite-runtime 2.14 has no fast int8: there f16 is faster and closer. Its int8 also rounds in another way on A64 than
# on x86, which can turn a decision over; what all others say is the same on both.
LAST_RESORT = ("tflite_runtime", "int8")
ORDER = (("ai_edge_litert", "int8"), ("tflite_runtime", "f16"), ("ai_edge_litert", "f16"), LAST_RESORT)
OUTPUT_LIMIT = 1e3  # no output of a network in order is anywhere near


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A runtime and a precision, and in microseconds what a tick costs; 0 where nobody measured."""

    runtime: str
    precision: str
    tick_us: float = 0.0

    @property
    def title(self) -> str:
        """Return both in words."""
        return f"{self.precision} in {self.runtime}"


# (bundle digest, runtime and its version, precision) of candidates that passed on this machine since it is up: what
# is measured depends on load, and a crash does not become less of one by being remembered on disk.
_passed: dict[tuple[str, str, str, str], Candidate] = {}


def candidates_of(bundle: Bundle) -> list[Candidate]:
    """Return what could run this bundle here, in the order to try."""
    here = [(runtime, precision) for runtime in installed() for precision in bundle.precisions]
    return [Candidate(runtime=r, precision=p) for r, p in ORDER if (r, p) in here]


def chosen(
    bundle: Bundle, path: Path, keys: Sequence[Path], *, n_channels: int, is_timed: bool,
    try_one: Callable[..., Candidate] | None = None,
) -> Candidate:  # fmt: skip
    """Return the candidate to take: the fastest that passes where ``is_timed``, else the first.

    The last resort is tried where nothing else passes.

    Raises
    ------
    EvenhandError
        When none passes, with the first one's reason.
    """
    reasons: list[str] = []
    passed: list[Candidate] = []
    versions = installed()
    if not versions:
        raise EvenhandError("no TFLite runtime is installed; pip install tflite-runtime==2.14.0 or ai-edge-litert")
    for candidate in candidates_of(bundle):
        if passed and (candidate.runtime, candidate.precision) == LAST_RESORT:
            break
        key = (bundle.digest, candidate.runtime, versions[candidate.runtime], candidate.precision)
        try:
            if key not in _passed:
                _passed[key] = (try_one or tried)(candidate, bundle, path, keys, n_channels=n_channels)
            passed.append(_passed[key])
        except EvenhandError as error:
            reasons.append(str(error))
            continue
        if not is_timed:
            return passed[0]
    if not passed:
        raise EvenhandError(f"{bundle.title} passes its self-test nowhere: {reasons[0]}")
    return min(passed, key=lambda c: c.tick_us)


def tried(candidate: Candidate, bundle: Bundle, path: Path, keys: Sequence[Path], *, n_channels: int) -> Candidate:
    """Return the candidate with its time, as a child of its own found it.

    Raises
    ------
    EvenhandError
        When the child crashed, hung, or found something wrong.
    """
    command = [sys.executable, "-m", __name__, "--bundle", str(path), "--digest", bundle.digest,
               "--channels", str(n_channels), "--runtime", candidate.runtime, "--precision", candidate.precision,
               "--parent", str(os.getpid())]  # fmt: skip
    for key in keys:
        command += ["--key", str(key)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIME_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise EvenhandError(f"{candidate.title} did not end within {TIME_LIMIT_S:.0f} s") from None
    if done.returncode < 0:
        raise EvenhandError(f"{candidate.title} crashed (signal {-done.returncode})")
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        reason = errors[-1].removeprefix("error: ") if errors else f"ended with status {done.returncode}"
        raise EvenhandError(f"{candidate.title}: {reason}")
    return Candidate(**json.loads(lines[-1]))


def check_golden(network: Network, bundle: Bundle) -> None:
    """Play a network's golden vectors.

    Raises
    ------
    EvenhandError
        When an output is no number, out of all range, or further from what it was than the bundle allows.
    """
    spec = network.spec
    given = {t.name: bundle.golden(spec, t.name) for t in spec.inputs if t.name in spec.goldens}
    told = {t.name: bundle.golden(spec, t.name) for t in spec.outputs if t.name in spec.goldens}
    n_ticks = len(next(iter(given.values())))
    for tick in range(n_ticks):
        outputs = network.run({name: values[tick] for name, values in given.items()})
        for name, values in told.items():
            found = outputs[name]
            if not (np.isfinite(found).all() and np.abs(found).max() < OUTPUT_LIMIT and network.is_finite()):
                raise EvenhandError(f"{spec.file}: output {name} is no number, or out of all range")
            error = float(np.abs(found - values[tick]).max())
            if not error <= spec.golden_error:
                raise EvenhandError(
                    f"{spec.file}: output {name} is {error:.3g} off, {spec.golden_error:.3g} is allowed"
                )
    network.reset()


def _time_us(networks: dict[str, Network], n_channels: int) -> float:
    """Return the median time of a tick."""
    inputs = {
        name: {t.name: np.zeros(t.shape_for(n_channels), np.float32) for t in network.spec.inputs
               if t.name in network.spec.goldens}
        for name, network in networks.items()
    }  # fmt: skip
    times = []
    for _ in range(N_TIMED):
        began_ns = time.thread_time_ns()
        for name, network in networks.items():
            network.run(inputs[name])
        times.append(time.thread_time_ns() - began_ns)
    return float(np.median(times)) / 1000.0


def load(bundle: Bundle, net: str, candidate: Candidate, n_channels: int) -> tuple[Network, int]:
    """Return a network for ``n_channels``, and with how many it is run."""
    spec: NetSpec = bundle.net(net, candidate.precision, n_channels)
    size = spec.n_channels or bucket_of(n_channels)
    return Network(spec, bundle.files[spec.file], runtime=candidate.runtime, n_channels=size), size


def _run(options: argparse.Namespace) -> Candidate:
    bundle = read_bundle(options.bundle, trusted_keys(options.key))
    if bundle.digest != options.digest:
        raise EvenhandError(f"{options.bundle}: has changed meanwhile")
    candidate = Candidate(runtime=options.runtime, precision=options.precision)
    for spec in bundle.nets:
        if spec.precision == candidate.precision:
            size = spec.n_channels or BUCKETS[0]
            network = Network(spec, bundle.files[spec.file], runtime=candidate.runtime, n_channels=size)
            check_golden(network, bundle)
    loaded = {name: load(bundle, name, candidate, options.channels) for name in ("role", "song", "mix")}
    tick_us = _time_us({name: network for name, (network, _) in loaded.items()}, loaded["mix"][1])
    if tick_us > TICK_BUDGET_US:
        raise EvenhandError(f"a tick takes {tick_us / 1000:.1f} ms, {TICK_BUDGET_US / 1000:g} ms are there for it")
    return Candidate(runtime=options.runtime, precision=options.precision, tick_us=tick_us)


def main(argv: list[str] | None = None) -> int:
    """Try one candidate; print it with its time, or the reason against it."""
    parser = argparse.ArgumentParser(prog="python -m firmware.inference.trial", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle")
    parser.add_argument("--digest", required=True, help="SHA-256 that it must have")
    parser.add_argument("--key", type=Path, action="append", default=[], help="public key to trust besides")
    parser.add_argument("--channels", type=int, required=True, help="channels of the mixer")
    parser.add_argument("--runtime", required=True, help="runtime to try")
    parser.add_argument("--precision", required=True, help="precision to try")
    parser.add_argument("--parent", type=int, required=True, help="end when this process, our parent, is gone")
    options = parser.parse_args(argv)
    end_with_parent(options.parent, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))  # neither a file nor, as with 0, into a pipe
    resource.setrlimit(resource.RLIMIT_CPU, (int(TIME_LIMIT_S), int(TIME_LIMIT_S)))
    try:
        found = _run(options)
    except EvenhandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
