"""One tick of a network as a TFLite file: full int8 with float at the border, or float16 weights.

The graph is built over constants (norms folded, nothing to freeze), rank 2 throughout but for the role network's
picture. The
number of channels stays open: one file serves every bucket.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .ties import untie

Precision = Literal["int8", "f16"]
Feed = dict[str, NDArray[np.float32]]


def concrete(net: Any) -> Any:
    """Return the tick of a network as a concrete function with named inputs and outputs."""
    tick = net.step()
    shapes = net.step_inputs()
    specs = {name: tf.TensorSpec(shape, tf.float32, name=name) for name, shape in shapes.items()}
    return tf.function(tick, autograph=False).get_concrete_function(**specs)


def to_tflite(net: Any, precision: Precision, feeds: Iterable[Feed]) -> bytes:
    """Convert; ``feeds`` are the inputs of many ticks as the box would give them, for the ranges of int8."""
    function = concrete(net)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "int8":
        # tflite-runtime 2.14 knows no per-channel FULLY_CONNECTED (version 12) and dies on one without a bias.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: iter(feeds)
    else:
        converter.target_spec.supported_types = [tf.float16]
    return _finished(_quietly(converter.convert))


def _finished(model: bytes) -> bytes:
    """Give inputs and outputs their names in the signature, where the converter makes up others, and untie products."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    graph, signature = tree.subgraphs[0], tree.signatureDefs[0]
    for entry in (*signature.inputs, *signature.outputs):
        graph.tensors[entry.tensorIndex].name = entry.name
    untie(tree)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _quietly(convert: Any) -> bytes:
    """Convert without what the converter's C++ says on standard error."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        return bytes(convert())
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
