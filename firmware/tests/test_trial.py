"""The self-test of a model: in children, with golden vectors, and the fastest that passes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware.errors import EvenhandError
from firmware.inference import trial
from firmware.inference.bundle import Bundle
from firmware.inference.runtime import Network, installed
from firmware.inference.trial import Candidate, candidates_of, check_golden, chosen, load, tried
from firmware.tests.tiny_bundle import PUBLIC, tiny_bundle, write_tiny

N_CHANNELS = 12


@pytest.fixture
def bundle() -> Bundle:
    return tiny_bundle()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_passed", {})


def test_every_runtime_and_precision_that_is_here_passes(bundle: Bundle, tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    for candidate in candidates_of(bundle):
        found = tried(candidate, bundle, path, [PUBLIC], n_channels=N_CHANNELS)
        assert 0.0 < found.tick_us < trial.TICK_BUDGET_US, found.title


def test_without_a_clock_the_choice_is_always_the_first_that_passes(bundle: Bundle, tmp_path: Path) -> None:
    asked: list[Candidate] = []

    def try_one(candidate: Candidate, *_: object, **__: object) -> Candidate:
        asked.append(candidate)
        if len(asked) == 1:
            raise EvenhandError("it crashed")
        return candidate

    found = chosen(bundle, tmp_path, [], n_channels=4, is_timed=False, try_one=try_one)
    assert asked == candidates_of(bundle)[:2]
    assert found == asked[1]


def test_with_a_clock_the_fastest_that_passes_is_taken(bundle: Bundle, tmp_path: Path) -> None:
    times = dict(zip(candidates_of(bundle), (50.0, 20.0, 30.0, 90.0), strict=False))
    found = chosen(
        bundle, tmp_path, [], n_channels=4, is_timed=True, try_one=lambda c, *_, **__: replace(c, tick_us=times[c])
    )
    assert found.tick_us == 20.0


@pytest.mark.parametrize("others_pass", [True, False])
def test_int8_in_the_old_runtime_is_tried_only_where_nothing_else_passes(
    bundle: Bundle, tmp_path: Path, others_pass: bool
) -> None:
    if ("tflite_runtime", "int8") not in [(c.runtime, c.precision) for c in candidates_of(bundle)]:
        pytest.skip("tflite-runtime is not installed")
    asked: list[str] = []

    def try_one(candidate: Candidate, *_: object, **__: object) -> Candidate:
        asked.append(candidate.title)
        if not others_pass and candidate.title != "int8 in tflite_runtime":
            raise EvenhandError(f"{candidate.title} crashed")
        return replace(candidate, tick_us=1.0 if candidate.title == "int8 in tflite_runtime" else 50.0)

    found = chosen(bundle, tmp_path, [], n_channels=4, is_timed=True, try_one=try_one)
    assert (found.title == "int8 in tflite_runtime") == (not others_pass)
    assert ("int8 in tflite_runtime" in asked) == (not others_pass)


def test_where_nothing_passes_the_reason_is_told(bundle: Bundle, tmp_path: Path) -> None:
    def crash(*_: object, **__: object) -> Candidate:
        raise EvenhandError("int8 in some_runtime crashed (signal 11)")

    with pytest.raises(EvenhandError, match=r"tiny 1 passes its self-test nowhere: .*signal 11"):
        chosen(bundle, tmp_path, [], n_channels=4, is_timed=True, try_one=crash)


def test_a_network_that_says_something_else_than_it_did_fails_its_golden_vectors(bundle: Bundle) -> None:
    runtime = next(iter(installed()))
    spec = bundle.net("song", "int8")
    damaged = bytearray(bundle.files[spec.file])
    middle = len(damaged) // 3
    damaged[middle : middle + 512] = bytes(512)
    check_golden(Network(spec, bundle.files[spec.file], runtime=runtime), bundle)
    sabotaged = replace(bundle, files={**bundle.files, spec.goldens["z"]: bytes(len(bundle.files[spec.goldens["z"]]))})
    with pytest.raises(EvenhandError, match="off"):
        check_golden(Network(spec, bundle.files[spec.file], runtime=runtime), sabotaged)


@pytest.mark.parametrize("damage", ["truncated", "zeroed"])
def test_what_crashes_a_runtime_crashes_a_child_and_not_the_box(bundle: Bundle, tmp_path: Path, damage: str) -> None:
    """Signed by the trusted key, digests right, and yet a file that the runtime dies of or gets wrong."""
    from dsp_kernels.contract.archive import pack
    from firmware.inference.bundle import parse_bundle
    from firmware.tests.tiny_bundle import digested, signed, tiny_files, tiny_key

    files = tiny_files()
    name = "mix_f16.tflite"
    half = len(files[name]) // 2
    files[name] = files[name][:half] if damage == "truncated" else files[name][: half - 256] + bytes(2000)
    data = pack(signed(digested(files)))
    path = tmp_path / "bad.bundle"
    path.write_bytes(data)
    bad = parse_bundle(data, [tiny_key()])
    for candidate in candidates_of(bad):
        if candidate.precision == "f16":
            with pytest.raises(EvenhandError, match=candidate.title):
                tried(candidate, bad, path, [PUBLIC], n_channels=4)
    assert chosen(bad, path, [PUBLIC], n_channels=4, is_timed=True).precision == "int8"


def test_a_child_that_hangs_is_ended(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TIME_LIMIT_S", 0.05)
    began_s = time.monotonic()
    with pytest.raises(EvenhandError, match="did not end"):
        tried(candidates_of(bundle)[0], bundle, write_tiny(tmp_path), [PUBLIC], n_channels=4)
    assert time.monotonic() - began_s < 5.0


def test_a_bundle_that_changed_since_it_was_verified_is_not_loaded(bundle: Bundle, tmp_path: Path) -> None:
    other = replace(bundle, digest="0" * 64)
    with pytest.raises(EvenhandError, match="changed meanwhile"):
        tried(candidates_of(bundle)[0], other, write_tiny(tmp_path), [PUBLIC], n_channels=4)


@pytest.mark.parametrize("runtime", installed())
def test_any_bucket_gives_the_same_answer_for_the_same_channels(bundle: Bundle, runtime: str) -> None:
    """Padding is exact in int8 and within rounding in f16."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (5, 104)).astype(np.float32)
    role = rng.dirichlet(np.ones(21), 5).astype(np.float32)
    for precision, tolerance in (("int8", 0.0), ("f16", 2e-6)):
        answers = []
        for n_channels in (5, 12, 32):
            network, size = load(bundle, "mix", Candidate(runtime=runtime, precision=precision), n_channels)
            answers.append(_answer(network, size, x, role))
        for other in answers[1:]:
            assert np.abs(other - answers[0]).max() <= tolerance


