"""int8 products: no processor has to choose how to round one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_compression.conversion.ties import tied, untie


def tree_of(kind: str, first: float, second: float, product: float) -> Any:
    """Return what the schema makes of a model of one operator, as far as scales go."""
    from tensorflow.lite.python import schema_py_generated as schema

    tensors = [
        SimpleNamespace(
            name=name.encode(), type=schema.TensorType.INT8, quantization=SimpleNamespace(scale=[np.float32(scale)])
        )
        for name, scale in (("gate", first), ("value", second), ("product", product))
    ]
    code = SimpleNamespace(builtinCode=getattr(schema.BuiltinOperator, kind), deprecatedBuiltinCode=0)
    operator = SimpleNamespace(opcodeIndex=0, inputs=[0, 1], outputs=[2])
    graph = SimpleNamespace(tensors=tensors, operators=[operator])
    return SimpleNamespace(subgraphs=[graph], operatorCodes=[code])


def scale_of(tree: Any) -> float:
    return float(tree.subgraphs[0].tensors[2].quantization.scale[0])


def test_a_gate_times_a_bounded_value_is_a_tie_and_is_widened_by_a_fifth_of_a_percent() -> None:
    tree = tree_of("MUL", 1 / 256, 6 / 255, 6 / 255)
    assert tied(tree) == ["product"]
    untie(tree)
    assert tied(tree) == []
    assert scale_of(tree) == pytest.approx(6 / 255 * 256.5 / 256, rel=1e-6)


def test_a_product_that_is_never_on_a_half_keeps_its_scale() -> None:
    tree = tree_of("MUL", 1 / 255, 1 / 255, 1 / 255)
    assert tied(tree) == []
    untie(tree)
    assert scale_of(tree) == np.float32(1 / 255)


@pytest.mark.parametrize("seed", range(20))
def test_any_product_is_untied_by_less_than_a_percent(seed: int) -> None:
    first, second = np.random.default_rng(seed).uniform(0.001, 0.1, 2)
    for kind in ("MUL", "BATCH_MATMUL"):
        tree = tree_of(kind, first, second, 127 * first * second)
        before = scale_of(tree)
        untie(tree)
        assert tied(tree) == []
        assert 1.0 <= scale_of(tree) / before < 1.01


def test_sums_keep_their_scales() -> None:
    tree = tree_of("ADD", 1 / 256, 6 / 255, 6 / 255)
    untie(tree)
    assert (tied(tree), scale_of(tree)) == ([], np.float32(6 / 255))


def test_what_leaves_the_converter_has_no_ties() -> None:
    import tensorflow as tf

    from model_compression.conversion.export import to_tflite
    from model_compression.conversion.flatbuffer import anatomy

    class Gated:
        def step(self) -> Any:
            return lambda x: {"y": tf.sigmoid(x) * tf.nn.relu6(x)}

        def step_inputs(self) -> dict[str, tuple[int | None, int]]:
            return {"x": (None, 4)}

    feeds = [{"x": np.linspace(-20, 20, 4, dtype=np.float32)[None]}]
    found = anatomy(to_tflite(Gated(), "int8", feeds))
    assert "MUL" in [operator.name for operator in found.operators]
    assert found.tied == ()
