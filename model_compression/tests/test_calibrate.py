"""Calibration gathers opinions as the box does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model_compression.evaluation.model_runner import Opinion
from model_compression.nets.layout import IS_ACTIVE, N_ROLES
from model_compression.tests.mini_shards import write_data
from model_compression.training.calibrate import _gathered
from model_compression.training.sessions import Sessions


def test_the_mix_networks_opinion_is_the_one_a_player_gathers(tmp_path: Path) -> None:
    session = Sessions(write_data(tmp_path, n_train=1, n_valid=1, n_ticks=120) / "train", cache_mb=9)[0]
    logits = np.random.default_rng(3).normal(0.0, 3.0, (session.n_ticks, session.n_channels, N_ROLES))
    opinion = Opinion(session.n_channels, {"temperature": 0.7})
    for tick in range(session.n_ticks):
        for ch in np.flatnonzero(session.x[tick, :, IS_ACTIVE] > 0):
            opinion.hear(int(ch), logits[tick, ch], 0.02)
    gathered = _gathered(logits, session, 0.7)
    assert np.ptp(gathered[-1]) > 0.01
    np.testing.assert_allclose(gathered[-1], opinion.prob, atol=1e-9)
