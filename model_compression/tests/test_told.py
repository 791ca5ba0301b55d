"""What the mix network is told of roles while it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dsp_kernels.contract.generated.contract import ROLES
from model_compression.nets.evidence import GIVEN_SHARE
from model_compression.nets.layout import N_ROLES
from model_compression.tests.mini_shards import write_data
from model_compression.training.context import Context
from model_compression.training.sessions import Sessions
from model_compression.training.told import ALIKE, MISHEARD_SHARE, STRANGER_SHARE, Strangers, as_strangers, named


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Sessions:
    return Sessions(
        write_data(tmp_path_factory.mktemp("data"), n_train=1, n_valid=2, n_ticks=200) / "valid", cache_mb=9
    )


def strangers_who_say(valid: Sessions, folder: Path, role: int) -> Strangers:
    """Everybody in ``valid`` is taken for ``role``."""
    context = Context(folder, ("role_log_prob",), temperature=1.0)
    for number, head in enumerate(valid.heads):
        said = np.full((4, head.n_channels, N_ROLES), -9.0, np.float16)
        said[..., role] = 0.0
        context.know(number, {"role_log_prob": said})
    return Strangers(valid, context)


def test_about_as_many_channels_as_promised_get_a_strangers_evidence(valid: Sessions, tmp_path: Path) -> None:
    head = valid.heads[0]
    role = np.repeat(head.role[head.active.any(axis=0)], 300)
    own = np.full((3, len(role), N_ROLES), 1.0 / N_ROLES, np.float32)
    strangers = strangers_who_say(valid, tmp_path, role=4)
    out = as_strangers(own, role, np.arange(3), strangers, np.random.default_rng(0))
    exchanged = out[0, :, 4] > 0.9
    assert exchanged.mean() == pytest.approx(STRANGER_SHARE, abs=0.05)
    np.testing.assert_array_equal(out[:, ~exchanged], own[:, ~exchanged])
    np.testing.assert_allclose(out.sum(axis=2), 1.0, atol=1e-5)


def test_some_channels_are_told_as_a_role_that_sounds_alike(valid: Sessions, tmp_path: Path) -> None:
    context = Context(tmp_path, ("role_log_prob",), temperature=1.0)
    for number, head in enumerate(valid.heads):  # each is heard as what it is
        said = np.log(np.eye(N_ROLES)[head.role] + 1e-4).astype(np.float16)
        context.know(number, {"role_log_prob": np.broadcast_to(said, (4, *said.shape))})
    present = {int(r) for head in valid.heads for r in head.role[head.active.any(axis=0)]}
    role = np.repeat(sorted(present), 2000)
    own = np.full((1, len(role), N_ROLES), 1.0 / N_ROLES, np.float32)
    out = as_strangers(own, role, np.arange(1), Strangers(valid, context), np.random.default_rng(0))
    heard, is_told = out[0].argmax(axis=1), out[0].max(axis=1) > 0.5
    wrong = is_told & (heard != role)
    pairs = {(ROLES[r], ROLES[h]) for r, h in zip(role[wrong], heard[wrong], strict=True)}
    assert pairs
    assert all(any(a in group and b in group for group in ALIKE) for a, b in pairs)
    assert MISHEARD_SHARE / 4 < wrong.mean() < MISHEARD_SHARE + 0.02  # some sound like nobody in so small a split


def test_every_role_sounds_like_another_one() -> None:
    assert all(any(name in group and len(group) > 1 for group in ALIKE) for name in ROLES)


def test_a_role_that_no_stranger_has_keeps_its_own_evidence(valid: Sessions, tmp_path: Path) -> None:
    missing = next(r for r in range(N_ROLES) if all(r not in head.role for head in valid.heads))
    role = np.full(50, missing)
    own = np.full((3, 50, N_ROLES), 1.0 / N_ROLES, np.float32)
    out = as_strangers(own, role, np.arange(3), strangers_who_say(valid, tmp_path, role=4), np.random.default_rng(0))
    np.testing.assert_array_equal(out, own)


def test_a_name_outweighs_what_was_heard_and_other_channels_keep_theirs() -> None:
    own = np.zeros((2, 3, N_ROLES), np.float32)
    own[..., 7] = 1.0
    told = named(own, np.array([1, 1, 1]), np.array([True, False, True]))
    np.testing.assert_allclose(told[:, 0, 1], GIVEN_SHARE)
    np.testing.assert_allclose(told[:, 0, 7], 1.0 - GIVEN_SHARE, atol=1e-6)
    np.testing.assert_array_equal(told[:, 1], own[:, 1])
