"""Slakh2100: ``[split/]Track00001/{mix.flac, metadata.yaml, stems/S01.flac}``; mixes are plain sums."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .audio import AudioFile
from .documents import entry, mapping_of_yaml
from .session import LoadedChannel, LoadedSession, folders
from .vocabulary import FALLBACK_ROLE, role_of

ACOUSTIC_GUITARS = (24, 25)  # General MIDI programs, counted from 0
VOICES = (52, 53, 54, 91)  # choir aahs, voice oohs, synth voice, choir pad


def sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield every track below ``root``."""
    for path in folders(root, "**/Track*/metadata.yaml", "Slakh2100 tracks"):
        said = mapping_of_yaml(path)
        channels = []
        for key, stem in sorted(entry(path, said, "stems", dict).items()):
            file = next((p for p in _places(path.parent, key) if p.is_file()), None)
            # A stem that was never rendered is listed all the same.
            if file is None and isinstance(stem, dict) and stem.get("audio_rendered") is False:
                continue
            channels.append(_stem(path, key, stem, file or _places(path.parent, key)[0]))
        mix = next((p for p in (path.parent / "mix.flac", path.parent / "mix.wav") if p.is_file()), None)
        yield LoadedSession(
            set_name="slakh2100",
            name=path.parent.name,
            channels=tuple(channels),
            mix=AudioFile(path=mix) if mix else None,
            has_bleed=False,
            are_stems_mixed=True,
        )


def _places(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / "stems" / f"{key}.flac", folder / "stems" / f"{key}.wav"


def _stem(path: Path, key: str, stem: Any, file: Path) -> LoadedChannel:
    label, program = entry(path, stem, "inst_class", str), stem.get("program_num")
    role = "drums" if stem.get("is_drum") else role_of("slakh2100", label) or FALLBACK_ROLE
    if role == "elec_guitar" and program in ACOUSTIC_GUITARS:
        role = "ac_guitar"
    if program in VOICES and not stem.get("is_drum"):
        role = "vocal_backing"
    return LoadedChannel(name=key, label=label, role=role, parts=(AudioFile(path=file),))
