"""From a data set of others to shards: one a session, each whole or not there; goes on where it was stopped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dsp_kernels.contract.generated.contract import CONTRACT_ID, GENRES, ROLES, SCENE_KINDS

from ..data.code_digest import code_digest
from ..data.shards import FORMAT, INDEX, index_text, is_whole, pack, read_index, sha256, write_whole
from ..errors import ModelError
from ..loaders.catalogue import LOADERS
from ..loaders.licences import LICENCES
from ..loaders.session import LoadedSession
from .labelled_session import labelled_session

SPLIT_SHARES = (("train", 0.8), ("valid", 0.9), ("test", 1.0))
_ARTIST = re.compile(r" - |_")


def split_of(session: LoadedSession) -> str:
    """Return the split of a session: all songs of an artist are in one, whatever else the set holds."""
    artist = _ARTIST.split(session.name)[0].lower()
    at = int(hashlib.sha256(f"{session.set_name}/{artist}".encode()).hexdigest()[:8], 16) / 2**32
    return next(split for split, upper in SPLIT_SHARES if at < upper)


def label(
    set_name: str,
    folder: Path,
    out: Path,
    *,
    begin_s: float = 0.0,
    seconds: float | None = None,
    has_fit: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Write a shard for each session below ``folder`` that ``out`` lacks, and return the index.

    Raises
    ------
    ModelError
        When the set cannot be read, or ``out`` holds something else or cannot be written.
    """
    asked = {"set": set_name, "begin_s": begin_s, "seconds": seconds, "has_fit": has_fit}
    identity = {
        "format": FORMAT,
        "recipe": set_name,
        "recipe_digest": sha256(repr(sorted(asked.items())).encode()),
        "code_digest": code_digest(),
        "contract_id": CONTRACT_ID,
    }
    kept = _kept(out, identity)
    sessions = list(LOADERS[set_name](folder))
    index = _index(identity, set_name, kept, is_complete=False)
    for session in sessions:
        split = split_of(session)
        name = re.sub(r"[^\w.-]+", "_", session.name)
        file = f"{split}/{name}_{sha256(session.name.encode())[:8]}.npz"
        if file in kept:
            tell(f"{session.name}: is there already")
            continue
        arrays, said = labelled_session(session, begin_s=begin_s, seconds=seconds, has_fit=has_fit, tell=tell)
        content = pack("scenes", [arrays])
        try:
            (out / split).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"{out}: cannot be written ({error.strerror}); name another --out") from None
        write_whole(out / file, content)
        kept[file] = _entry(file, split, set_name, content, arrays, said)
        index = _index(identity, set_name, kept, is_complete=len(kept) == len(sessions))
        write_whole(out / INDEX, index_text(index))
        tell(_line(said))
    return _index(identity, set_name, kept, is_complete=True) if kept else index


def _kept(out: Path, identity: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if not (out / INDEX).exists():
        return {}
    old = read_index(out)
    if any(old.get(key) != value for key, value in identity.items()):
        raise ModelError(f"{out}: holds other labels or those of other code; name another --out, or delete it")
    return {entry["file"]: entry for entry in old["shards"] if is_whole(out, entry)}


def _index(
    identity: dict[str, Any], set_name: str, kept: dict[str, dict[str, Any]], *, is_complete: bool
) -> dict[str, Any]:
    licence = LICENCES[set_name]
    return identity | {
        "is_complete": is_complete,
        "is_non_commercial": licence.is_non_commercial,
        "ingredients": [
            {
                "name": set_name, "version": "", "licence": licence.name, "note": licence.note,
                "is_non_commercial": licence.is_non_commercial,
            }
        ],
        "shards": [kept[file] for file in sorted(kept)],
    }  # fmt: skip


def _entry(
    file: str, split: str, set_name: str, content: bytes, arrays: dict[str, Any], said: dict[str, Any]
) -> dict[str, Any]:
    roles = sorted(ROLES[role] for role in arrays["role"].tolist())
    genre = int(arrays["genre"])
    return {
        "file": file,
        "split": split,
        "kind": "scenes",
        "items": 1,
        "seconds": said["seconds"],
        "bytes": len(content),
        "sha256": sha256(content),
        "roles": {role: roles.count(role) for role in dict.fromkeys(roles)},
        "genres": {} if genre < 0 else {GENRES[genre]: 1},
        "scene_kinds": {SCENE_KINDS[int(arrays["scene_kind"])]: 1},
        "ingredients": [set_name],
        "labels": said,
    }


def _line(said: dict[str, Any]) -> str:
    if not said["has_mix"]:
        return f"{said['name']}: {len(said['channels'])} channels, no mix: roles and activity only"
    sure = np.mean([channel["confidence"] for channel in said["channels"]])
    fit = "" if said["fit_residual_db"] is None else f", fit {said['fit_residual_db']} dB"
    lag = "lag unclear" if said["lag_frames"] is None else f"lag {said['lag_frames']} frames"
    return (
        f"{said['name']}: {len(said['channels'])} channels, {lag}, residual {said['residual_db']} dB{fit}, "
        f"confidence {sure:.2f}"
    )
