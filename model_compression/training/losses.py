"""What training minimises, in each head's own scale; tasks are weighed by their uncertainty.

Parameters: Huber of the error over the predicted sigma, plus ln sigma. Between channels: Huber of level differences.
Importance: who leads whom. The rest: cross entropy. Every task's loss ``L`` enters as ``exp(-s) L + s`` with a
trained ``s``
(Kendall, Gal and Cipolla, CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ..nets.layout import (
    LN_SIGMA_OFFSET,
    LN_SIGMA_SCALE,
    LOGIT_SCALE,
    MIX_HEADS,
    N_ROLES,
    PARAMETERS,
    ROLE_HEADS,
    SONG_HEADS,
)

GROUP_OF_PARAMETER = (0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 4)  # index into SIGMA_GROUPS
HUBER_AT = 2.0  # sigmas; beyond, an error pulls no harder
LEVEL_HUBER_AT = 0.2  # 3 LU
LABEL_SMOOTHING = 0.05
RANKED_APART = 0.1  # importance differences below this have no order
EVENT_WEIGHTS = {"beat": 8.0, "downbeat": 24.0, "boundary": 12.0}  # about none per one at 120 bpm, 4/4, 20 s sections
TEMPERATURE = 2.0  # at which a teacher's classes are copied (Hinton, Vinyals and Dean, 2015)
UNCERTAINTY_RANGE = (-2.0, 3.0)

Losses = dict[str, Any]


class TaskWeights(tf.Module):
    """The trained ``s`` of each task."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__("tasks")
        self.names = names
        self.s = tf.Variable(tf.zeros(len(names)))

    def total(self, losses: Losses) -> Any:
        """Return the one number to minimise."""
        s = tf.clip_by_value(self.s, *UNCERTAINTY_RANGE)
        return sum(tf.exp(-s[i]) * losses[name] + s[i] for i, name in enumerate(self.names))


MIX_TASKS = ("parameters", "levels", "importance", "activity", "bleed", "role")
SONG_TASKS = ("beat", "downbeat", "boundary", "section", "genre", "scene", "key")
ROLE_TASKS = ("role", "voice_activity")


def role_losses(y: Any, batch: dict[str, Any], teacher: Any, teacher_weight: float) -> Losses:
    """Of the role network; ``teacher`` is its output on the same patches, or None."""
    logits = y[:, ROLE_HEADS["role"].columns]
    labels = tf.one_hot(batch["role"], N_ROLES) * (1.0 - LABEL_SMOOTHING) + LABEL_SMOOTHING / N_ROLES
    role = _mean(tf.nn.softmax_cross_entropy_with_logits(labels, logits), batch["weight"])
    voice = tf.nn.sigmoid_cross_entropy_with_logits(batch["activity"], y[:, N_ROLES])
    losses = {"role": role, "voice_activity": tf.reduce_mean(voice)}
    if teacher is not None:
        said = teacher[:, ROLE_HEADS["role"].columns]
        copied = {
            "role": _mean(_soft_classes(logits, said), batch["weight"]),
            "voice_activity": tf.reduce_mean(
                tf.nn.sigmoid_cross_entropy_with_logits(tf.sigmoid(teacher[:, N_ROLES]), y[:, N_ROLES])
            ),
        }
        losses = _blended(losses, copied, teacher_weight)
    return losses


def song_losses(z: Any, batch: dict[str, Any], teacher_weight: float) -> Losses:
    """Of the song network; ``batch["teacher"]`` holds the teacher's logits where there is one."""
    losses, copied = {}, {}
    warm, said = batch["warm"], batch.get("teacher")
    for name, positive in EVENT_WEIGHTS.items():
        logit = z[..., SONG_HEADS[name].first]
        loss = tf.nn.weighted_cross_entropy_with_logits(batch[name], logit, positive**0.5)
        losses[name] = _mean(loss, warm)
        if said is not None:
            target = tf.sigmoid(said[..., SONG_HEADS[name].first])
            copied[name] = _mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logit), warm)
    for name in ("section", "genre", "scene", "key"):
        logits = z[..., SONG_HEADS[name].columns]
        known = tf.cast(batch[name] >= 0, tf.float32) * warm
        losses[name] = _mean(_classes(logits, tf.maximum(batch[name], 0)), known)
        if said is not None:
            copied[name] = _mean(_soft_classes(logits, said[..., SONG_HEADS[name].columns]), known)
    return losses if said is None else _blended(losses, copied, teacher_weight)


