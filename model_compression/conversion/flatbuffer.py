"""What a TFLite file holds, read from its flatbuffer: operators and versions, tensor types, scales, size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .ties import tied

# Operators of the int8 specification that both runtimes run (learning.md F.2 and what the prototypes proved), with
# the newest
# version that tflite-runtime 2.14 registers.
NEWEST_VERSION = {
    "ADD": 4,
    "BATCH_MATMUL": 2,
    "CONCATENATION": 3,
    "CONV_2D": 6,
    "DEPTHWISE_CONV_2D": 6,
    "DEQUANTIZE": 5,
    "FULLY_CONNECTED": 10,
    "LOGISTIC": 3,
    "MAXIMUM": 4,
    "MEAN": 3,
    "MINIMUM": 4,
    "MUL": 7,
    "QUANTIZE": 2,
    "RELU_N1_TO_1": 2,
    "RESHAPE": 1,
    "SLICE": 6,
    "STRIDED_SLICE": 6,
}
LEAST_SCALE = 1e-7  # a range of 0.00003; nothing in these networks is that small


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One kind of operator in a file."""

    name: str
    version: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What a file consists of.

    Attributes
    ----------
    inner_float
        Names of float tensors that are neither input nor output.
    per_channel_dense
        Dense layers with more than one weight scale.
    unmoved
        Quantised tensors whose range is empty: calibration never saw them move.
    tied
        Products that x86 and A64 would round in two ways.
    """

    operators: tuple[Operator, ...]
    inner_float: tuple[str, ...]
    per_channel_dense: int
    unmoved: tuple[str, ...]
    tied: tuple[str, ...]
    size_bytes: int


def anatomy(model: bytes) -> Anatomy:
    """Read a file."""
    from tensorflow.lite.python import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    graph = tree.subgraphs[0]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    counts: dict[tuple[str, int], int] = {}
    per_channel = 0
    for operator in graph.operators:
        code = tree.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        counts[name, code.version] = counts.get((name, code.version), 0) + 1
        if name == "FULLY_CONNECTED":
            per_channel += _n_scales(graph.tensors[operator.inputs[1]]) > 1
    border = {*graph.inputs, *graph.outputs}
    floats = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)
    inner = [_name(t) for i, t in enumerate(graph.tensors) if t.type in floats and i not in border]
    return Anatomy(
        operators=tuple(Operator(name=n, version=v, count=c) for (n, v), c in sorted(counts.items())),
        inner_float=tuple(inner),
        per_channel_dense=per_channel,
        unmoved=tuple(
            _name(t) for t in graph.tensors if t.type == schema.TensorType.INT8 and 0 < _scale(t) < LEAST_SCALE
        ),
        tied=tuple(tied(tree)),
        size_bytes=len(model),
    )


def _n_scales(tensor: Any) -> int:
    scale = tensor.quantization.scale if tensor.quantization is not None else None
    return 0 if scale is None else len(scale)


def _scale(tensor: Any) -> float:
    return float(tensor.quantization.scale[0]) if _n_scales(tensor) else 0.0


def _name(tensor: Any) -> str:
    return tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name)
