"""Small sessions, shards and folders to evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES
from model_compression.evaluation.sessions import Session

RATE_HZ = 48000


def band_noise(low_hz: float, high_hz: float, seconds: float, seed: int, rms: float = 0.05) -> NDArray[np.float32]:
    """Noise between two frequencies, ``(n_frames, 1)``."""
    n = int(seconds * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    freq_hz = np.fft.rfftfreq(n, 1 / RATE_HZ)
    spectrum[(freq_hz < low_hz) | (freq_hz > high_hz)] = 0
    x = np.fft.irfft(spectrum, n)
    return np.asarray((x * rms / np.sqrt(np.mean(x**2)))[:, None], np.float32)


def small_session(seconds: float = 4.0, **changes: Any) -> Session:
    """Return a voice, a bass and a synth, whose reference is their sum."""
    stems = [
        band_noise(300, 3000, seconds, 1),
        band_noise(50, 200, seconds, 2, 0.2),
        band_noise(1000, 8000, seconds, 3, 0.02),
    ]
    fields: dict[str, Any] = {
        "name": "small", "sample_rate_hz": RATE_HZ, "stems": stems, "roles": ["vocal_lead", "bass", "synth"],
        "names": ["vox", "bass", "synth"], "reference": np.repeat(np.sum(stems, axis=0), 2, axis=1) / np.sqrt(2),
    }  # fmt: skip
    return Session(**(fields | changes))


def write_manifest(folder: Path) -> Path:
    """Two songs, one of finished stems and one with a human mix, and two clips."""
    session = small_session(2.0)
    tracks = []
    for stem, role, name in zip(session.stems, session.roles, session.names, strict=True):
        soundfile.write(folder / f"{name}.wav", stem, RATE_HZ, subtype="FLOAT")
        tracks.append({"file": f"{name}.wav", "role": role, "dur_s": 2.0})
    assert session.reference is not None
    soundfile.write(folder / "human.wav", session.reference * 0.5, RATE_HZ, subtype="FLOAT")
    reference = {"file": "human.wav", "system": "human", "kind": "human_mix"}
    sets = [
        {"id": "finished", "kind": "multitrack", "tracks": tracks, "human_mix_note": "the sum is the mix"},
        {"id": "dry", "kind": "multitrack+automix", "tracks": tracks, "references": [reference]},
        {"id": "clips", "kind": "instrument-role clips", "tracks": [tracks[1], {**tracks[2], "role": "keys"}]},
        {"id": "rooms", "kind": "room impulse responses", "tracks": []},
    ]
    path = folder / "manifest.json"
    path.write_text(json.dumps({"sets": sets}))
    return path


def arrays_of(seed: int, n_channels: int = 4, seconds: int = 12) -> dict[str, NDArray[Any]]:
    """Return the arrays of a generated session, at random."""
    rng = np.random.default_rng(seed)
    n_ticks = 50 * seconds
    active = np.zeros((n_ticks, n_channels), bool)
    active[50:] = True
    active[:, -1] = False
    x = rng.integers(-127, 128, (n_ticks, n_channels, 104)).astype(np.int8)
    x[:, :, 71] = np.where(active, 127, -127)
    bleed = np.full((n_channels, n_channels), -100.0, np.float16)
    bleed[0, 1] = -10.0
    beat = np.zeros(n_ticks, np.uint8)
    beat[::25], beat[::100] = 1, 2
    boundary = np.zeros(n_ticks, bool)
    boundary[n_ticks // 2] = True
    return {
        "x": x,
        "m": rng.integers(-127, 128, (n_ticks, 56)).astype(np.int8),
        "role": rng.integers(0, len(ROLES), n_channels).astype(np.int16),
        "active": active,
        "offset_lu": rng.uniform(-12, 0, (3, seconds, n_channels)).astype(np.float16),
        "pan_abs": rng.uniform(0, 1, (3, n_channels)).astype(np.float32),
        "tone_db": rng.uniform(-5, 5, (n_channels, 4)).astype(np.float32),
        "compressor": np.stack([rng.uniform(-15, 5, n_channels), rng.uniform(1, 4, n_channels)], 1).astype(np.float32),
        "send_db": rng.uniform(-50, -5, (3, seconds, n_channels)).astype(np.float16),
        "sigma": np.array([1.5, 0.1, 1.0, 2.0, 3.0], np.float32),
        "genre": np.int16(2), "scene_kind": np.int16(1), "key": np.int16(9),
        "section": np.full(n_ticks, 1, np.int8), "boundary": boundary, "beat": beat,
        "bleed_db": bleed, "is_bleed": ~active,
    }  # fmt: skip


def write_shard(folder: Path, sessions: list[dict[str, NDArray[Any]]]) -> Path:
    """One shard of a data set."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "shard_0000.npz"
    np.savez(path, **{f"s{k}_{name}": value for k, arrays in enumerate(sessions) for name, value in arrays.items()})  # type: ignore[arg-type]
    return path
