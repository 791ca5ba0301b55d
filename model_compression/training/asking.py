"""Asking trained networks about whole sessions: evidence on roles, song inputs, and the teachers' words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..nets.evidence import RoleEvidence, role_sum, song_inputs, sound_of
from ..nets.layout import IS_ACTIVE, N_PATCH_COLUMNS, TICK_S
from ..nets.mix import MixNet
from ..nets.role import RoleNet
from ..nets.song import SongNet
from ..nets.teachers import MixTeacher
from .batches import bucket, patch_ticks, pooled, true_role_sum
from .context import EVIDENCE_STRIDE_TICKS, Context
from .files import write_arrays
from .sessions import INPUT_SCALE, Session, Sessions

PATCHES_AT_ONCE = 256
TICKS_AT_ONCE = 400


def ask_each(sessions: Sessions, folder: Path, name: str, ask: Callable[[int, Session], dict[str, Any]]) -> None:
    """Keep ``ask(number, session)`` for each session that has no file of that name yet."""
    context = Context(folder, (), temperature=1.0)
    for number in range(len(sessions)):
        path = context.path(name, number)
        if not path.exists():
            write_arrays(path, ask(number, sessions[number]))


def role_outputs(
    net: Callable[[Any], Any], session: Session, channels: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Return the role network on channels (all) each ``EVIDENCE_STRIDE_TICKS``: ``(n_runs, n_channels, 22)``."""
    ch = np.arange(session.n_channels) if channels is None else channels
    run = tf.function(lambda patch: net(patch), autograph=False, reduce_retracing=True)
    ends = np.arange(0, session.n_ticks, EVIDENCE_STRIDE_TICKS)
    n_at_once = max(1, PATCHES_AT_ONCE // len(ch))
    rows = []
    for first in range(0, len(ends), n_at_once):
        ticks = np.stack([patch_ticks(int(end)) for end in ends[first : first + n_at_once]])
        patches = session.x[ticks[:, :, None], ch, :N_PATCH_COLUMNS].transpose(0, 2, 1, 3) * np.float32(INPUT_SCALE)
        out = run(tf.constant(patches.reshape(-1, *patches.shape[2:])))
        rows.append(out.numpy().reshape(len(ticks), len(ch), -1))
    return np.concatenate(rows)


def role_log_prob(net: RoleNet, session: Session) -> NDArray[np.float16]:
    """Return the evidence on the same grid, before the temperature, ``(n_runs, n_channels, 21)``."""
    return evidence_of(role_outputs(net, session), session)


def evidence_of(outputs: NDArray[np.float32], session: Session) -> NDArray[np.float16]:
    """Return the evidence that outputs on that grid leave."""
    evidence = RoleEvidence(session.n_channels)
    channels = np.arange(session.n_channels)
    firsts = np.arange(0, session.n_ticks, EVIDENCE_STRIDE_TICKS)[1:] - EVIDENCE_STRIDE_TICKS + 1
    since = np.concatenate([[0], firsts])  # the first run has heard one tick, the others what came since the one before
    until = np.arange(0, session.n_ticks, EVIDENCE_STRIDE_TICKS) + 1
    active_s, loud = (
        np.add.reduceat(np.asarray(values, np.float64)[: until[-1]], since, axis=0)
        for values in (TICK_S * (session.x[:, :, IS_ACTIVE] > 0), sound_of(session.x * np.float32(INPUT_SCALE)))
    )
    kept = np.zeros((*outputs.shape[:2], outputs.shape[2] - 1), np.float16)
    for run in range(len(outputs)):
        evidence.add(channels, outputs[run], active_s[run], loud[run])
        kept[run] = evidence.mean_log_prob()
    return kept


def role_sums(context: Context, number: int, session: Session) -> NDArray[np.float16]:
    """``role_sum`` at each tick, from evidence already kept."""
    prob = context.role_prob(number, np.arange(session.n_ticks))
    return role_sum(prob.astype(np.float64), session.x * np.float32(INPUT_SCALE)).astype(np.float16)


def song_outputs(net: SongNet, session: Session, sums: NDArray[Any]) -> NDArray[np.float32]:
    """Return the song network over a session, ``(n_ticks, 44)``."""
    m = session.m * np.float32(INPUT_SCALE)
    return net(tf.constant(m[None]), tf.constant(sums[None].astype(np.float32)))[0].numpy()


def song_words(net: SongNet, session: Session, sums: NDArray[Any]) -> dict[str, Any]:
    """Return what the mix network hears of the song student."""
    return {"song": song_inputs(song_outputs(net, session, sums).astype(np.float64))}


def song_teacher_words(net: SongNet, session: Session) -> dict[str, Any]:
    """Return the song teacher's logits; it knows the roles."""
    return {"song_teacher": song_outputs(net, session, true_role_sum(session)).astype(np.float16)}


def mix_teacher_words(net: MixTeacher, session: Session) -> dict[str, Any]:
    """Return the mix teacher's outputs at its steps."""
    stride = net.size.stride_ticks
    x, m = pooled(session, stride)
    width = bucket(session.n_channels)
    x = np.pad(x, ((0, 0), (0, width - session.n_channels), (0, 0)))
    mask = (np.arange(width) < session.n_channels).astype(np.float32)
    role = np.pad(session.role.astype(np.int32), (0, width - session.n_channels))
    y = net(*(tf.constant(v[None]) for v in (x.astype(np.float32), m, role, mask)))
    kept = y[0, :, : session.n_channels].numpy().astype(np.float16)
    return {"mix_teacher": kept, "mix_teacher_stride": np.array(stride)}


def mix_outputs(net: MixNet, session: Session, role_prob: NDArray[Any], song: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mix network over a session, ``(n_ticks, n_channels, 44)``, clipped as on the box."""
    x = session.x * np.float32(INPUT_SCALE)
    mask = tf.ones((1, session.n_channels))
    rows = []
    for first in range(0, session.n_ticks, TICKS_AT_ONCE):
        warm = min(first, sum(net.delays_ticks()))
        part = slice(first - warm, first + TICKS_AT_ONCE)
        inputs = [tf.constant(v[part][None].astype(np.float32)) for v in (x, role_prob, song)]
        rows.append(net(inputs[0], inputs[1], inputs[2], mask)[0, warm:].numpy())
    return np.clip(np.concatenate(rows), -1.0, 1.0)
