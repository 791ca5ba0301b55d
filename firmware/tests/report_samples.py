"""A made-up render for the tests of the report: what a collector saw, and the record and decisions that go with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsp_kernels.contract.layout import (
    BUS_METERS_DTYPE,
    CHANNEL_METERS_DTYPE,
    FEATURES_DTYPE,
    MIX_FEATURES_DTYPE,
    default_params,
)
from firmware.observation import ChannelSetup, Loudness, Observation
from firmware.report import Collector

RATE_HZ = 48000
TICK_S = 0.02


def collected(channels: list[ChannelSetup], duration_s: float, seed: int = 1) -> Collector:
    """Return a collector after ``duration_s`` of noise, coloured differently in each channel."""
    random = np.random.default_rng(seed)
    collector = Collector(channels, round(duration_s * RATE_HZ), RATE_HZ, TICK_S)
    n_channels, n_ticks = len(channels), round(duration_s / TICK_S)
    params = default_params()
    faders_db = np.cumsum(random.normal(0.0, 0.15, (n_ticks, n_channels)), axis=0)
    for tick in range(n_ticks):
        params["channel"]["fader.level_db"][:n_channels] = faders_db[tick]
        collector.see(_observation(tick, n_channels, random), params, np.full((n_channels, 24), 0.7, np.float32))
    n_lanes = sum(2 if c.is_stereo else 1 for c in channels)
    for _ in range(max(1, round(duration_s))):
        n_frames = min(RATE_HZ, round(duration_s * RATE_HZ))
        block = random.normal(0.0, 0.1, (n_frames, n_lanes)).astype(np.float32)
        block[1:] += 0.9 * block[:-1]
        strips = np.repeat(block[:, :1], 2 * n_channels, axis=1) * np.linspace(0.2, 1.0, 2 * n_channels, dtype="f4")
        collector.hear(block, strips, strips[:, :2] * 0.5)
    return collector


def _observation(tick: int, n_channels: int, random: np.random.Generator) -> Observation:
    features = np.zeros(n_channels, FEATURES_DTYPE)
    features["bark_dbfs"] = (
        -40.0
        - 20.0 * random.random((n_channels, 24))
        - np.abs(np.arange(24) - 24 * np.arange(n_channels)[:, None] / max(n_channels, 1))
    )
    features["rms_dbfs"] = -20.0
    meters = np.zeros(n_channels, CHANNEL_METERS_DTYPE)
    meters["automix_gain_db"] = -9.0 * (np.sin(tick / 150.0 + np.arange(n_channels) * 2.0) > 0.0)
    meters["output_rms_dbfs"] = -30.0 + 8.0 * np.sin(tick / 40.0 + np.arange(n_channels))
    buses = np.zeros(12, BUS_METERS_DTYPE)
    lufs = -16.0 + 3.0 * np.sin(tick / 60.0) + random.normal(0.0, 0.6)
    return Observation(
        time_s=(tick + 1) * TICK_S,
        features=features,
        mix_features=np.zeros((), MIX_FEATURES_DTYPE),
        channel_meters=meters,
        bus_meters=buses,
        loudness=Loudness(
            momentary_lufs=lufs,
            short_term_lufs=-16.0 + 2.0 * np.sin(tick / 60.0 - 0.5),
            integrated_lufs=-16.0,
            loudness_range_lu=4.2,
            sample_peak_dbfs=-1.5,
            true_peak_dbtp=-1.2,
        ),
    )


def record(channels: list[ChannelSetup], duration_s: float) -> dict[str, Any]:
    """Return what ``--json`` would print."""
    return {
        "duration_s": duration_s,
        "sample_rate_hz": RATE_HZ,
        "realtime_factor": 61.3,
        "integrated_lufs": -16.03,
        "loudness_range_lu": 4.2,
        "true_peak_dbtp": -1.21,
        "model": "none",
        "channels": [
            {
                "name": channel.name,
                "role": channel.role or "other",
                "role_confidence": 0.8,
                "gain_db": -3.4 + index,
                "pan": (-1) ** index * index / 16,
                "sends": {"reverb_db": -18.0},
                "eq": [{"type": "bell", "freq_hz": 2500.0, "gain_db": -3.0, "q": 1.4}],
                "gate": None,
                "compressor": {"threshold_dbfs": -22.0, "ratio": 3.0, "attack_ms": 12.0, "release_ms": 150.0},
                "reasons": ["high-pass at 90 Hz: a voice has nothing below"],
            }
            for index, channel in enumerate(channels)
        ],
    }


def decisions(channels: list[ChannelSetup], duration_s: float, n_decisions: int) -> list[dict[str, Any]]:
    """Return lines of a decision log, spread over the time."""
    moves = [
        ("fader.level_db", "too quiet beside the lead, 4.1 LU under its place"),
        ("eq.3.gain_db", "masks lead vocal 2-4 kHz, 12 of last 20 s"),
        ("compressor.threshold_dbfs", "crest factor 18 dB"),
        ("pan.position", "shares its band with two others"),
        ("automix.weight_db", "speaks most"),
        ("input.delay_ms", "the same voice arrives 2.1 ms later here"),
    ]
    lines = []
    for number in range(n_decisions):
        parameter, cause = moves[number * 7 % len(moves)]
        index = number * 5 % len(channels)
        lines.append(
            {
                "id": number,
                "time_s": duration_s * (number + 0.5) / n_decisions,
                "scope": "channel",
                "index": index,
                "channel": channels[index].name,
                "parameter": parameter,
                "from": 0.0,
                "to": -2.5,
                "unit": "dB",
                "cause": cause,
                "evidence": {"level_lu": -4.1},
                "confidence": 0.8,
                "source": "rules",
                "rule": "balance",
            }
        )
    return lines
