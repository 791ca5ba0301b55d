"""``python -m firmware.bench.aarch64``: the box's arithmetic on the box's processor, beside this machine's.

Kernels and mixer to the bit, networks within steps of their outputs, A64 instructions of all; ``--record`` writes these
to ``a64_instructions.txt``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dsp_kernels.bench import counting, two_machines
from dsp_kernels.build_ffi import BuildError
from firmware.errors import EvenhandError
from firmware.inference.bundle import SHIPPED, read_bundle
from firmware.inference.keys import trusted_keys

from . import instructions, networks
from .sandbox import CPUS, sandbox
from .trials import TRIALS, is_expected, tried

MIXER_RUNS = (("8", "128", "120"), ("16", "61", "120"), ("32", "64", "240"))  # channels, frames a block, blocks


def show_digests(console: Console) -> bool:
    """Print which kernels and which results of the mixer differ; return whether none does."""
    programs = {
        "kernels": (two_machines.digest_program, two_machines.DIGEST_RUNS),
        "mixer": (instructions.mixer_digest, MIXER_RUNS),
    }
    is_same = True
    for title, (program, runs) in programs.items():
        for run in runs:
            here, there = (two_machines.digests(program(m), m, run) for m in ("x86_64", "aarch64"))
            other = two_machines.different(here, there)
            is_same = is_same and not other
            console.print(f"{title} {'x'.join(run)}: {', '.join(other) + ' differ' if other else 'the same bits'}")
    return is_same


def show_networks(
    console: Console, plugin: Path, directory: Path, bundle_path: Path
) -> tuple[list[str], dict[str, float]]:
    """Print how far apart the networks are; return what is too far, and the instructions."""
    bundle, home = read_bundle(bundle_path, trusted_keys()), sandbox()
    table = Table(title=f"{bundle.title}: x86-64 and A64, {networks.N_TICKS} ticks in a row")
    for heading in (
        "runtime",
        "precision",
        "processor",
        "output",
        "most apart",
        "int8 steps",
        f"% within {networks.MAX_STEPS:g}",
    ):
        table.add_column(heading)
    lines: list[str] = []
    counted: dict[str, float] = {}
    for runtime, precision in TRIALS:
        for cpu in CPUS:
            title = f"{cpu}/{runtime}/{precision}"
            try:
                found, spent, refused = tried(home, cpu, plugin, bundle, bundle_path, runtime, precision, directory)
            except EvenhandError as error:
                if is_expected(error, runtime, precision):
                    console.print(f"{title}: refused, as on the box ({error})")
                else:
                    lines.append(str(error))
                continue
            lines += [f"{title}: {line}" for line in refused]
            counted |= {f"net/{title}/{name}": float(n) for name, n in spent.items()}
            for d in found:
                table.add_row(runtime, precision, cpu, d.tensor, f"{d.error:.2g}", f"{d.steps:.0f}" if d.step else "",
                              f"{100 * d.share_within:.2f}" if d.step else "")  # fmt: skip
    console.print(table)
    return lines, counted


def main(argv: list[str] | None = None) -> int:
    """Compare and count; return 1 where something differs, has grown, or cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m firmware.bench.aarch64", description=__doc__)
    parser.add_argument("--record", action="store_true", help="write a64_instructions.txt instead of comparing with it")
    parser.add_argument("--bundle", type=Path, default=SHIPPED, help="the bundle to play (the shipped one)")
    options = parser.parse_args(argv)
    console = Console()
    missing = [name for name in counting.missing_tools() if name != "valgrind"]
    if missing:
        print(f"error: missing tools; apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory() as name:
            plugin = counting.build_plugin(Path(name))
            is_same = show_digests(console)
            lines, counted = show_networks(console, plugin, Path(name), options.bundle)
            counted |= instructions.count_kernels(plugin) | instructions.count_mixer(plugin)
        if options.record:
            instructions.write(counted)
        else:
            lines += instructions.grown(instructions.read(), counted)
    except (BuildError, EvenhandError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    return 0 if is_same and not lines else 1


if __name__ == "__main__":
    sys.exit(main())
