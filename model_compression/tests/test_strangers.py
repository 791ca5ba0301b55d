"""Networks that never met a part of the instruments, kits and voices, asked about just those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.nets.layout import N_OUTPUT
from model_compression.tests.mini_shards import write_data
from model_compression.training.recipe import Stage, load_recipe
from model_compression.training.sessions import N_PARTS, NOBODY, Sessions, part_of


@pytest.fixture
def train(tmp_path: Path) -> Sessions:
    return Sessions(write_data(tmp_path, n_train=3, n_valid=1, n_ticks=100) / "train", cache_mb=9)


def test_a_family_is_in_one_part_and_who_has_none_in_no_part() -> None:
    parts = part_of(np.array([0, 1, 2, 3, 4], np.uint32))
    assert parts.tolist() == [NOBODY, 1, 2, 0, 1]
    assert set(part_of(np.arange(1, 100)).tolist()) == set(range(N_PARTS))


@pytest.mark.parametrize("part", range(N_PARTS))
def test_a_network_learns_from_no_sound_of_the_part_that_is_left_out(train: Sessions, part: int) -> None:
    from model_compression.training.batches import role_batches

    for number, head in enumerate(train.heads):
        train[number].x[:, part_of(head.family) == part] = 99
    for clip in train.clips:
        clip.x[:] = 99 if part_of(clip.family) == part else 0
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


def test_of_each_channel_that_network_is_asked_which_never_met_it(train: Sessions) -> None:
    from model_compression.training.strangers import outputs_on_strangers

    session = train[0]
    out = outputs_on_strangers([Saying(k) for k in range(N_PARTS)], session)  # type: ignore[misc]
    assert out.shape == (7, session.n_channels, N_OUTPUT["role"])
    wanted = np.maximum(part_of(session.family), 0)
    np.testing.assert_array_equal(out, np.broadcast_to(wanted[:, None], out.shape).astype(np.float32))
