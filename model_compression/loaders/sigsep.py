"""MUSDB18 as containers or plain files (HQ), and DSD100: four stems and their sum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError
from .audio import AudioFile
from .session import LoadedChannel, LoadedSession, folders
from .vocabulary import FALLBACK_ROLE, role_of

STREAMS = ("mixture", "drums", "bass", "other", "vocals")


def musdb18_sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield the songs of ``{train,test}/NAME.stem.mp4``, or of ``{train,test}/NAME/mixture.wav`` and its stems."""
    containers = sorted(root.glob("**/*.stem.mp4"))
    for path in containers:
        files = {name: AudioFile(path=path, stream=n) for n, name in enumerate(STREAMS)}
        yield _song("musdb18", path.name.removesuffix(".stem.mp4"), files)
    if not containers:
        for mixture in folders(root, "**/mixture.wav", "MUSDB18 songs (.stem.mp4 or mixture.wav)"):
            yield _song("musdb18", mixture.parent.name, _plain(mixture, mixture.parent))


def dsd100_sessions(root: Path) -> Iterator[LoadedSession]:
    """Yield the songs of ``Mixtures/SUBSET/SONG/mixture.wav`` with ``Sources/SUBSET/SONG/*.wav``."""
    for mixture in folders(root, "Mixtures/*/*/mixture.wav", "DSD100 mixtures"):
        sources = root / "Sources" / mixture.parent.parent.name / mixture.parent.name
        yield _song("dsd100", mixture.parent.name, _plain(mixture, sources))


def _plain(mixture: Path, folder: Path) -> dict[str, AudioFile]:
    files = {"mixture": AudioFile(path=mixture)}
    for name in STREAMS[1:]:
        path = folder / f"{name}.wav"
        if not path.is_file():
            raise ModelError(f"{path}: is not there; is the data set complete?")
        files[name] = AudioFile(path=path)
    return files


def _song(set_name: str, name: str, files: dict[str, AudioFile]) -> LoadedSession:
    return LoadedSession(
        set_name=set_name,
        name=name,
        channels=tuple(
            LoadedChannel(name=stem, label=stem, role=role_of("musdb18", stem) or FALLBACK_ROLE, parts=(files[stem],))
            for stem in STREAMS[1:]
        ),
        mix=files["mixture"],
        are_stems_mixed=True,
    )
