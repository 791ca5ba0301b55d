"""MoisesDB: ``UUID/data.json`` and ``UUID/STEM NAME/TRACK ID.EXTENSION``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .audio import AudioFile
from .documents import entry, mapping_of_json
from .session import LoadedChannel, LoadedSession, folders
from .vocabulary import FALLBACK_ROLE, genre_of, role_of, role_within


def sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield every song; there is no mix, the mix is the sum of the tracks."""
    for path in folders(root, "**/data.json", "MoisesDB songs"):
        said = mapping_of_json(path)
        channels, bleeds = [], []
        for stem in entry(path, said, "stems", list):
            for track in entry(path, stem, "tracks", list):
                channel = _track(path, entry(path, stem, "stemName", str), track)
                if channel is not None:
                    channels.append(channel)
                    bleeds.append(bool(track.get("has_bleed")))
        yield LoadedSession(
            set_name="moisesdb",
            name=f"{said.get('artist', '?')} - {said.get('song', path.parent.name)}",
            channels=tuple(channels),
            mix=None,
            genre=genre_of(said.get("genre")),
            has_bleed=any(bleeds),
            are_stems_mixed=True,
            is_mix_the_sum=True,
        )


def _track(path: Path, family: str, track: Any) -> LoadedChannel | None:
    """Return a track as a channel; None for a click."""
    label = entry(path, track, "trackType", str)
    role = role_within("moisesdb_track", label) if family != "bass" else None
    if role == "":
        return None
    file = path.parent / family / f"{entry(path, track, 'id', str)}.{track.get('extension', 'wav')}"
    return LoadedChannel(
        name=f"{family}/{label}",
        label=label,
        role=role or role_of("moisesdb_family", family) or FALLBACK_ROLE,
        parts=(AudioFile(path=file),),
    )
