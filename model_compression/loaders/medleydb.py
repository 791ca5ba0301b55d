"""MedleyDB 1 and 2: ``Audio/TITLE/TITLE_{MIX.wav,STEMS,RAW}`` and ``TITLE_METADATA.yaml``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .audio import AudioFile
from .documents import entry, mapping_of_yaml
from .session import LoadedChannel, LoadedSession, folders
from .vocabulary import FALLBACK_ROLE, genre_of, role_of

COEFFICIENTS = "mixing_coefficients.yaml"  # optional: weight of each stem in its mix, beside Audio/
_YES = {"yes": True, "no": False, True: True, False: False}


def sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield every song below ``root``, the folder that holds ``Audio``, or ``Audio`` itself."""
    base = root / "Audio" if (root / "Audio").is_dir() else root
    weights_path = next((p for p in (root / COEFFICIENTS, base.parent / COEFFICIENTS) if p.is_file()), None)
    weights = mapping_of_yaml(weights_path) if weights_path else {}
    for mix in folders(base, "*/*_MIX.wav", "MedleyDB songs"):
        yield _song(mix, weights, root)


def _song(mix: Path, weights: dict[Any, Any], root: Path) -> LoadedSession:
    title = mix.name.removesuffix("_MIX.wav")
    places = (mix.parent / f"{title}_METADATA.yaml", root / "Metadata" / f"{title}_METADATA.yaml")
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise ModelError(f"{places[0]}: is not there, nor in {places[1].parent}; fetch MedleyDB's metadata")
    said = mapping_of_yaml(path)
    own = weights.get(title, {})
    channels = [
        _stem(path, mix.parent, title, key, stem, own.get(int(key[1:])) if isinstance(own, dict) else None)
        for key, stem in sorted(entry(path, said, "stems", dict).items())
    ]
    return LoadedSession(
        set_name="medleydb",
        name=title,
        channels=tuple(channels),
        mix=AudioFile(path=mix),
        genre=genre_of(said.get("genre")),
        has_bleed=_YES.get(said.get("has_bleed")),
        are_stems_mixed=True,
    )


def _role(label: Any) -> str:
    first = label[0] if isinstance(label, list) and label else label
    return (role_of("medleydb", first) if isinstance(first, str) else None) or FALLBACK_ROLE


def _stem(path: Path, folder: Path, title: str, key: str, stem: Any, weight: Any) -> LoadedChannel:
    raws = stem.get("raw") if isinstance(stem, dict) else None
    return LoadedChannel(
        name=entry(path, stem, "filename", str),
        label=str(stem.get("instrument")),
        role=_role(stem.get("instrument")),
        parts=(AudioFile(path=folder / f"{title}_STEMS" / stem["filename"]),),
        mix_gain_lin=float(weight) if isinstance(weight, int | float) else None,
        raws=tuple(
            LoadedChannel(
                name=entry(path, raw, "filename", str),
                label=str(raw.get("instrument")),
                role=_role(raw.get("instrument")),
                parts=(AudioFile(path=folder / f"{title}_RAW" / raw["filename"]),),
            )
            for _, raw in sorted((raws or {}).items())
        ),
    )
