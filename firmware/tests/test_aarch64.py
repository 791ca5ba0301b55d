"""Mixer, networks and their cost on the box's processor. What needs qemu-user is run by ``make aarch64``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.bench import counting, two_machines
from firmware.bench.aarch64 import instructions, networks
from firmware.bench.aarch64.__main__ import MIXER_RUNS
from firmware.bench.aarch64.networks import Difference
from firmware.bench.aarch64.sandbox import CPUS, sandbox
from firmware.bench.aarch64.trials import TRIALS, is_expected, tried
from firmware.errors import EvenhandError
from firmware.inference.bundle import SHIPPED, read_bundle
from firmware.inference.keys import trusted_keys

ERRORS = {"role": 0.1, "song": 0.05, "mix": 0.13}

# ------------------------------------------------------------------------------------------------ what makes it fail


def test_two_percent_more_instructions_pass_and_three_do_not() -> None:
    assert instructions.grown({"kernel/gain": 100.0}, {"kernel/gain": 101.9}) == []
    (line,) = instructions.grown({"kernel/gain": 100.0, "kernel/eq": 1.0}, {"kernel/gain": 103.0, "kernel/eq": 0.5})
    assert line.startswith("kernel/gain: takes 103.00 A64 instructions, 100.00 are recorded: +3.0 %")


def test_what_is_counted_but_not_recorded_is_named() -> None:
    assert "kernel/new: is not recorded" in instructions.grown({}, {"kernel/new": 1.0})[0]


def test_the_record_reads_back_as_written_and_keeps_what_was_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "a64.txt"
    instructions.write({"kernel/gain": 3.5, "net/role": 1058754.0}, path)
    instructions.write({"kernel/gain": 3.25}, path)
    assert instructions.read(path) == {"kernel/gain": 3.25, "net/role": 1058754.0}


def test_a_damaged_record_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a64.txt"
    path.write_text("# head\nkernel/gain many\n")
    with pytest.raises(EvenhandError, match=r"a64\.txt:2"):
        instructions.read(path)


def test_the_step_of_an_int8_output_is_found_from_few_of_its_codes() -> None:
    codes = np.array([-128, -7, 0, 20, 127], np.float32)
    assert networks.step_of(codes * np.float32(0.0584606), "z") == pytest.approx(0.0584606, rel=1e-6)


def test_what_is_on_no_grid_is_no_int8_output() -> None:
    with pytest.raises(EvenhandError, match="more values than an int8 output"):
        networks.step_of(np.random.default_rng(1).normal(size=100).astype(np.float32), "z")


def test_two_steps_pass_and_three_do_not() -> None:
    one = np.zeros((4, 44), np.float32)
    for n_steps, n_lines in ((2, 0), (3, 1)):
        other = one.copy()
        other[1, 5] = n_steps * 0.05
        found = networks.difference("song_z:z", one, other, 0.05)
        assert len(networks.beyond([found], ERRORS, 0.98)) == n_lines, n_steps


def test_a_mix_whose_outputs_are_mostly_within_two_steps_passes_unless_one_is_far_off() -> None:
    near = Difference(tensor="mix_8:y", error=0.1, step=0.0078, share_within=0.985)
    far = Difference(tensor="mix_8:y", error=0.14, step=0.0078, share_within=0.999)
    many = Difference(tensor="mix_8:y", error=0.1, step=0.0078, share_within=0.97)
    assert networks.beyond([near], ERRORS, 0.98) == []
    assert [len(networks.beyond([d], ERRORS, 0.98)) for d in (far, many)] == [1, 1]


def test_f16_may_be_as_far_off_as_its_bundle_allows() -> None:
    found = [Difference(tensor="song:z", error=error, step=0.0) for error in (0.04, 0.06, float("nan"))]
    assert [len(networks.beyond([d], ERRORS, 0.98)) for d in found] == [0, 1, 1]


def test_only_a_refusal_by_golden_vectors_is_lived_with_and_only_where_the_box_does() -> None:
    missed = EvenhandError("int8 in tflite_runtime: mix_int8.tflite: output y is 0.2 off, 0.1 is allowed")
    crashed = EvenhandError("int8 in tflite_runtime: crashed (uncaught target signal 11)")
    assert is_expected(missed, "tflite_runtime", "int8")
    assert not is_expected(missed, "ai_edge_litert", "int8")
    assert not is_expected(crashed, "tflite_runtime", "int8")


def test_a_tick_with_more_than_25_channels_looks_at_two_of_them() -> None:
    spent = {"role": 100, "song": 10, "mix_8": 1, "mix_16": 2, "mix_32": 3}
    assert [networks.tick_of(spent, n) for n in (8, 16, 32)] == [111, 112, 213]


# ------------------------------------------------------------------------------------------------------ the processor


@pytest.mark.aarch64
@pytest.mark.parametrize("run", MIXER_RUNS, ids="x".join)
def test_the_whole_mixer_gives_the_same_bits_on_both_machines(run: tuple[str, ...]) -> None:
    here, there = (two_machines.digests(instructions.mixer_digest(m), m, run) for m in ("x86_64", "aarch64"))
    assert two_machines.different(here, there) == []


@pytest.mark.aarch64
@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(("runtime", "precision"), TRIALS)
def test_every_network_says_the_same_on_both_machines_at_no_more_than_its_recorded_cost(
    runtime: str, precision: str, cpu: str, tmp_path: Path
) -> None:
    bundle, plugin = read_bundle(SHIPPED, trusted_keys()), counting.build_plugin(tmp_path)
    try:
        _, spent, refused = tried(sandbox(), cpu, plugin, bundle, SHIPPED, runtime, precision, tmp_path)
    except EvenhandError as error:
        if not is_expected(error, runtime, precision):
            raise
        return
    assert refused == []
    counted = {f"net/{cpu}/{runtime}/{precision}/{name}": float(n) for name, n in spent.items()}
    assert instructions.grown(instructions.read(), counted) == []


@pytest.mark.aarch64
def test_no_kernel_and_no_mixer_takes_more_instructions_than_recorded(tmp_path: Path) -> None:
    plugin = counting.build_plugin(tmp_path)
    counted = instructions.count_kernels(plugin) | instructions.count_mixer(plugin)
    assert instructions.grown(instructions.read(), counted) == []
