"""Weights of a network by name, to and from files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..errors import ModelError


def named_variables(net: tf.Module) -> dict[str, tf.Variable]:
    """Every variable of a module under its path, ``memory.0.kernels.1``."""
    found = net._flatten(predicate=lambda v: isinstance(v, tf.Variable), with_path=True)
    return {".".join(str(part) for part in path): variable for path, variable in found}


def weights_of(net: tf.Module) -> dict[str, NDArray[Any]]:
    """Return the values of ``named_variables``."""
    return {name: variable.numpy() for name, variable in named_variables(net).items()}


def set_weights(net: tf.Module, arrays: Mapping[str, NDArray[Any]], *, source: str) -> None:
    """Put named arrays into a network of the same shape."""
    variables = named_variables(net)
    for name, variable in variables.items():
        if name not in arrays or arrays[name].shape != tuple(variable.shape):
            found = arrays[name].shape if name in arrays else "nothing"
            raise ModelError(
                f"{source}: {name} should be {tuple(variable.shape)}, found {found}; "
                "the recipe's sizes differ from those it was trained with"
            )
        variable.assign(np.asarray(arrays[name], np.float32))


def n_parameters(net: tf.Module) -> int:
    """How many numbers training may change."""
    return sum(int(np.prod(v.shape)) for v in net.trainable_variables)
