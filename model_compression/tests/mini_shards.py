"""Small shards of plausible statistics: roles, sections and faults leave their mark in the columns to be learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dsp_kernels.contract.generated.contract import GENRES, KEYS, ROLES, SECTIONS
from model_compression.data.shards import FORMAT
from model_compression.nets.layout import (
    HEARD,
    IS_ACTIVE,
    LOUDNESS_RANK,
    LOUDNESS_VS_MEAN,
    MEL_NOW,
    MEL_SLOW,
    N_MIX_INPUT,
    N_MODEL_INPUT,
    SLOW_LOUDNESS,
    TICK_S,
)
from model_compression.training.files import write_arrays, write_text

N_ROLES_USED = 8
CLIP = ("x", "role", "family", "active")


def write_data(folder: Path, *, n_train: int = 5, n_valid: int = 2, n_ticks: int = 400, seed: int = 3) -> Path:
    """Write a data set of two splits; return its folder."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", n_train), ("valid", n_valid)):
        arrays: dict[str, Any] = {}
        for k in range(count):
            session = make_session(rng, n_ticks=n_ticks, n_channels=int(rng.integers(3, 5)))
            arrays |= {f"s{k}_{name}": value for name, value in session.items()}
        arrays["n_items"] = np.array(count)
        (folder / split).mkdir(parents=True, exist_ok=True)
        write_arrays(folder / split / "shard_0000.npz", arrays)
        clip = make_session(rng, n_ticks=120, n_channels=4)
        clips = {
            f"c{k}_{name}": clip[name][..., k, :] if name == "x" else clip[name][..., k]
            for k in range(4)
            for name in CLIP
        }
        write_arrays(folder / split / "clips_0000.npz", {**clips, "n_items": np.array(4)})
    write_text(
        folder / "index.json", json.dumps({"format": FORMAT, "recipe": "mini", "seed": seed, "n_ticks": n_ticks})
    )
    return folder


def make_session(rng: np.random.Generator, *, n_ticks: int, n_channels: int) -> dict[str, Any]:
    """One session: what a shard holds of it."""
    role = rng.integers(0, N_ROLES_USED, n_channels)
    marks = np.random.default_rng(11).uniform(-0.7, 0.7, (len(ROLES), N_MODEL_INPUT))
    genre, section = int(rng.integers(len(GENRES))), np.zeros(n_ticks, np.int8)
    section[n_ticks // 2 :] = 1 + int(rng.integers(len(SECTIONS) - 1))
    active = rng.random((n_ticks // 25 + 1, n_channels)).repeat(25, axis=0)[:n_ticks] < 0.8
    x = marks[role][None] + rng.normal(0.0, 0.15, (n_ticks, n_channels, N_MODEL_INPUT))
    x[..., MEL_NOW] -= 0.5 * ~active[..., None]
    x[..., IS_ACTIVE] = 2.0 * active - 1.0
    loudness_db = rng.uniform(-45.0, -15.0, n_channels)
    x[..., SLOW_LOUDNESS] = (loudness_db + 30.0) / 40.0
    x[..., LOUDNESS_VS_MEAN] = (loudness_db - loudness_db.mean()) / 30.0
    x[..., LOUDNESS_RANK] = 2.0 * np.argsort(np.argsort(loudness_db)) / max(n_channels - 1, 1) - 1.0
    x[..., HEARD] = np.log2(1.0 + np.cumsum(active, axis=0) * TICK_S) / 6.0
    eq_fault_db = rng.uniform(-6.0, 6.0, (n_channels, 4))
    x[..., MEL_SLOW.start : MEL_SLOW.start + 4] += eq_fault_db / 12.0
    period = int(rng.integers(20, 35))
    beat = np.zeros(n_ticks, np.uint8)
    beat[::period], beat[:: 4 * period] = 1, 2
    m = rng.normal(0.0, 0.2, (n_ticks, N_MIX_INPUT))
    m[:, 32:40] += 0.8 * (beat > 0)[:, None]
    m[:, 12 + genre] += 0.6
    m[:, 22 + section[:, None]] += 0.3
    lead = int(np.argmin(role))
    importance = np.where(np.arange(n_channels) == lead, 255, 100) * active
    n_seconds = -(-n_ticks // 50)
    offset_lu = np.where(np.arange(n_channels) == lead, 0.0, -2.0 - role) + np.zeros((3, n_seconds, 1))
    return {
        "x": _as_int8(x),
        "m": _as_int8(m),
        "role": role.astype(np.int16),
        "family": (10 * role + np.arange(n_channels) % 3).astype(np.uint32),
        "active": active,
        "importance": importance.astype(np.uint8),
        "offset_lu": offset_lu.astype(np.float16),
        "pan_abs": np.tile(np.minimum(role / 8.0, 1.0), (3, 1)).astype(np.float32),
        "tone_db": np.clip(-eq_fault_db, -6.0, 6.0).astype(np.float32),
        "compressor": np.stack([-5.0 - role, 2.0 + role / 4.0], axis=1).astype(np.float32),
        "send_db": (np.zeros((3, n_seconds, 1)) - 30.0 + 2.0 * role).astype(np.float16),
        "sigma": np.array([1.5, 0.1, 1.0, 2.0, 3.0], np.float32),
        "genre": np.array(genre),
        "scene_kind": np.array(1),
        "section": section,
        "boundary": np.arange(n_ticks) == n_ticks // 2,
        "beat": beat,
        "key": np.array(int(rng.integers(len(KEYS)))),
        "tempo_bpm": np.array(3000.0 / period),
        "is_bleed": ~active & (rng.random(n_channels) < 0.3),
        "bleed_db": np.full((n_channels, n_channels), -30.0, np.float16),
        "gain_fault_db": rng.uniform(-10.0, 10.0, n_channels).astype(np.float32),
        "eq_fault_db": eq_fault_db.astype(np.float32),
    }


def _as_int8(values: Any) -> Any:
    return np.rint(127.0 * np.clip(values, -1.0, 1.0)).astype(np.int8)
