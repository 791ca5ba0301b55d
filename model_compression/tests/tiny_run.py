"""Makes a run of tiny networks with seeded weights: the shapes and tensors of real ones, a few kB each, no sense.

In a process of its own, since it loads TensorFlow. The bundle that the box's tests use is made of it, from the root:

    python -m model_compression.tests.tiny_run /tmp/tiny
    python -m model_compression bundle /tmp/tiny --key firmware/tests/fixtures/tiny.key \
        --out firmware/tests/fixtures/tiny.bundle
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsp_kernels.contract.generated.contract import GENRES, KEYS, ROLES, SCENE_KINDS, SECTIONS, STYLES
from model_compression.toml_text import toml_text

WIDTH = 8
N_ROLES, N_SONG = len(ROLES), len(GENRES) + len(SECTIONS) + len(SCENE_KINDS) + len(STYLES)
Rows = tuple[tuple[str, int, float, float], ...]
HEADS: dict[str, Rows] = {
    "role": (("role", N_ROLES, 1.0, 0.0), ("voice_activity", 1, 1.0, 0.0)),
    "song": (
        ("beat", 1, 1.0, 0.0), ("downbeat", 1, 1.0, 0.0), ("boundary", 1, 1.0, 0.0),
        ("section", len(SECTIONS), 1.0, 0.0), ("genre", len(GENRES), 1.0, 0.0),
        ("scene", len(SCENE_KINDS), 1.0, 0.0), ("key", len(KEYS), 1.0, 0.0),
    ),
    "mix": (
        ("offset_lu", 3, 15.0, 0.0), ("pan_abs", 3, 1.0, 0.0), ("tone_db", 4, 6.0, 0.0),
        ("compressor_threshold_db", 1, 20.0, 0.0), ("compressor_log2_ratio", 1, 2.0, 0.0), ("send_db", 3, 40.0, -40.0),
        ("ln_sigma", 5, 2.5, -2.5), ("importance", 1, 8.0, 0.0), ("activity", 1, 8.0, 0.0), ("bleed", 1, 8.0, 0.0),
        ("role", N_ROLES, 8.0, 0.0),
    ),
}  # fmt: skip
N_OUT = {net: sum(count for _, count, _, _ in rows) for net, rows in HEADS.items()}
DELAYS = {"role": (), "song": (1, 3), "mix": (1, 2)}
INPUTS: dict[str, dict[str, tuple[int | None, ...]]] = {
    "role": {"patch": (1, 64, 72)},
    "song": {"m": (1, 56), "role_sum": (1, N_ROLES)},
    "mix": {"x": (None, 104), "role_prob": (None, N_ROLES), "song": (1, N_SONG), "mask": (None, 1),
            "inv_sqrt_n": (1, 1)},
}  # fmt: skip
OUTPUT = {"role": "role_logits", "song": "z", "mix": "y"}


def _weights(rng: np.random.Generator, *shape: int) -> Any:
    import tensorflow as tf

    return tf.constant(rng.normal(0.0, shape[0] ** -0.5, shape).astype(np.float32))


def _steps(seed: int) -> dict[str, Callable[..., dict[str, Any]]]:
    """Return one tick of each network."""
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    role_w, role_b = _weights(rng, 72, N_OUT["role"]), tf.constant(rng.normal(0, 0.1, N_OUT["role"]).astype(np.float32))

    def role(patch: Any) -> dict[str, Any]:
        rows = tf.reduce_mean(tf.reshape(patch, (1, 64, 72)), axis=1)
        return {"role_logits": tf.matmul(rows, 6.0 * role_w) + role_b}

    def net(sizes: Mapping[str, int], name: str) -> tuple[Callable[..., Any], ...]:
        kernels = {k: _weights(rng, n, WIDTH) for k, n in sizes.items()}
        bias = tf.constant(np.full(WIDTH, 0.5, np.float32))
        taps = [_weights(rng, WIDTH, WIDTH) for _ in DELAYS[name]]
        out_w, out_b = _weights(rng, WIDTH, N_OUT[name]), rng.normal(0, 0.1, N_OUT[name]).astype(np.float32)

        def enter(**given: Any) -> Any:
            h = bias
            for key, kernel in kernels.items():
                h = tf.matmul(given[key], kernel) + h
            return tf.nn.relu6(h)

        def leave(h: Any, given: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
            new = {}
            for k, kernel in enumerate(taps):
                new[f"new_{k}"] = h
                h = h + 0.3 * tf.nn.relu6(tf.matmul(given[f"tap_{k}"], kernel) + bias)
            return h, new

        def head(h: Any) -> Any:
            return tf.matmul(h, 0.3 * out_w) + tf.constant(out_b)

        return enter, leave, head

    song_enter, song_leave, song_head = net({"m": 56, "role_sum": N_ROLES}, "song")
    mix_enter, mix_leave, mix_head = net({"x": 104, "role_prob": N_ROLES, "song": N_SONG}, "mix")
    gate_w = _weights(rng, WIDTH, WIDTH)

    def song(**given: Any) -> dict[str, Any]:
        h, new = song_leave(song_enter(**{k: given[k] for k in ("m", "role_sum")}), given)
        return {"z": 3.0 * song_head(h), **new}

    def mix(**given: Any) -> dict[str, Any]:
        h, new = mix_leave(mix_enter(**{k: given[k] for k in ("x", "role_prob", "song")}), given)
        share = tf.sigmoid(tf.matmul(h, gate_w)) * h * (given["mask"] * given["inv_sqrt_n"])
        h = h + tf.matmul(tf.reduce_sum(share, axis=0, keepdims=True) * given["inv_sqrt_n"], gate_w)
        return {"y": tf.clip_by_value(mix_head(h), -1.0, 1.0), **new}

    return {"role": role, "song": song, "mix": mix}


def _samples(net: str, shapes: Mapping[str, tuple[int | None, ...]]) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(5)
    for n_channels in (8,) * 24:
        sample = {}
        for name, shape in shapes.items():
            full = tuple(n_channels if n is None else n for n in shape)
            values = rng.uniform(0.0, 2.0, full) if name.startswith("tap_") else rng.uniform(-1.0, 1.0, full)
            values = np.full(full, n_channels**-0.5) if name == "inv_sqrt_n" else values
            sample[name] = (np.ones(full) if name == "mask" else values).astype(np.float32)
        yield sample


def _converted(net: str, step: Callable[..., dict[str, Any]], precision: str) -> tuple[bytes, dict[str, Any]]:
    """Return the file of one network, and what net.toml says about it."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shapes = dict(INPUTS[net]) | {
        f"tap_{k}": ((None, WIDTH) if net == "mix" else (1, WIDTH)) for k in range(len(DELAYS[net]))
    }
    specs = {name: tf.TensorSpec(shape, tf.float32, name=name) for name, shape in shapes.items()}
    function = convert_variables_to_constants_v2(tf.function(step).get_concrete_function(**specs))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if precision == "f16":
        converter.target_spec.supported_types = [tf.float16]
    else:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        names = [tensor.name.partition(":")[0] for tensor in function.inputs]
        converter.representative_dataset = lambda: ([s[name] for name in names] for s in _samples(net, shapes))
    content = converter.convert()
    outputs = {OUTPUT[net]: (*((-1,) if net == "mix" else (1,)), N_OUT[net])}
    outputs |= {f"new_{k}": ((-1, WIDTH) if net == "mix" else (1, WIDTH)) for k in range(len(DELAYS[net]))}
    tensor_of = {name: "Identity" + (f"_{n}" if n else "") for n, name in enumerate(sorted(outputs))}
    return content, {
        "name": net, "precision": precision, "file": f"{net}_{precision}.tflite", "n_channels": 0,
        "inputs": [{"name": n, "tensor": n, "shape": [-1 if k is None else k for k in s]} for n, s in shapes.items()],
        "outputs": [{"name": n, "tensor": tensor_of[n], "shape": list(s)} for n, s in outputs.items()],
        "states": [{"input": f"tap_{k}", "output": f"new_{k}", "delay_ticks": d} for k, d in enumerate(DELAYS[net])],
        "heads": _heads(net),
    }  # fmt: skip


def _heads(net: str) -> list[dict[str, Any]]:
    heads, first = [], 0
    for name, count, scale, offset in HEADS[net]:
        heads.append({"name": name, "first": first, "count": count, "scale": scale, "offset": offset, "unit": "-"})
        first += count
    return heads


def make(folder: Path, seed: int = 20) -> None:
    """Write the run."""
    folder.mkdir(parents=True, exist_ok=True)
    nets = []
    for net, step in _steps(seed).items():
        for precision in ("f16", "int8"):
            content, told = _converted(net, step, precision)
            (folder / told["file"]).write_bytes(content)
            nets.append(told)
    (folder / "card.md").write_text("# Tiny\n\nSeeded weights, for tests; knows nothing.\n")
    table = {
        "name": "tiny", "version": "1",
        "evidence": {"temperature": 0.7, "memory_s": 20.0, "context_share": 0.0},
        "training": {"recipe": "none", "seed": seed}, "metrics": {}, "net": nets,
    }  # fmt: skip
    (folder / "net.toml").write_text(toml_text(table))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
