"""Sets whose channels are told apart by the names of their files: Cambridge-MT, ENST-Drums, and stems of your own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError
from .audio import AudioFile
from .session import LoadedChannel, LoadedSession, folders, sound_files
from .vocabulary import FALLBACK_ROLE, role_of, role_of_name

MIX_WORDS = re.compile(r"(^|[^a-z])(mix|mixture|mixdown|master|full ?mix)([^a-z]|$)")
_ENST_NUMBER = re.compile(r"_\d+$")


def cambridge_mt_sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield each unpacked song: a folder ``*_Full`` of sound files, or one with ``tracks`` inside. There is no mix."""
    if not root.is_dir():
        raise ModelError(f"{root}: is no folder; name the one that holds the unpacked songs")
    found = sorted({*root.glob("**/*_Full"), *root.glob("**/tracks")})
    for folder in found or folders(root, "**/*_Full", "unpacked Cambridge-MT songs"):
        if folder.is_dir() and (files := sound_files(folder)):
            name = folder.parent.name if folder.name == "tracks" else folder.name.removesuffix("_Full")
            yield LoadedSession(set_name="cambridge_mt", name=name, channels=_by_name(files), mix=None)


def stem_sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield ``root`` itself and each of its folders: sound files that are stems, and one named mix or master."""
    if not root.is_dir():
        raise ModelError(f"{root}: is no folder; name the one that holds the stems")
    places = [p for p in (root, *sorted(root.iterdir())) if p.is_dir() and sound_files(p)]
    if not places:
        raise ModelError(f"{root}: holds no sound files, nor do its folders; name the one that holds the stems")
    for folder in places:
        files = sound_files(folder)
        mixes = [p for p in files if MIX_WORDS.search(p.stem.lower())]
        if len(mixes) > 1:
            raise ModelError(f"{folder}: {', '.join(p.name for p in mixes)} are all named as the mix; keep one")
        stems = [p for p in files if p not in mixes]
        if not stems:
            raise ModelError(f"{folder}: holds {mixes[0].name} and no stems beside it")
        yield LoadedSession(
            set_name="stems",
            name=folder.name,
            channels=_by_name(stems),
            mix=AudioFile(path=mixes[0]) if mixes else None,
        )


def _by_name(files: list[Path]) -> tuple[LoadedChannel, ...]:
    return tuple(
        LoadedChannel(name=p.stem, label=p.stem, role=role_of_name(p.stem), parts=(AudioFile(path=p),)) for p in files
    )


def enst_sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield each take of ``drummer_N/audio``: its microphones, the wet mix, the accompaniment where there is one."""
    for mix in folders(root, "drummer_*/audio/wet_mix/*.wav", "ENST-Drums takes"):
        channels = []
        for microphone in sorted(p for p in mix.parent.parent.iterdir() if p.is_dir()):
            file = microphone / mix.name
            role = role_of("enst_drums", _ENST_NUMBER.sub("", microphone.name))
            if microphone.name not in ("wet_mix", "dry_mix") and file.is_file():
                part = AudioFile(path=file)
                channels.append(
                    LoadedChannel(
                        name=microphone.name, label=microphone.name, role=role or FALLBACK_ROLE, parts=(part,)
                    )
                )
        if not channels:
            raise ModelError(f"{mix}: no microphone of this take is there; is the data set complete?")
        name = f"{mix.parent.parent.parent.name}/{mix.stem}"
        has_others = any(channel.role == "playback" for channel in channels)
        # The wet mix is of the drums alone.
        yield LoadedSession(
            set_name="enst_drums",
            name=name,
            channels=tuple(channels),
            mix=None if has_others else AudioFile(path=mix),
            has_bleed=True,
        )
