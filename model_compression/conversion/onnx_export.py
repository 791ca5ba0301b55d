"""ONNX: the float students as a neutral reference, and third-party teachers through the reference evaluator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import CONTRACT_ID, ROLES

from ..errors import ModelError
from ..nets.layout import N_OUTPUT, N_PATCH_COLUMNS, N_PATCH_TICKS, N_ROLES
from ..training.files import write_bytes

OPSET = 17


def write_onnx(net: Any, name: str, path: Path, recipe: str) -> None:
    """Write the float step of a network, its contract among the metadata."""
    write_bytes(path, onnx_bytes(net, name, recipe))


def onnx_bytes(net: Any, name: str, recipe: str) -> bytes:
    """Return the float step of a network as an ONNX model, with the same names as the TFLite files."""
    import tensorflow as tf
    import tf2onnx

    specs = tuple(tf.TensorSpec(shape, tf.float32, name=key) for key, shape in net.step_inputs().items())
    keys, tick = list(net.step_inputs()), net.step()
    function = tf.function(
        lambda *inputs: tick(**dict(zip(keys, inputs, strict=True))), autograph=False, input_signature=specs
    )
    model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
    facts = {"contract_id": CONTRACT_ID, "net": name, "recipe": recipe, "tick_ms": "20", "roles": ",".join(ROLES)}
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString())


def evaluator(path: Path) -> Any:
    """ONNX's own reference evaluator over a file: no TensorFlow, no runtime."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        return ReferenceEvaluator(model)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; name an ONNX model") from None
    except Exception as error:  # protobuf and onnx each have families of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: not an ONNX model that the reference evaluator runs ({reason})") from None


def patch_teacher(path: Path) -> Callable[[Any], Any]:
    """Return a third-party role teacher: patches ``(n, 64, 72)`` in, 21 role logits and perhaps voice activity out.

    The model has one input ``(n or 1, 64, 72)`` and one output with 21 or 22 columns in the order of ``ROLES``.
    Where it
    says nothing about voice activity, column 71 of the newest tick stands in for it.
    """
    import tensorflow as tf

    run = evaluator(path)
    name = run.input_names[0]
    probe = np.zeros((2, N_PATCH_TICKS, N_PATCH_COLUMNS), np.float32)
    _asked(run, name, probe, path)

    def ask(patches: NDArray[np.float32]) -> NDArray[np.float32]:
        return _asked(run, name, patches, path)

    def teacher(patch: Any) -> Any:
        said = tf.numpy_function(ask, [patch], tf.float32)
        return tf.ensure_shape(said, (patch.shape[0], N_OUTPUT["role"]))

    return teacher


def _asked(run: Any, name: str, patches: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    try:
        try:
            said = np.asarray(run.run(None, {name: patches})[0], np.float32)
            if len(said) != len(patches):
                raise ValueError("takes one patch at a time")
        except Exception:  # a model with a fixed batch of one
            said = np.concatenate([np.asarray(run.run(None, {name: p[None]})[0], np.float32) for p in patches])
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path}: does not take patches (n, {N_PATCH_TICKS}, {N_PATCH_COLUMNS}) ({reason})") from None
    if said.ndim != 2 or said.shape[1] not in (N_ROLES, N_OUTPUT["role"]):
        raise ModelError(f"{path}: gives {said.shape}, expected (n, {N_ROLES}) or (n, {N_OUTPUT['role']})")
    if said.shape[1] == N_ROLES:
        voice = 4.0 * patches[:, -1, N_PATCH_COLUMNS - 1 :]
        said = np.concatenate([said, voice], axis=1)
    return said
