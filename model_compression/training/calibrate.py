"""How far a network may be believed: temperature of the role evidence, scale of the sigmas; on the valid split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..nets.evidence import log_softmax
from ..nets.layout import PARAMETERS, SIGMA_GROUPS
from .batches import Batches
from .context import Context
from .files import write_text
from .losses import GROUP_OF_PARAMETER, ln_sigmas
from .sessions import Sessions

TEMPERATURES = np.geomspace(0.05, 16.0, 80)
COVERED, COVERED_SIGMAS = 0.9, 1.645
N_BATCHES = 24


def role_temperature(sessions: Sessions, context: Context) -> float:
    """Return the temperature with the likeliest roles, over all channels that sound and moments of the split."""
    logs, labels = [], []
    for number, head in enumerate(sessions.heads):
        grid = context.of(number)["role_log_prob"].astype(np.float64)[4::8]
        sounding = np.flatnonzero(head.active.any(axis=0))
        logs.append(grid[:, sounding].reshape(-1, grid.shape[2]))
        labels.append(np.broadcast_to(head.role[sounding], (len(grid), len(sounding))).ravel())
    log, label = np.concatenate(logs), np.concatenate(labels)
    heard = np.ptp(log, axis=1) > 0
    if not heard.any():
        return 1.0
    cost = [-log_softmax(log[heard] / t)[np.arange(heard.sum()), label[heard]].mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(cost))])


def sigma_scale(
    outputs: NDArray[np.float32], parameters: NDArray[np.float32], known: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``(5,)`` from outputs ``(.., 44)`` and true parameters ``(.., 15)`` where ``known`` is above one half."""
    chosen = known > 0.5
    error = np.abs(np.clip(outputs[chosen][:, PARAMETERS], -1.0, 1.0) - parameters[chosen])
    in_sigmas = error / np.exp(ln_sigmas(tf.constant(outputs[chosen])).numpy())
    group = np.array(GROUP_OF_PARAMETER)
    return np.array(
        [
            np.quantile(in_sigmas[:, group == g], COVERED) / COVERED_SIGMAS if chosen.any() else 1.0
            for g in range(len(SIGMA_GROUPS))
        ],
        np.float32,
    )


def mix_answers(
    answer: Callable[[dict[str, Any]], Any], batches: Batches
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return outputs, true parameters and weights over some batches, flat; ``answer`` gives the output to a batch."""
    outputs, truths, known = [], [], []
    for step in range(N_BATCHES):
        batch = batches(step)
        y = np.asarray(answer({name: tf.constant(values) for name, values in batch.items()}))
        weight = batch["weight"] * batch["mask"][:, None] * batch["warm"][:, :, None]
        outputs.append(y.reshape(-1, y.shape[-1]))
        truths.append(batch["parameters"].reshape(-1, batch["parameters"].shape[-1]))
        known.append(weight.ravel())
    return np.concatenate(outputs), np.concatenate(truths), np.concatenate(known)


def write_calibration(path: Path, temperature: float, scale: NDArray[np.float32]) -> None:
    """Leave ``calibration.toml`` for people and for the bundle."""
    sigmas = "\n".join(f"{name} = {value:.6g}" for name, value in zip(SIGMA_GROUPS, scale.tolist(), strict=True))
    text = f"[role]\ntemperature = {temperature:.6g}\n\n# by how much to multiply each sigma\n[sigma_scale]\n{sigmas}\n"
    write_text(path, text)
