"""Recordings listed by a ``manifest.json``: multitrack songs with their mixes, and clips of single instruments.

The manifest lists ``sets``; a set has ``kind``, ``tracks`` and ``references``, each with ``file`` (relative to the
manifest) and ``role``. Evaluation only: nothing of it is trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..errors import ModelError
from .measures.framing import at_rate
from .sessions import Session, role_of

FAULT_RANGE_DB = 10.0  # stems that are an artist's finished ones become a raw session by gains up to this, either way
PEAK_LIMIT_LIN = 0.9


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One instrument alone."""

    path: Path
    role: str
    source: str
    duration_s: float


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Return the sets of a manifest."""
    try:
        sets = json.loads(path.read_text(encoding="utf-8"))["sets"]
        if not isinstance(sets, list):
            raise TypeError
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); name a manifest.json") from None
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{path}: is no manifest with a list of sets; see model_compression/evaluation") from None
    return sets


def songs(path: Path, *, seed: int) -> Iterator[Session]:
    """Yield the multitrack songs of a manifest as raw sessions; gains are randomised where stems are finished ones."""
    for entry in read_manifest(path):
        if str(entry.get("kind", "")).startswith("multitrack"):
            yield _song(path.parent, entry, seed)


def clips(path: Path) -> list[Clip]:
    """Return the single-instrument clips of a manifest, speech among them."""
    wanted = ("instrument-role clips", "speech")
    return [
        Clip(
            path=path.parent / track["file"],
            role=role_of(track["role"]),
            source=str(entry.get("id", "")),
            duration_s=float(track.get("dur_s", 0.0)),
        )
        for entry in read_manifest(path)
        if entry.get("kind") in wanted
        for track in entry.get("tracks", [])
    ]


def _song(folder: Path, entry: dict[str, Any], seed: int) -> Session:
    tracks = entry["tracks"]
    loaded = [_read(folder / track["file"]) for track in tracks]
    rate_hz = max(rate for _, rate in loaded)
    stems = [at_rate(audio, rate, rate_hz).astype(np.float32) for audio, rate in loaded]
    n_frames = max(len(stem) for stem in stems)
    stems = [np.pad(stem, ((0, n_frames - len(stem)), (0, 0))) for stem in stems]
    others = {
        str(reference.get("system", "reference")): _reference(folder, reference, rate_hz, n_frames)
        for reference in entry.get("references", [])
    }
    common: dict[str, Any] = {
        "name": str(entry["id"]),
        "sample_rate_hz": rate_hz,
        "roles": [role_of(track["role"]) for track in tracks],
        "names": [Path(track["file"]).stem for track in tracks],
    }
    if entry.get("human_mix_note"):
        gains_db = _faults_db(stems, seed)
        raw = [(stem * 10 ** (gain / 20)).astype(np.float32) for stem, gain in zip(stems, gains_db, strict=True)]
        wide = [stem if stem.shape[1] == 2 else np.repeat(stem, 2, axis=1) / np.float32(np.sqrt(2)) for stem in stems]
        return Session(
            **common, stems=raw, reference=np.sum(wide, axis=0), reference_name="unity sum of the artist's stems",
            reference_strips=wide, others=others,
        )  # fmt: skip
    human = others.pop("human", None)
    return Session(
        **common, stems=stems, reference=human, reference_name="human" if human is not None else "", others=others
    )


def _faults_db(stems: list[NDArray[np.float32]], seed: int) -> NDArray[np.float64]:
    """Return a random gain for each stem that leaves its peak under 0.9."""
    wish = np.random.default_rng(seed).uniform(-FAULT_RANGE_DB, FAULT_RANGE_DB, len(stems))
    room = [20 * np.log10(PEAK_LIMIT_LIN / max(float(np.abs(stem).max()), 1e-9)) for stem in stems]
    return np.minimum(wish, room)


def _reference(folder: Path, reference: dict[str, Any], rate_hz: int, n_frames: int) -> NDArray[np.float32]:
    audio, rate = _read(folder / reference["file"])
    audio = at_rate(audio, rate, rate_hz).astype(np.float32)[:n_frames]
    return np.pad(audio, ((0, n_frames - len(audio)), (0, 0)))


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    try:
        audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ModelError(f"{path}: cannot be read as audio ({error}); check the manifest beside it") from None
    return audio, int(rate_hz)
