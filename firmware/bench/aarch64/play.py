"""Plays the networks of a bundle on the processor it runs on: what comes out, and how long it took in instructions.

Runs inside the sandbox and, for comparison, outside; given the same file of inputs. Before and after the ticks that
are to be counted it asks the kernel for its session, which nothing else does here: ``qemu_count.c`` says what was
executed up to there.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware.errors import EvenhandError
from firmware.inference.bundle import Bundle, read_bundle
from firmware.inference.keys import trusted_keys
from firmware.inference.net_spec import BUCKETS, NetSpec
from firmware.inference.runtime import Network
from firmware.inference.trial import check_golden

N_COUNTED_TICKS = 4


def sizes_of(bundle: Bundle, precision: str) -> Iterator[tuple[str, NetSpec, int]]:
    """Yield a title, a network and how many channels to run it with, for all of one precision."""
    for spec in bundle.nets:
        if spec.precision != precision:
            continue
        if spec.name != "mix":
            yield spec.name, spec, BUCKETS[0]
            continue
        for n_channels in [spec.n_channels] if spec.n_channels else BUCKETS:
            yield f"{spec.name}_{n_channels}", spec, n_channels


def play(title: str, network: Network, given: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return every output of every tick, and the states behind the last, by ``TITLE:TENSOR``."""
    n_ticks = len(next(iter(given.values())))
    told = [network.run({name: values[tick] for name, values in given.items()}) for tick in range(n_ticks)]
    heard = {f"{title}:{name}": np.stack([outputs[name] for outputs in told]) for name in told[0]}
    return heard | {f"{title}:{name}": np.stack(line) for name, line in network.states.items()}


def count(network: Network, given: dict[str, NDArray[np.float32]]) -> None:
    """Run some ticks between two marks."""
    first = {name: values[0] for name, values in given.items()}
    os.getsid(0)
    for _ in range(N_COUNTED_TICKS):
        network.run(first)
    os.getsid(0)


def main(argv: list[str] | None = None) -> int:
    """Play all networks of one precision and write what came out."""
    parser = argparse.ArgumentParser(prog="python -m firmware.bench.aarch64.play", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle")
    parser.add_argument("--runtime", required=True, help="runtime to play in")
    parser.add_argument("--precision", required=True, help="precision to play")
    parser.add_argument("--inputs", type=Path, required=True, help="what goes in: an .npz of TITLE:TENSOR")
    parser.add_argument("--out", type=Path, required=True, help="what came out: an .npz of TITLE:TENSOR")
    options = parser.parse_args(argv)
    try:
        bundle = read_bundle(options.bundle, trusted_keys())
        with np.load(options.inputs) as stored:
            inputs = dict(stored)
        heard: dict[str, NDArray[np.float32]] = {}
        for title, spec, n_channels in sizes_of(bundle, options.precision):
            network = Network(spec, bundle.files[spec.file], runtime=options.runtime, n_channels=n_channels)
            if n_channels == (spec.n_channels or BUCKETS[0]):
                check_golden(network, bundle)
            given = {k.partition(":")[2]: v for k, v in inputs.items() if k.startswith(f"{title}:")}
            heard |= play(title, network, given)
            count(network, given)
    except EvenhandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    np.savez(options.out, **heard)  # type: ignore[arg-type]  # the stubs of 1.26 take no keywords
    return 0


if __name__ == "__main__":
    sys.exit(main())
