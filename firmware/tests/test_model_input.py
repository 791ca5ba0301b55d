"""What a model is shown on the box is, to the bit, what training showed it of the same sound."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dsp_kernels.contract.layout import MODEL_INPUT_COLUMNS, default_params
from dsp_kernels.offline_features import extract
from firmware.engine import Engine
from firmware.inference.model_input import ModelInput
from firmware.observation import TICK_MS, ChannelSetup, Observation

RATE_HZ = 48000
TICK_FRAMES = RATE_HZ * TICK_MS // 1000
CHANNELS = [ChannelSetup(name="talker"), ChannelSetup(name="keys", is_stereo=True), ChannelSetup(name="click")]
STEREO = [c.is_stereo for c in CHANNELS]


def sound(n_ticks: int, seed: int = 1) -> NDArray[np.float32]:
    """Return a talker's rhythm in noise, two sides of a chord, and clicks: four lanes in a quiet room."""
    rng, t = np.random.default_rng(seed), np.arange(n_ticks * TICK_FRAMES) / RATE_HZ
    talker = rng.standard_normal(len(t)) * np.maximum(np.sin(2 * np.pi * 4 * t), 0) ** 2 * (t % 1.5 < 1.0) * 0.1
    left, right = (sum(np.sin(2 * np.pi * f * t + k) for f in (220.0, 277.2, 329.6)) * 0.05 for k in (0, 1))
    click = rng.standard_normal(len(t)) * np.exp(-60 * ((t - 0.113) % 0.37)) * 0.3
    room = rng.standard_normal((len(t), 4)) * 10 ** (-65 / 20)
    return (np.stack([talker, left, right, click], axis=1) + room).astype(np.float32)


def observations(x: NDArray[np.float32], trim_db: float = 0.0) -> list[Observation]:
    with Engine(sample_rate_hz=RATE_HZ, channels=CHANNELS) as engine:
        params = default_params()
        params["channel"]["input.trim_db"] = trim_db
        engine.publish(params)
        seen = []
        for start in range(0, len(x), TICK_FRAMES):
            engine.process(x[start : start + TICK_FRAMES])
            seen.append(engine.observe(start / RATE_HZ))
        return seen


def test_box_and_training_see_the_same_bits() -> None:
    x = sound(150)
    offline, shown = extract(x, RATE_HZ, STEREO), ModelInput(len(CHANNELS), STEREO)
    for tick, seen in enumerate(observations(x)):
        for name in ("log_mel_db", "bark_dbfs", "loudness_momentary_lufs", "onset", "is_active", "noise_floor_dbfs"):
            assert np.array_equal(seen.features[name], offline.records[tick][name]), f"{name} in tick {tick}"
        assert seen.mix_features.tobytes() == offline.mix_features[tick].tobytes()
        columns, of_all = shown.process(seen.features, seen.mix_features, np.zeros(len(CHANNELS)))
        assert np.array_equal(columns, offline.x[tick]), f"tick {tick}"
        assert np.array_equal(of_all, offline.m[tick]), f"tick {tick}"
    assert np.ptp(offline.x[:, :, :76], axis=0).max(axis=1).min() > 1, "nothing happened in the test's sound"


def test_a_trim_on_the_box_is_not_seen_by_the_model() -> None:
    x = sound(150)
    offline, shown = extract(x, RATE_HZ, STEREO), ModelInput(len(CHANNELS), STEREO)
    rows = [shown.process(o.features, o.mix_features, np.full(3, 9.0))[0] for o in observations(x, 9.0)]
    # Two thresholds in dBFS are behind the trim: when activity begins, and from where the noise floor rises.
    depends = {"noise_room", "fast_means", "slow_means"}
    difference = np.abs(np.stack(rows) - offline.x)[50:]
    for name, at in MODEL_INPUT_COLUMNS.items():
        if name not in depends:
            assert np.percentile(difference[..., at], 99) < 0.01, name


def test_each_onset_is_seen_in_exactly_one_tick() -> None:
    x = sound(150)
    seen = sum(o.features["onset"][2] for o in observations(x))
    assert seen == pytest.approx(3.0 / 0.37, abs=1.0)


def test_a_chord_shows_its_pitch_classes_to_control() -> None:
    last = observations(sound(100) * np.array([0, 1, 1, 0], np.float32))[-1]
    assert set(np.argsort(last.mix_features["chroma"])[-3:]) == {9, 1, 4}  # A, C sharp, E
