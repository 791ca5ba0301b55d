"""Short figures on the valid split while training goes on; the real judgement is `evenhand-model evaluate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..nets.layout import MIX_HEADS, ROLE_HEADS, SONG_HEADS
from ..nets.role import RoleNet
from .batches import Batches

N_BATCHES = 8


def role_scores(net: RoleNet, batches: Batches) -> dict[str, float]:
    """Share of single patches recognised, and their mean F1 over the roles that occur."""
    said, truth, is_right = [], [], []
    for step in range(N_BATCHES):
        batch = batches(step)
        y = net(tf.constant(batch["patch"])).numpy()
        sounds = batch["weight"] > 0.5
        said.append(y[sounds][:, ROLE_HEADS["role"].columns].argmax(axis=1))
        truth.append(batch["role"][sounds])
        is_right.append((y[:, ROLE_HEADS["voice_activity"].first] > 0) == (batch["activity"] > 0.5))
    guess, role = np.concatenate(said), np.concatenate(truth)
    return {
        "valid_role_accuracy": float((guess == role).mean()) if len(role) else 0.0,
        "valid_role_macro_f1": macro_f1(guess, role),
        "valid_voice_activity_accuracy": float(np.concatenate(is_right).mean()),
    }


def macro_f1(guess: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean F1 over the classes of ``truth``."""
    scores = []
    for label in np.unique(truth):
        hit = ((guess == label) & (truth == label)).sum()
        scores.append(2.0 * hit / ((guess == label).sum() + (truth == label).sum()))
    return float(np.mean(scores)) if scores else 0.0


def mix_scores(
    outputs: NDArray[np.float32], parameters: NDArray[np.float32], known: NDArray[np.float32]
) -> dict[str, float]:
    """Mean absolute errors in each parameter's unit."""
    total = max(float(known.sum()), 1e-9)
    found = {}
    for name in ("offset_lu", "pan_abs", "tone_db", "compressor_threshold_db", "compressor_log2_ratio", "send_db"):
        head = MIX_HEADS[name]
        error = np.abs(np.clip(outputs[:, head.columns], -1.0, 1.0) - parameters[:, head.columns]).mean(axis=1)
        found[f"valid_mae_{name}"] = head.scale * float((error * known).sum()) / total
    return found


def song_scores(net: tf.Module, batches: Batches) -> dict[str, float]:
    """Shares of ticks with the right class, and mean probability at beats and elsewhere."""
    hits: dict[str, list[float]] = {}
    for step in range(N_BATCHES):
        batch = batches(step)
        z = net(tf.constant(batch["m"]), tf.constant(batch["role_sum"])).numpy()
        for name in ("section", "genre", "scene", "key"):
            known = (batch[name] >= 0) & (batch["warm"] > 0)
            if known.any():
                right = z[..., SONG_HEADS[name].columns].argmax(axis=-1) == batch[name]
                hits.setdefault(f"valid_{name}_accuracy", []).append(float(right[known].mean()))
        beat = 1.0 / (1.0 + np.exp(-z[..., SONG_HEADS["beat"].first]))
        for word, ticks in (("at", batch["beat"] == 1.0), ("off", batch["beat"] == 0.0)):
            if ticks.any():
                hits.setdefault(f"valid_beat_{word}", []).append(float(beat[ticks].mean()))
    return {name: float(np.mean(values)) for name, values in hits.items()}
