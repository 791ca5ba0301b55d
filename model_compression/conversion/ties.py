"""Products that two processors would round in two ways, and the scales that keep them from it.

An int8 product is a whole number times a ratio: the scales of its two factors over its own. Where that comes to one
half, XNNPACK rounds to even on x86 and up on A64. A gate times what ReLU6 bounds is the usual case: a sigmoid has steps
of 1/256, and both sides span 6, so the ratio is 1/256 to the last bit and one product of 500 lies on a half. No whole
number times 2 / (2 n + 1) ever does: it stays 1 / (4 n + 2) away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

PRODUCTS = ("MUL", "BATCH_MATMUL")
N_CODES = 256
CLOSE = 5e-5  # to a half; arithmetic in float32 misses by N_CODES / 2 ** 24


def untie(tree: Any) -> None:
    """Widen the scale of each int8 product of a ``ModelT`` that may lie on a half: by 1 / 256 at a ratio of 1 / 128."""
    for factors, product in _products(tree):
        if _distance(factors / _scale(product)) < CLOSE:
            n = math.ceil(_scale(product) / factors - 0.5)
            product.quantization.scale = [np.float32(factors * (n + 0.5))]


def tied(tree: Any) -> list[str]:
    """Return the names of products that may lie on a half."""
    ties = (product.name for factors, product in _products(tree) if _distance(factors / _scale(product)) < CLOSE)
    return [name.decode() if isinstance(name, bytes) else str(name) for name in ties]


def _products(tree: Any) -> Iterator[tuple[float, Any]]:
    """Yield the scales of two factors, multiplied, and the tensor of their product."""
    from tensorflow.lite.python import schema_py_generated as schema

    codes = [getattr(schema.BuiltinOperator, name) for name in PRODUCTS]
    for graph in tree.subgraphs:
        for operator in graph.operators:
            code = tree.operatorCodes[operator.opcodeIndex]
            product = graph.tensors[operator.outputs[0]]
            is_int8 = product.type == schema.TensorType.INT8
            if is_int8 and max(code.builtinCode, code.deprecatedBuiltinCode) in codes:
                first, second = (_scale(graph.tensors[i]) for i in operator.inputs)
                yield first * second, product


def _distance(ratio: float) -> float:
    """Return how near to a half ``ratio`` brings a whole number, of those whose product has a code."""
    products = np.arange(1.0, math.ceil(N_CODES / ratio)) * ratio
    return float(np.abs(products % 1.0 - 0.5).min(initial=0.5))


def _scale(tensor: Any) -> float:
    return float(tensor.quantization.scale[0])
