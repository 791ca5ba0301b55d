"""Makes a bundle of a run: its networks, golden vectors that both runtimes agree on, the card, digests, a signature.

What a run's ``net.toml`` holds is told in README.md. The box reads a bundle as strictly as it can; what it would refuse
is refused here already where that is known before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.archive import NAME, pack
from dsp_kernels.contract.generated.contract import CONTRACT_ID, STYLES

from . import golden
from .errors import ModelError
from .run_layout import described, find, read_file
from .signing import signature_of
from .toml_text import toml_text

FORMAT, TICK_MS, SAMPLE_RATES_HZ = 1, 20, [44100, 48000, 96000]
MAX_BYTES = 2_000_000  # as the box reads
WEIGHTS = "student_weights.npz"  # goes along so that the bundle can be adapted; the box leaves it alone
GOLDEN_TICKS, GOLDEN_CHANNELS, GOLDEN_SEED = 4, 8, 20
# Errors that two processors may differ by: a rounding of f16, two steps of an int8 output in [-1, 1] fed back through
# the states. Two runtimes that disagree by more than MAX_ERROR are not running the same network.
GOLDEN_FLOOR = {"f16": 0.01, "int8": 0.05}
MAX_ERROR = 0.25


def make_bundle(run: Path, key: Path) -> tuple[bytes, list[str]]:
    """Return the bundle of the run folder, and lines about it.

    Raises
    ------
    ModelError
        When the run lacks something, the runtimes disagree, or it is too large.
    """
    told = _described(run)
    files = {"card.md": read_file(run / "card.md")}
    files |= {net["file"]: read_file(find(run, net["file"])) for net in told["net"]}
    if (run / WEIGHTS).exists():
        files[WEIGHTS] = read_file(run / WEIGHTS)
    for name in files:
        if not NAME.fullmatch(name):
            raise ModelError(f"{run / name}: no name for a file of a bundle; use lower-case letters, digits, _ and .")
    given = {f"{net['file']}:{k}": v for net in told["net"] for k, v in _golden_inputs(run, net).items()}
    expected, errors = _golden_outputs(run, told["net"], given)
    for net in told["net"]:
        net["golden_error"] = errors[net["file"]]
        size = f"_c{net['n_channels']}" if net.get("n_channels") else ""
        for key_name, values in given.items():
            if key_name.startswith(f"{net['file']}:"):
                tensor = key_name.partition(":")[2]
                files[f"golden_{net['name']}{size}_{tensor}.f32"] = _bytes(values)
        for key_name, values in expected.items():
            if key_name.startswith(f"{net['file']}:"):
                tensor = key_name.partition(":")[2]
                files[f"golden_{net['name']}{size}_{net['precision']}_{tensor}.f32"] = _bytes(values)
    manifest = {
        "format": FORMAT, "name": told["name"], "version": told["version"], "contract_id": CONTRACT_ID,
        "tick_ms": TICK_MS, "sample_rates_hz": SAMPLE_RATES_HZ, "styles": list(STYLES),
        **{k: v for k, v in told.items() if k not in ("name", "version")},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }  # fmt: skip
    text = toml_text(manifest).encode()
    data = pack({"model.toml": text, "signature": signature_of(text, key), **files})
    if len(data) > MAX_BYTES:
        raise ModelError(f"{run}: makes a bundle of {len(data) / 1e6:.2f} MB, a box takes {MAX_BYTES / 1e6:g} MB")
    lines = [
        f"{n['file']}: {len(files[n['file']]) / 1000:.0f} kB, golden error {errors[n['file']]:.3f}" for n in told["net"]
    ]
    return data, lines


def _described(run: Path) -> dict[str, Any]:
    told = described(run)
    path = run / ("bundle.toml" if (run / "tflite").is_dir() else "net.toml")
    for name, kind in (("name", str), ("version", str), ("net", list), ("evidence", dict)):
        if not isinstance(told.get(name), kind):
            raise ModelError(f"{path}: has no {name}; README.md of model_compression shows a whole one")
    for net in told["net"]:
        for name in ("name", "precision", "file", "inputs", "outputs", "heads"):
            if name not in net:
                raise ModelError(f"{path}: a [[net]] has no {name}")
        net.setdefault("n_channels", 0)
        net.setdefault("states", [])
    return told


def _golden_inputs(run: Path, net: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Return the inputs of a network that are no states: those of the run, or seeded ones."""
    n_channels = net["n_channels"] or GOLDEN_CHANNELS
    size = f"_c{net['n_channels']}" if net["n_channels"] else ""
    states = {state["input"] for state in net["states"]}
    is_for_bucket = net["name"] != "mix" or net["n_channels"] > 0  # conversion's are for as many as its scene had
    inputs = {}
    for n, tensor in enumerate(t for t in net["inputs"] if t["name"] not in states):
        shape = golden.shape_of(tensor, n_channels)
        path = find(run, f"golden_{net['name']}{size}_{tensor['name']}.f32")
        if is_for_bucket and path.exists():
            values = np.frombuffer(read_file(path), "<f4")
            if not len(values) or len(values) % math.prod(shape):
                raise ModelError(f"{path}: holds {len(values)} numbers, not a multiple of {math.prod(shape)}")
            inputs[tensor["name"]] = values.reshape(-1, *shape)[:GOLDEN_TICKS]
            continue
        inputs[tensor["name"]] = _seeded(tensor["name"], shape, np.random.default_rng([GOLDEN_SEED, n]))
    return inputs


def _seeded(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return inputs as a box gives them: one padded channel, probabilities that sum to one, the rest in [-1, 1]."""
    full = (GOLDEN_TICKS, *shape)
    if name == "mask":
        values = np.ones(full)
        values[:, -1] = 0.0
    elif name == "inv_sqrt_n":
        values = np.full(full, (GOLDEN_CHANNELS - 1) ** -0.5)
    elif name in ("role_prob", "role_sum"):
        values = rng.dirichlet(np.full(shape[-1], 0.2), full[:-1])
    elif name == "song":
        values = rng.uniform(0.0, 0.5, full)
    else:
        values = rng.uniform(-1.0, 1.0, full)
    return values.astype(np.float32)


def _golden_outputs(
    run: Path, nets: Sequence[Mapping[str, Any]], given: Mapping[str, NDArray[np.float32]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
    """Return the mean over the runtimes of each output, and for each file how far it may be missed."""
    runtimes = [name for name in golden.RUNTIMES if find_spec(name)]
    if not runtimes:
        raise ModelError("no TFLite runtime is installed; pip install ai-edge-litert tflite-runtime==2.14.0")
    told = [golden.outputs_in(runtime, run, nets, given) for runtime in runtimes]
    mean = {name: np.mean([t[name] for t in told], axis=0) for name in told[0]}
    errors = {}
    for net in nets:
        names = [name for name in mean if name.startswith(f"{net['file']}:")]
        apart = max(float(np.abs(t[name] - mean[name]).max()) for t in told for name in names)
        if not apart <= MAX_ERROR:
            raise ModelError(f"{run / net['file']}: {' and '.join(runtimes)} disagree by {2 * apart:.2f}")
        errors[net["file"]] = round(2.0 * apart + GOLDEN_FLOOR.get(net["precision"], 0.0), 4)
    return mean, errors


def _bytes(values: NDArray[np.floating]) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()