def _answer(network: Network, size: int, x: np.ndarray, role: np.ndarray) -> np.ndarray:
    def padded(rows: np.ndarray) -> np.ndarray:
        return np.vstack([rows, np.zeros((size - len(rows), rows.shape[1]), np.float32)])

    inputs = {"x": padded(x), "role_prob": padded(role), "mask": padded(np.ones((len(x), 1), np.float32)),
              "song": np.zeros((1, 20), np.float32), "inv_sqrt_n": np.full((1, 1), len(x) ** -0.5)}  # fmt: skip
    for _ in range(3):
        y = network.run(inputs)["y"]
    return y[: len(x)]


def test_a_network_goes_on_from_states_that_were_taken_and_forgets_one_channel_alone(bundle: Bundle) -> None:
    candidate = candidates_of(bundle)[0]
    network, size = load(bundle, "mix", candidate, 4)
    rng = np.random.default_rng(2)
    rows: Sequence[np.ndarray] = [rng.uniform(-1, 1, (4, 104)).astype(np.float32) for _ in range(6)]
    role = np.full((4, 21), 1 / 21, np.float32)
    for x in rows[:3]:
        _answer(network, size, x, role)
    kept = network.states
    first = [_answer(network, size, x, role) for x in rows[3:]]
    network.set_states(kept)
    assert all(np.array_equal(a, _answer(network, size, x, role)) for a, x in zip(first, rows[3:], strict=True))
    network.reset_channel(2)
    for name, line in network.states.items():
        assert not any(value[2].any() for value in line), name
        assert all(value[1].any() for value in line), name


def test_the_box_says_so_where_no_runtime_is(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "installed", dict)
    with pytest.raises(EvenhandError, match="no TFLite runtime"):
        chosen(bundle, tmp_path, [], n_channels=4, is_timed=False)


def test_a_child_takes_no_threads_of_its_own(bundle: Bundle, tmp_path: Path) -> None:
    network, _ = load(bundle, "mix", candidates_of(bundle)[0], 4)
    before = len(list(Path("/proc/self/task").iterdir()))
    shapes = {"x": (8, 104), "role_prob": (8, 21), "mask": (8, 1), "song": (1, 20), "inv_sqrt_n": (1, 1)}
    network.run({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    assert len(list(Path("/proc/self/task").iterdir())) == before
