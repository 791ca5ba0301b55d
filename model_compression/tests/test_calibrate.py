"""Calibration gathers opinions as the box does, and gives the mix network the share in roles that it deserves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_compression.nets.evidence import log_softmax
from model_compression.nets.layout import IS_ACTIVE, LEVEL_NOW, LOGIT_SCALE, MIX_HEADS, N_OUTPUT, N_ROLES, SIGMA_GROUPS
from model_compression.tests.mini_shards import write_data
from model_compression.training.context import Context
from model_compression.training.sessions import Sessions


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Sessions:
    data = write_data(tmp_path_factory.mktemp("data"), n_train=1, n_valid=1, n_ticks=240)
    return Sessions(data / "valid", cache_mb=9)


def test_the_mix_networks_opinion_is_the_mean_of_what_it_said_weighed_by_loudness_and_age(valid: Sessions) -> None:
    from model_compression.training.calibrate import gathered

    session = valid[0]
    logits = np.random.default_rng(3).normal(0.0, 3.0, (session.n_ticks, session.n_channels, N_ROLES))
    found = gathered(logits, session)[-1]
    for ch in range(session.n_channels):
        said = log_softmax(logits[session.x[:, ch, IS_ACTIVE] > 0, ch])
        level_db = 30.0 / 127.0 * session.x[session.x[:, ch, IS_ACTIVE] > 0, ch, LEVEL_NOW]
        age_s = 0.02 * np.arange(len(said))[::-1]
        weight = np.minimum(10.0 ** (level_db / 10.0), 10.0) * np.exp(-age_s / 20.0)
        seconds = 0.02 * np.exp(-age_s / 20.0).sum()
        wanted = weight @ said / weight.sum() * seconds / (seconds + 0.5)
        assert np.ptp(wanted) > 0.01
        np.testing.assert_allclose(found[ch], wanted, rtol=1e-5)


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


@pytest.mark.parametrize(("ahead", "least", "most"), [(0, 0.9, 0.95), (1, 0.0, 0.0)])
def test_the_mix_network_has_the_share_in_roles_that_it_deserves(
    valid: Sessions, tmp_path: Path, ahead: int, least: float, most: float
) -> None:
    from model_compression.training.calibrate import context_share

    context, head = Context(tmp_path, (), temperature=1.0), valid.heads[0]
    log_prob = np.zeros((15, head.n_channels, N_ROLES), np.float16)
    log_prob[:, np.arange(head.n_channels), head.role] = 1.5
    context.know(0, {"role_log_prob": log_prob, "song": np.zeros((240, 20), np.float32)})
    assert least <= context_share(Surer(ahead), valid, context) <= most  # type: ignore[arg-type]


def test_interval_of_the_compressor_holds_nine_of_ten_thresholds_whatever_the_ratio_does() -> None:
    from model_compression.training.calibrate import COVERED, COVERED_SIGMAS, sigma_scale
    from model_compression.training.losses import ln_sigmas

    rng = np.random.default_rng(1)
    threshold, ratio = (MIX_HEADS[f"compressor_{name}"].columns for name in ("threshold_db", "log2_ratio"))
    outputs = np.zeros((4000, N_OUTPUT["mix"]), np.float32)
    truth = np.zeros((4000, 15), np.float32)
    truth[:, threshold] = rng.uniform(-0.5, 0.5, (4000, 1))
    truth[:, ratio] = rng.uniform(-1.0, 1.0, (4000, 1))
    scale = sigma_scale(outputs, truth, np.ones(4000, np.float32))[SIGMA_GROUPS.index("compressor")]
    sigma = np.exp(ln_sigmas(outputs[:1]).numpy())[0, threshold] * scale
    is_inside = np.abs(truth[:, threshold]) <= COVERED_SIGMAS * sigma
    assert is_inside.mean() == pytest.approx(COVERED, abs=0.01)
