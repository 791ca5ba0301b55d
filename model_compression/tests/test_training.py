"""Training: stopped or not, the same weights; a wrong recipe or shard is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.errors import ModelError
from model_compression.tests.mini_shards import write_data
from model_compression.training.recipe import RECIPES, Stage, load_recipe
from model_compression.training.sessions import Sessions

STAGE = Stage(size={}, steps=8, batch=8, report_every=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), n_train=2, n_valid=1, n_ticks=200)


def fit_role(data: Path, folder: Path, *, stop_at: int | None = None) -> dict[str, Any]:
    from model_compression.training.batches import role_batches
    from model_compression.training.files import read_arrays
    from model_compression.training.fit import fit, settle
    from model_compression.training.losses import ROLE_TASKS, role_losses
    from model_compression.training.students import build

    settle(1)
    net = build("role", {"picture": (4, 6), "track": (4, 4), "hidden": 8}, np.random.default_rng(1))
    batches = role_batches(Sessions(data / "train", cache_mb=100), load_recipe("mini"), STAGE)

    def stopping(step: int) -> Any:
        if stop_at is not None and step >= stop_at:
            raise KeyboardInterrupt
        return batches(step)

    fit(
        "role",
        net,
        lambda batch: role_losses(net(batch["patch"], training=True), batch, None, 0.0),
        stopping,
        STAGE,
        folder,
        tasks=ROLE_TASKS,
        is_quiet=True,
    )
    return read_arrays(folder / "weights.npz")


def test_nothing_rewrites_the_graph_of_a_training_since_that_is_not_the_same_twice() -> None:
    import tensorflow as tf

    from model_compression.training.fit import settle

    settle(1)
    assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is True


def test_a_stopped_training_ends_with_the_very_weights_of_an_unbroken_one(data: Path, tmp_path: Path) -> None:
    whole = fit_role(data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit_role(data, tmp_path / "stopped", stop_at=6)
    assert not (tmp_path / "stopped" / "weights.npz").exists()
    resumed = fit_role(data, tmp_path / "stopped")
    assert sorted(whole) == sorted(resumed)
    for name, values in whole.items():
        np.testing.assert_array_equal(resumed[name], values, err_msg=name)
    for name in ("whole", "stopped"):
        assert len((tmp_path / name / "metrics.jsonl").read_text().splitlines()) == 2


def test_half_of_a_roles_patches_are_clips_where_it_has_some(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from model_compression.training import batches

    sessions = Sessions(data / "train", cache_mb=100)
    lone = {clip.role for clip in sessions.clips if clip.active.any()}
    played = {int(r) for head in sessions.heads for r in head.role}
    for clip in sessions.clips:
        clip.x[:] = 127
    stage = Stage(size={}, steps=1, batch=400)
    batch = batches.role_batches(sessions, load_recipe("mini"), stage, is_training=False)(0)
    is_clip = (batch["patch"] == 1.0).all(axis=(1, 2))
    both = np.isin(batch["role"], sorted(lone & played))
    assert both.any()
    assert is_clip[both].mean() == pytest.approx(batches.CLIP_SHARE, abs=0.1)
    assert is_clip[np.isin(batch["role"], sorted(lone - played))].all()
    assert not is_clip[np.isin(batch["role"], sorted(played - lone))].any()


def test_sessions_come_back_from_shards_and_old_ones_leave_the_cache(data: Path) -> None:
    kept, tight = Sessions(data / "train", cache_mb=100), Sessions(data / "train", cache_mb=0)
    assert len(kept) == 2
    for number in (0, 1, 0):
        np.testing.assert_array_equal(kept[number].x, tight[number].x)
    assert len(tight._cache) == 1


@pytest.mark.parametrize("name", sorted(p.stem for p in RECIPES.glob("*.toml") if p.stem != "wide"))
def test_every_recipe_of_ours_that_trains_is_complete(name: str) -> None:
    every = {f"{n}.{w}" for n in ("role", "song", "mix") for w in ("teacher", "student")}
    assert every - set(load_recipe(name).stages) <= {"role.teacher"}  # who copies nobody needs no teacher


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("steps = 30", "stepps = 30"), "stepps"),
        (("[quantise]", "[quantize]"), "quantise"),
        (("[song.teacher]", "[song.master]"), "teacher"),
        (("seed = 7", "seed = ["), "recipe"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(change: tuple[str, str], word: str, tmp_path: Path) -> None:
    text = (RECIPES / "mini.toml").read_text()
    assert change[0] in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(*change))
    with pytest.raises(ModelError, match=word):
        load_recipe(str(path))


def test_a_missing_recipe_lists_those_there_are() -> None:
    with pytest.raises(ModelError, match="large, mini, small"):
        load_recipe("huge")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 rubbish"])
def test_a_broken_shard_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "shard_0000.npz").write_bytes(content)
    with pytest.raises(ModelError, match="shard_0000"):
        Sessions(tmp_path, cache_mb=1)


def test_no_shards_at_all_names_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="evenhand-model data"):
        Sessions(tmp_path, cache_mb=1)
