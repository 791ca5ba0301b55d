"""The contract's records as NumPy dtypes: the same bytes as the C structs of ``generated/eh_contract.h``.

``params["channel"]["gate.threshold_dbfs"][3]`` is the threshold of the fourth channel,
``x[:, MODEL_INPUT_COLUMNS["mel_now"]]`` what a model is shown of its spectrum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .entries import FeatureEntry
from .generated.contract import (
    BUS_METERS,
    CHANNEL_METERS,
    FEATURES,
    MIX_FEATURES,
    MIX_INPUTS,
    MODEL_INPUTS,
    PARAMS,
    SCOPES,
)


def _scope_dtype(scope: str) -> np.dtype:
    return np.dtype([(p.name, np.float32) for p in PARAMS if p.scope == scope])


def _record_dtype(entries: tuple[FeatureEntry, ...]) -> np.dtype:
    return np.dtype([(e.name, np.float32, (e.count,) if e.count > 1 else ()) for e in entries])


def _columns(entries: tuple[FeatureEntry, ...]) -> dict[str, slice]:
    ends = np.cumsum([e.count for e in entries]).tolist()
    return {e.name: slice(end - e.count, end) for e, end in zip(entries, ends, strict=True)}


SCOPE_DTYPE = {s.name: _scope_dtype(s.name) for s in SCOPES}
PARAMS_DTYPE = np.dtype([(s.name, SCOPE_DTYPE[s.name], (s.count,)) for s in SCOPES])
FEATURES_DTYPE = _record_dtype(FEATURES)
MIX_FEATURES_DTYPE = _record_dtype(MIX_FEATURES)
MODEL_INPUT_COLUMNS = _columns(MODEL_INPUTS)  # slices by name
MIX_INPUT_COLUMNS = _columns(MIX_INPUTS)
N_MODEL_INPUT = sum(e.count for e in MODEL_INPUTS)
N_MIX_INPUT = sum(e.count for e in MIX_INPUTS)
CHANNEL_METERS_DTYPE = _record_dtype(CHANNEL_METERS)
BUS_METERS_DTYPE = _record_dtype(BUS_METERS)


def default_params() -> NDArray[np.void]:
    """Return a snapshot, shape ``()`` of ``PARAMS_DTYPE``, with every parameter at its default."""
    params = np.zeros((), PARAMS_DTYPE)
    for entry in PARAMS:
        params[entry.scope][entry.name] = entry.default
    return params