def mix_losses(y: Any, batch: dict[str, Any], teacher_weight: float) -> Losses:
    """Of the mix network or its teacher, ``y (n, T, C, 44)``."""
    present = batch["mask"][:, None, :] * batch["warm"][:, :, None]
    known = present * batch["weight"]
    labels = {name: batch[name] for name in ("parameters", "importance", "activity", "bleed")}
    losses = _mix_losses(y, labels, present, known, batch["group_weights"])
    losses["role"] = _mean(_classes(_logits(y, "role"), batch["role"]), known)
    if "teacher" not in batch:
        return losses
    said = batch["teacher"]
    labels = {
        "parameters": tf.clip_by_value(said[..., PARAMETERS], -1.0, 1.0),
        **{name: tf.sigmoid(_logit(said, name)) for name in ("importance", "activity", "bleed")},
    }
    copied = _mix_losses(y, labels, present, known, batch["group_weights"])
    copied["role"] = _mean(_soft_classes(_logits(y, "role"), _logits(said, "role")), known)
    return _blended(losses, copied, teacher_weight)


def ln_sigmas(y: Any) -> Any:
    """``(.., 15)``: ln of each parameter's sigma, in its head's scale."""
    column = MIX_HEADS["ln_sigma"].columns
    groups = LN_SIGMA_OFFSET + LN_SIGMA_SCALE * _clipped(y[..., column])
    return tf.gather(groups, GROUP_OF_PARAMETER, axis=-1)


@tf.custom_gradient
def _clipped(y: Any) -> tuple[Any, Callable[[Any], Any]]:
    """To [-1, 1], with a slope outside that leads back: a plain clip keeps for good what once went over its edge."""

    def slope(upstream: Any) -> Any:
        leads_out = ((y > 1.0) & (upstream < 0.0)) | ((y < -1.0) & (upstream > 0.0))
        return tf.where(leads_out, tf.zeros_like(upstream), upstream)

    return tf.clip_by_value(y, -1.0, 1.0), slope


def _mix_losses(y: Any, labels: dict[str, Any], present: Any, known: Any, group_weights: Any) -> Losses:
    errors = y[..., PARAMETERS] - labels["parameters"]
    ln_sigma = ln_sigmas(y)
    each = _huber(errors * tf.exp(-ln_sigma), HUBER_AT) + ln_sigma - LN_SIGMA_OFFSET
    weights = tf.gather(group_weights, GROUP_OF_PARAMETER)
    level = errors[..., 0]
    between = level[..., :, None] - level[..., None, :]
    pairs = known[..., :, None] * known[..., None, :]
    score, rank = _logit(y, "importance"), labels["importance"]
    apart = rank[..., :, None] - rank[..., None, :]
    ordered = pairs * tf.cast(apart > RANKED_APART, tf.float32)
    order = tf.nn.softplus(score[..., None, :] - score[..., :, None])
    return {
        "parameters": _mean(tf.reduce_sum(each * weights, axis=-1) / tf.reduce_sum(weights), known),
        "levels": _mean(_huber(between / LEVEL_HUBER_AT, 1.0), pairs),
        "importance": _mean(order, ordered) + _mean(tf.nn.sigmoid_cross_entropy_with_logits(rank, score), known),
        "activity": _mean(tf.nn.sigmoid_cross_entropy_with_logits(labels["activity"], _logit(y, "activity")), present),
        "bleed": _mean(tf.nn.sigmoid_cross_entropy_with_logits(labels["bleed"], _logit(y, "bleed")), present),
    }


def _logits(y: Any, name: str) -> Any:
    return LOGIT_SCALE * y[..., MIX_HEADS[name].columns]


def _logit(y: Any, name: str) -> Any:
    return LOGIT_SCALE * y[..., MIX_HEADS[name].first]


def _huber(e: Any, at: float) -> Any:
    size = tf.abs(e)
    return tf.where(size <= at, 0.5 * size * size, at * (size - 0.5 * at))


def _classes(logits: Any, labels: Any) -> Any:
    n = logits.shape[-1]
    smooth = tf.one_hot(labels, n) * (1.0 - LABEL_SMOOTHING) + LABEL_SMOOTHING / n
    return tf.nn.softmax_cross_entropy_with_logits(smooth, logits)


def _soft_classes(logits: Any, said: Any) -> Any:
    target = tf.nn.softmax(said / TEMPERATURE)
    return TEMPERATURE * tf.nn.softmax_cross_entropy_with_logits(target, logits / TEMPERATURE)


def _mean(values: Any, weights: Any) -> Any:
    return tf.reduce_sum(values * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


def _blended(losses: Losses, copied: Losses, share: float) -> Losses:
    return {name: (1.0 - share) * loss + share * copied[name] for name, loss in losses.items()}
