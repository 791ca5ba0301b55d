"""Networks that never met a part of the instruments, kits and voices, asked about just those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.nets.evidence import RoleEvidence, sound_of
from model_compression.nets.layout import IS_ACTIVE, LEVEL_NOW, N_OUTPUT, N_ROLES, TICK_S
from model_compression.tests.mini_shards import write_data
from model_compression.training.context import EVIDENCE_STRIDE_TICKS
from model_compression.training.deal import N_PARTS, Deal
from model_compression.training.recipe import Stage, load_recipe
from model_compression.training.sessions import Clip, Head, Sessions

CROWD = 77  # a family that makes all of a role


@pytest.fixture
def train(tmp_path: Path) -> Sessions:
    return Sessions(write_data(tmp_path, n_train=3, n_valid=1, n_ticks=100) / "train", cache_mb=9)


class Cast:
    """Channels by family and role, a session and a clip each, in shards of their own."""

    def __init__(self, played: list[tuple[int, int]]) -> None:
        active = np.ones((2, 1), np.bool_)
        self.heads = [
            Head(
                path=Path(),
                prefix="",
                shard=shard,
                role=np.array([role], np.int16),
                family=np.array([family], np.uint32),
                active=active,
                difficulty=0.0,
            )
            for shard, (family, role) in enumerate(played)
        ]
        empty = np.zeros((2, 104), np.int8)
        self.clips = [
            Clip(shard=shard, x=empty, role=role, family=family, active=active[:, 0])
            for shard, (family, role) in enumerate(played)
        ]


def deal(played: list[tuple[int, int]]) -> tuple[Deal, Cast]:
    cast = Cast(played)
    return Deal(cast.heads, cast.clips), cast


def test_a_family_is_in_one_part_wherever_it_plays() -> None:
    dealt, cast = deal([(family, role) for role in (3, 4) for family in (5, 6, 7, 8, 9, 10)] * 2)
    parts: dict[int, set[int]] = {}
    for head, clip in zip(cast.heads, cast.clips, strict=True):
        parts.setdefault(int(head.family[0]), set()).update({*dealt.of_channels(head).tolist(), dealt.of_clip(clip)})
    assert all(len(part) == 1 for part in parts.values())
    assert sorted(part for each in parts.values() for part in each) == [0, 0, 1, 1, 2, 2], "two of six families each"


def test_each_role_is_dealt_as_evenly_as_its_families_allow() -> None:
    rng = np.random.default_rng(4)
    played = [(int(rng.integers(1, 12)) + 20 * role, role) for role in range(N_ROLES) for _ in range(40)]
    dealt, cast = deal(played)
    count = np.zeros((N_PARTS, N_ROLES))
    for head in cast.heads:
        count[dealt.of_channels(head)[0], head.role[0]] += 1
    np.testing.assert_allclose(count, 40 / N_PARTS, atol=7)


@pytest.mark.parametrize("family", [0, CROWD], ids=["no family", "one that makes all of its role"])
def test_who_cannot_be_missed_is_dealt_by_shards(family: int) -> None:
    dealt, cast = deal([(family, 19)] * 7)
    assert [int(dealt.of_channels(head)[0]) for head in cast.heads] == [0, 1, 2, 0, 1, 2, 0]
    assert [dealt.of_clip(clip) for clip in cast.clips] == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("part", range(N_PARTS))
def test_a_network_learns_from_no_sound_of_the_part_that_is_left_out(train: Sessions, part: int) -> None:
    from model_compression.training.batches import role_batches

    dealt = Deal(train.heads, train.clips)
    for number, head in enumerate(train.heads):
        train[number].x[:, dealt.of_channels(head) == part] = 99
    for clip in train.clips:
        clip.x[:] = 99 if dealt.of_clip(clip) == part else 0
    stage = Stage(size={}, steps=1, batch=300)
    heard = role_batches(train, load_recipe("mini"), stage, is_training=False, without=part)(0)["patch"]
    assert not (heard == np.float32(99 / 127)).all(axis=(1, 2)).any()
    heard = role_batches(train, load_recipe("mini"), stage, is_training=False)(0)["patch"]
    assert (heard == np.float32(99 / 127)).all(axis=(1, 2)).any()


class Saying:
    """A network that says its number of every patch."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, patch: Any) -> Any:
        import tensorflow as tf

        return tf.fill((tf.shape(patch)[0], N_OUTPUT["role"]), float(self.number))


def test_of_each_channel_that_network_is_asked_which_was_kept_from_it(train: Sessions) -> None:
    from model_compression.training.strangers import outputs_on_strangers

    session, parts = train[0], np.resize([2, 0, 2, 1], train[0].n_channels)
    out = outputs_on_strangers([Saying(k) for k in range(N_PARTS)], session, parts)
    assert out.shape == (7, session.n_channels, N_OUTPUT["role"])
    np.testing.assert_array_equal(out, np.broadcast_to(parts[None, :, None], out.shape))


def test_evidence_over_a_session_is_what_the_box_would_have_gathered_tick_by_tick(train: Sessions) -> None:
    from model_compression.training.asking import evidence_of

    session, rng = train[0], np.random.default_rng(6)
    session.x[:, :, LEVEL_NOW] = rng.integers(-127, 40, session.x.shape[:2])
    ends = np.arange(0, session.n_ticks, EVIDENCE_STRIDE_TICKS)
    outputs = rng.normal(0.0, 2.0, (len(ends), session.n_channels, N_OUTPUT["role"])).astype(np.float32)
    gathered, x = RoleEvidence(session.n_channels), session.x * np.float32(1 / 127)
    active_s, sound_s = np.zeros((2, session.n_channels))
    for tick in range(ends[-1] + 1):
        active_s += TICK_S * (x[tick, :, IS_ACTIVE] > 0)
        sound_s += sound_of(x[tick])
        if tick % EVIDENCE_STRIDE_TICKS == 0:
            run = tick // EVIDENCE_STRIDE_TICKS
            gathered.add(np.arange(session.n_channels), outputs[run], active_s, sound_s)
            kept = evidence_of(outputs[: run + 1], session)[-1].astype(np.float64)
            np.testing.assert_allclose(kept, gathered.mean_log_prob(), atol=5e-3)
            active_s[:], sound_s[:] = 0.0, 0.0
