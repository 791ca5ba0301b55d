"""``a64_instructions.txt``: what the box's processor executes for each part, and whether that has grown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dsp_kernels.bench import counting, two_machines
from firmware.build_ffi import RT_DIR
from firmware.errors import EvenhandError

RECORD = Path(__file__).parent / "a64_instructions.txt"
MAX_GROWTH = 0.02
N_LANES, N_FRAMES = 32, 64
STEREO_LANES = 4
CHAIN_CHANNELS = (8, 16, 32)
AGAIN = "python -m firmware.bench.aarch64 --record"
HEADER = f"""\
# A64 instructions, counted by qemu-user. Written by `{AGAIN}`.
# `make aarch64` fails where one has grown by more than 2 %.
# kernel/NAME: per frame and channel of 32, blocks of 64 frames; reverb, delay, loudness: per stereo frame.
# mixer/N: per frame and channel of N.
# net/CPU/RUNTIME/PRECISION/NAME: per run, the Python around it included; tick_N: all that a tick of 20 ms runs.
"""


def read(path: Path = RECORD) -> dict[str, float]:
    """Return what is recorded, by name.

    Raises
    ------
    EvenhandError
        When a line is no name and number.
    """
    recorded = {}
    for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        try:
            name, number = line.split()
            recorded[name] = float(number)
        except ValueError:
            raise EvenhandError(f"{path.name}:{n}: is no name and number; {AGAIN}") from None
    return recorded


def write(counted: Mapping[str, float], path: Path = RECORD) -> None:
    """Record what was counted; what was not counted this time stays."""
    known = (read(path) if path.exists() else {}) | dict(counted)
    lines = [f"{name} {number:.2f}" if number < 1000.0 else f"{name} {number:.0f}" for name, number in known.items()]
    path.write_text(HEADER + "\n".join(sorted(lines)) + "\n", encoding="utf-8")


def grown(recorded: Mapping[str, float], counted: Mapping[str, float]) -> list[str]:
    """Return lines about what takes more than recorded, or is not recorded."""
    lines = []
    for name, number in counted.items():
        if name not in recorded:
            lines.append(f"{name}: is not recorded; {AGAIN}")
        elif number > recorded[name] * (1.0 + MAX_GROWTH):
            growth = 100.0 * (number / recorded[name] - 1.0)
            lines.append(
                f"{name}: takes {number:.2f} A64 instructions, {recorded[name]:.2f} are recorded: +{growth:.1f} %, "
                f"{100.0 * MAX_GROWTH:g} % is allowed; make it cheaper, or if it is worth it, {AGAIN}"
            )
    return lines


def engine_object(machine: str) -> Path:
    """Return the mixer without its kernels, to link with."""
    return two_machines.built("engine.o", machine, sorted(RT_DIR.glob("*.c")), includes=[RT_DIR], is_part=True)


def mixer_digest(machine: str) -> Path:
    """Return the program that prints a number for each kind of result of the whole mixer."""
    objects = [engine_object(machine), two_machines.kernels(machine)]
    source = Path(__file__).parent / "mixer_digest.c"
    return two_machines.built("mixer_digest", machine, [source], objects=objects, includes=[RT_DIR])


def count_kernels(plugin: Path) -> dict[str, float]:
    """Return instructions per frame and channel of each kernel."""
    program = two_machines.built(
        "bench", "aarch64", counting.BENCH_SOURCES, objects=[two_machines.kernels("aarch64")],
        flags=["-DEH_BENCH_MAIN"],
    )  # fmt: skip
    counted = {}
    for name in (*counting.KERNELS, *counting.STEREO_KERNELS):
        is_stereo = name in counting.STEREO_KERNELS
        arguments = (name, str(STEREO_LANES if is_stereo else N_LANES), str(N_FRAMES))
        counted[f"kernel/{name}"] = _per_frame(plugin, program, arguments) / (1 if is_stereo else N_LANES)
    return counted


def count_mixer(plugin: Path) -> dict[str, float]:
    """Return instructions per frame and channel of the whole mixer, without and with its analysis."""
    objects = [engine_object("aarch64"), two_machines.kernels("aarch64")]
    chain = Path(__file__).parent.parent / "chain.c"
    program = two_machines.built(
        "chain", "aarch64", [chain], objects=objects, includes=[RT_DIR], flags=["-DEH_BENCH_MAIN"]
    )
    return {
        f"{title}/{n}": _per_frame(plugin, program, (mode, str(n), str(N_FRAMES))) / n
        for title, mode in (("mixer", "chain"), ("mixer_with_analysis", "analysis"))
        for n in CHAIN_CHANNELS
    }


def _per_frame(plugin: Path, program: Path, arguments: tuple[str, ...]) -> float:
    few, more = (
        counting.count_a64(plugin, program, [*arguments, str(n)]) for n in (counting.FEW_BLOCKS, counting.MORE_BLOCKS)
    )
    return (more - few) / ((counting.MORE_BLOCKS - counting.FEW_BLOCKS) * N_FRAMES)
