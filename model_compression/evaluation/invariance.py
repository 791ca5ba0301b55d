"""Whether the order of channels matters, and whether channels that never sound move the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES

from .data_scores import decoded
from .model_child import answers
from .model_files import ModelFiles
from .shards import Labelled

N_SILENT = 16
MAX_CHANNELS = 32
SECONDS = 12
IS_ACTIVE, HEARD = 71, 102


def silent_rows(n_ticks: int, n: int, n_columns: int) -> NDArray[np.int8]:
    """Return the inputs of channels that never sound."""
    rows = np.zeros((n_ticks, n, n_columns), np.int8)
    rows[:, :, :60] = -127
    rows[:, :, IS_ACTIVE] = -127
    return rows


def check(model: ModelFiles, path: Path, precision: str, sessions: Sequence[Labelled], seed: int) -> dict[str, float]:
    """Return the largest change of an output by a permutation, and of an offset, in LU, by 16 silent channels."""
    rng = np.random.default_rng(seed)
    chosen = [s for s in sessions if s.n_channels + N_SILENT <= MAX_CHANNELS][:4]
    if not chosen:
        return {"permutation": float("nan"), "silent_lu": float("nan")}
    inputs, orders = [], []
    for session in chosen:
        x, m = (array[: SECONDS * 50] for array in session.inputs.values())
        # The true roles for the role network, which takes channels in turn: order would change when it hears whom.
        roles = np.eye(len(ROLES))[session["role"]]
        anything = np.full((N_SILENT, len(ROLES)), 1.0 / len(ROLES))
        order = rng.permutation(session.n_channels)
        wide = np.concatenate([x, silent_rows(len(x), N_SILENT, x.shape[2])], axis=1)
        inputs += [
            {"x": x, "m": m, "role_prob": roles},
            {"x": x[:, order], "m": m, "role_prob": roles[order]},
            {"x": wide, "m": m, "role_prob": np.concatenate([roles, anything])},
        ]
        orders.append(order)
    told = list(answers(path, precision, inputs))
    heads = model.heads("mix")
    swapped, moved = 0.0, 0.0
    for k, order in enumerate(orders):
        plain, permuted, widened = (told[3 * k + j]["y"] for j in range(3))
        swapped = max(swapped, float(np.abs(plain[:, order] - permuted).max()))
        offsets = [decoded(y[:, : plain.shape[1]], heads).offset_lu for y in (plain, widened)]
        moved = max(moved, float(np.abs(offsets[0] - offsets[1]).max()))
    return {"permutation": swapped, "silent_lu": moved}
