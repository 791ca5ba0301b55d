"""Streams of real inputs through the float step: what the box would feed each network, tick by tick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nets.delays import DelayLines, Feed, Tick, roll
from ..nets.evidence import SongEvidence
from ..nets.layout import N_MODEL_INPUT, N_OUTPUT, N_PATCH_COLUMNS, N_PATCH_TICKS, N_ROLES
from ..training.asking import role_log_prob, role_sums, song_words
from ..training.batches import patch_ticks, seeded
from ..training.context import Context
from ..training.sessions import INPUT_SCALE, Session, Sessions
from ..training.students import Students


def mix_inputs(x: NDArray[np.float32], role_prob: NDArray[Any], song: NDArray[Any], n_slots: int) -> Iterator[Feed]:
    """Return the mix network's inputs, tick by tick, in a bucket of ``n_slots``; what is not there is zero."""
    n_ticks, n_channels = x.shape[:2]
    mask = (np.arange(n_slots) < n_channels).astype(np.float32)[:, None]
    inv_sqrt_n = np.array([[1.0 / np.sqrt(max(n_channels, 1))]], np.float32)
    for t in range(n_ticks):
        feed = {
            "x": np.zeros((n_slots, N_MODEL_INPUT), np.float32),
            "role_prob": np.zeros((n_slots, N_ROLES), np.float32),
        }
        feed["x"][:n_channels], feed["role_prob"][:n_channels] = x[t], role_prob[t]
        yield {**feed, "song": song[t][None].astype(np.float32), "mask": mask, "inv_sqrt_n": inv_sqrt_n}


def float_tick(net: Any) -> Tick:
    """Return the float step of a network over arrays."""
    import tensorflow as tf

    function = tf.function(net.step(), autograph=False, reduce_retracing=True)

    def tick(feed: Feed) -> Feed:
        return {k: v.numpy() for k, v in function(**{k: tf.constant(v) for k, v in feed.items()}).items()}

    return tick


class Scenes:
    """Sessions with all that the students make of them: what the box would feed each network."""

    def __init__(self, students: Students, sessions: Sessions, *, max_channels: int) -> None:
        self.students, self.sessions, self.max_channels = students, sessions, max_channels
        self.song_tick, self.mix_tick = float_tick(students.song), float_tick(students.mix)

    def facts(self, number: int) -> tuple[Session, NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return a session, ``role_prob`` and ``song`` at each tick, ``role_sum``."""
        session = self.sessions[number]
        context = Context(self.sessions.heads[number].path.parent, (), temperature=self.students.temperature)
        context.know(number, {"role_log_prob": role_log_prob(self.students.role, session)})
        sums = role_sums(context, number, session)
        song = song_words(self.students.song, session, sums)["song"]
        return session, context.role_prob(number, np.arange(session.n_ticks)), song, sums

    def feeds(self, net: str, n_feeds: int, seed: int, *, every: int = 1) -> Iterator[Feed]:
        """About ``n_feeds`` feeds with running state: real sessions, one lone channel, silence, and nobody at all.

        A scene is three times as long as the memory of the network: a delay line that never fills would look as if it
        were always zero, and int8 would take it at its word. ``every`` thins out what is yielded, not what is run.
        """
        rng = seeded(seed, "calibration", net)
        numbers = rng.permutation(len(self.sessions))
        memory = sum(self.students.net(net).delays_ticks())
        per_scene = max(20, 3 * memory, every * n_feeds // max(1, min(len(numbers), 24)))
        done = 0
        for number in numbers:
            if done >= n_feeds:
                break
            session, role_prob, song, sums = self.facts(int(number))
            first = 0 if done == 0 else int(rng.integers(max(1, session.n_ticks - per_scene)))
            part = slice(first, min(first + per_scene, session.n_ticks))
            for tick, feed in enumerate(self._of(net, session, role_prob, song, sums, part, rng)):
                if tick % every == 0:
                    done += 1
                    yield feed
        if net == "mix":
            yield from self._corners(session, role_prob, song)

    def _of(
        self,
        net: str,
        session: Session,
        role_prob: NDArray[Any],
        song: NDArray[Any],
        sums: NDArray[Any],
        part: slice,
        rng: np.random.Generator,
    ) -> Iterator[Feed]:
        if net == "role":
            for end in range(part.start, part.stop):
                ch = int(rng.integers(session.n_channels))
                patch = session.x[patch_ticks(end), ch, :N_PATCH_COLUMNS] * np.float32(INPUT_SCALE)
                yield {"patch": patch[None]}
            silence = np.zeros((1, N_PATCH_TICKS, N_PATCH_COLUMNS), np.float32)
            silence[..., :60] = -1.0
            yield {"patch": silence}
        elif net == "song":
            ticks = range(part.start, part.stop)
            inputs = (
                {"m": session.m[t][None] * np.float32(INPUT_SCALE), "role_sum": sums[t][None].astype(np.float32)}
                for t in ticks
            )
            lines = DelayLines(self.students.song.delays_ticks(), 1, self.students.song.size.width)
            yield from (feed for feed, _ in roll(self.song_tick, lines, inputs))
        else:
            x = session.x[part, : self.max_channels] * np.float32(INPUT_SCALE)
            yield from self._mix(x, role_prob[part, : self.max_channels], song[part])

    def _corners(self, session: Session, role_prob: NDArray[Any], song: NDArray[Any]) -> Iterator[Feed]:
        x = session.x[:30] * np.float32(INPUT_SCALE)
        yield from self._mix(x[:, :1], role_prob[:30, :1], song[:30])
        yield from self._mix(x[:, :0], role_prob[:30, :0], song[:30])
        silent = np.zeros_like(x)
        silent[..., :60] = -1.0
        start = SongEvidence().add(np.zeros(N_OUTPUT["song"]))
        yield from self._mix(silent, np.full_like(role_prob[:30], 1.0 / N_ROLES), np.tile(start, (30, 1)))

    def _mix(self, x: NDArray[np.float32], role_prob: NDArray[Any], song: NDArray[Any]) -> Iterator[Feed]:
        lines = DelayLines(self.students.mix.delays_ticks(), self.max_channels, self.students.mix.size.width)
        inputs = mix_inputs(x, role_prob, song, self.max_channels)
        yield from (feed for feed, _ in roll(self.mix_tick, lines, inputs))
