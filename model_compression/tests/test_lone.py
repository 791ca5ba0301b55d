"""A channel alone, as the mix network learns of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.nets.layout import LOGIT_SCALE, MIX_HEADS, N_OUTPUT, N_ROLES
from model_compression.tests.mini_shards import write_data
from model_compression.training.context import EVIDENCE_STRIDE_TICKS, Context
from model_compression.training.files import write_arrays
from model_compression.training.lone import FILE, LONE_SHARE, LoneClips
from model_compression.training.recipe import Stage, load_recipe
from model_compression.training.sessions import Sessions

STAGE = Stage(size={}, steps=8, batch=40, n_ticks=24, report_every=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), n_train=2, n_valid=1, n_ticks=200)


def clips_that_say(sessions: Sessions, folder: Path, role: int) -> LoneClips:
    """Every clip is taken for ``role``."""
    counts = [-(-len(clip.x) // EVIDENCE_STRIDE_TICKS) for clip in sessions.clips]
    grid = np.full((sum(counts), N_ROLES), -9.0, np.float16)
    grid[:, role] = 0.0
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder / FILE, {"grid": grid, "ends": np.cumsum(counts)})
    return LoneClips(sessions.clips, folder, temperature=1.0)


def known(sessions: Sessions, folder: Path) -> Context:
    """Return what a role network that knows nothing leaves, and no song."""
    context = Context(folder, (), temperature=1.0)
    for number, head in enumerate(sessions.heads):
        log_prob = np.zeros((20, head.n_channels, N_ROLES), np.float16)
        context.know(number, {"role_log_prob": log_prob, "song": np.zeros((len(head.active), 20), np.float32)})
    return context


def batch_of(data: Path, folder: Path) -> dict[str, Any]:
    from model_compression.training.batches import mix_batches

    train, valid = (Sessions(data / split, cache_mb=9) for split in ("train", "valid"))
    lone = clips_that_say(train, folder / "train", 4), clips_that_say(valid, folder / "valid", 5)
    return mix_batches(train, known(train, folder), load_recipe("mini"), STAGE, lone=lone)(7)


def test_some_rows_are_clips_alone_with_their_evidence_or_a_strangers(data: Path, tmp_path: Path) -> None:
    batch = batch_of(data, tmp_path)
    lone = batch["is_lone"] > 0
    assert 0 < lone.sum() < 3 * LONE_SHARE * STAGE.batch
    assert (batch["mask"][lone].sum(axis=1) == 1).all()
    assert (batch["mask"][~lone].sum(axis=1) > 1).all()
    assert set(batch["role_prob"][lone][:, 0, 0].argmax(axis=1)) <= {4, 5}
    assert not batch["weight"][lone].any(), "nobody knows how loud one channel is to be"
    assert batch["role_weight"][lone].max() > 0
    np.testing.assert_array_equal(batch["role_weight"][~lone], batch["weight"][~lone])


def test_a_lone_clip_teaches_its_role_and_nothing_of_the_mix(data: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    from model_compression.training.losses import mix_losses

    batch = batch_of(data, tmp_path)
    lone = batch["is_lone"] > 0
    batch = {k: tf.constant(v) for k, v in batch.items()}
    shape = (*batch["role_weight"].shape, N_OUTPUT["mix"])
    batch["teacher"] = tf.zeros(shape)
    y = tf.constant(np.random.default_rng(1).uniform(-0.5, 0.5, shape).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(y)
        total = sum(mix_losses(y, batch, 0.5).values())
    slope = np.abs(tape.gradient(total, y).numpy()[lone]).max(axis=(0, 1, 2))
    taught = np.flatnonzero(slope)
    heads = [MIX_HEADS[name].columns for name in ("role", "activity", "bleed")]
    assert set(taught) <= {k for columns in heads for k in range(columns.start, columns.stop)}
    assert slope[MIX_HEADS["role"].columns].all()


class Surer:
    """Says of each channel what it was told, or the next role, far surer than it was told."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead

    def __call__(self, x: Any, role_prob: Any, song: Any, mask: Any) -> Any:
        import tensorflow as tf

        role = (tf.argmax(role_prob, axis=-1) + self.ahead) % N_ROLES
        logits = tf.one_hot(role, N_ROLES) * 8.0 / LOGIT_SCALE
        return tf.concat([tf.zeros((*role.shape, MIX_HEADS["role"].first)), logits], axis=-1)

    def delays_ticks(self) -> tuple[int, ...]:
        return ()


@pytest.mark.parametrize(("ahead", "least", "most"), [(0, 0.5, 0.9), (1, 0.0, 0.0)])
def test_the_mix_network_has_the_share_in_roles_that_it_deserves(
    data: Path, tmp_path: Path, ahead: int, least: float, most: float
) -> None:
    from model_compression.training.calibrate import context_share

    valid = Sessions(data / "valid", cache_mb=9)
    context = known(valid, tmp_path)
    for number, head in enumerate(valid.heads):
        context.of(number)["role_log_prob"][:, np.arange(head.n_channels), head.role] = 1.5
    eye = 1.5 * np.eye(N_ROLES)
    grids = [eye[[clip.role] * -(-len(clip.x) // EVIDENCE_STRIDE_TICKS)] for clip in valid.clips]
    write_arrays(tmp_path / FILE, {"grid": np.concatenate(grids), "ends": np.cumsum([len(g) for g in grids])})
    lone = LoneClips(valid.clips, tmp_path, temperature=1.0)
    assert least <= context_share(Surer(ahead), valid, context, lone) <= most  # type: ignore[arg-type]
