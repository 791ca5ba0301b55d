"""How far networks may be believed, by the valid split: the role evidence, the mix network in it, the sigmas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..nets.evidence import RoleEvidence, context_shares, log_softmax, pooled, sound_of
from ..nets.layout import LOGIT_SCALE, MIX_HEADS, PARAMETERS, SIGMA_GROUPS, TICK_S
from ..nets.mix import MixNet
from . import asking
from .batches import Batches
from .context import Context
from .files import write_text
from .losses import GROUP_OF_PARAMETER, ln_sigmas
from .sessions import INPUT_SCALE, Session, Sessions

Array = NDArray[np.float64]

TEMPERATURES = np.geomspace(0.05, 16.0, 80)
CONTEXT_SHARES = np.linspace(0.0, 0.95, 20)
JUDGED_EACH_TICKS = 100
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


def context_share(mix: MixNet, sessions: Sessions, context: Context) -> float:
    """Return the share of the mix network, which hears the other channels too, with the likeliest roles.

    Both opinions are gathered as on the box, over all channels that sound and moments of the split.
    """
    cost = np.zeros(len(CONTEXT_SHARES))
    for number in range(len(sessions)):
        session = sessions[number]
        at = np.arange(JUDGED_EACH_TICKS, session.n_ticks, JUDGED_EACH_TICKS)
        sounding = np.flatnonzero(session.active.any(axis=0))
        told = context.role_prob(number, np.arange(session.n_ticks))
        outputs = asking.mix_outputs(mix, session, told, context.of(number)["song"])
        logits = LOGIT_SCALE * outputs[..., MIX_HEADS["role"].columns].astype(np.float64)
        theirs = gathered(logits, session)[np.ix_(at, sounding)]
        own = context.role_log_prob(number, at)[:, sounding]
        full = context_shares(1.0, session.x[at] * np.float32(INPUT_SCALE))
        for k, share in enumerate(CONTEXT_SHARES):
            log_prob = log_softmax(pooled(own, theirs, share * full) / context.temperature)
            cost[k] -= log_prob[:, np.arange(len(sounding)), session.role[sounding]].sum()
    return float(CONTEXT_SHARES[int(np.argmin(cost))])


def gathered(logits: Array, session: Session) -> Array:
    """Return the mean log-probabilities ``(n_ticks, n_channels, 21)`` that a look at every tick of own sound leaves."""
    evidence, log_prob = RoleEvidence(session.n_channels), log_softmax(logits)
    loud = sound_of(session.x * np.float32(INPUT_SCALE))
    means = np.zeros(logits.shape)
    for tick in range(session.n_ticks):
        ch = np.flatnonzero(loud[tick])
        evidence.hear(ch, log_prob[tick, ch], np.full(len(ch), TICK_S), loud[tick, ch])
        means[tick] = evidence.mean_log_prob()
    return means


def sigma_scale(
    outputs: NDArray[np.float32], parameters: NDArray[np.float32], known: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``(5,)`` from outputs ``(.., 44)`` and true parameters ``(.., 15)`` where ``known`` is above one half.

    The compressor's is the spread of its threshold, as the box takes it; its ratio's is never asked for.
    """
    chosen = known > 0.5
    error = np.abs(np.clip(outputs[chosen][:, PARAMETERS], -1.0, 1.0) - parameters[chosen])
    in_sigmas = error / np.exp(ln_sigmas(tf.constant(outputs[chosen])).numpy())
    group = np.array(GROUP_OF_PARAMETER)
    group[MIX_HEADS["compressor_log2_ratio"].columns] = -1
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


def write_calibration(path: Path, temperature: float, share: float, scale: NDArray[np.float32]) -> None:
    """Leave ``calibration.toml`` for people and for the bundle."""
    sigmas = "\n".join(f"{name} = {value:.6g}" for name, value in zip(SIGMA_GROUPS, scale.tolist(), strict=True))
    role = f"[role]\ntemperature = {temperature:.6g}\ncontext_share = {share:.6g}\n"
    text = f"{role}\n# by how much to multiply each sigma\n[sigma_scale]\n{sigmas}\n"
    write_text(path, text)
