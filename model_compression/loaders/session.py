"""What every loader yields: a session of channels, its mix where there is one, and what is known about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .audio import SUFFIXES, AudioFile
from .licences import LICENCES, Licence

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LoadedChannel:
    """One channel.

    Attributes
    ----------
    name, label
        As the data set has them.
    role
        A word of ROLES.
    parts
        Recordings that together are the channel, summed; most have one.
    activity
        When its own source sounds, ``((begin_s, end_s), ...)``; None when the data set does not say.
    mix_gain_lin
        Its weight in the mix by the data set's own account.
    raws
        The microphones behind a finished stem.
    """

    name: str
    label: str
    role: str
    parts: tuple[AudioFile, ...]
    activity: tuple[Span, ...] | None = None
    mix_gain_lin: float | None = None
    raws: tuple[LoadedChannel, ...] = ()

    def read(self, begin_s: float = 0.0, seconds: float | None = None) -> NDArray[np.float32]:
        """Return a stretch at 48 kHz, ``(n_frames, 1 or 2)``."""
        return summed([part.read(begin_s, seconds) for part in self.parts])


@dataclass(frozen=True, kw_only=True)
class LoadedSession:
    """One song or meeting.

    Attributes
    ----------
    set_name
        Key of ``LICENCES``.
    mix
        The finished mix; None when there is none.
    genre
        A word of GENRES, or None.
    scene_kind
        A word of SCENE_KINDS.
    has_bleed
        Whether microphones hear each other; None when unknown.
    are_stems_mixed
        The channels already carry level, tone and effects of the mix: a label from them is what is left to do.
    is_mix_the_sum
        There is no mix, but the plain sum of the channels is it.
    """

    set_name: str
    name: str
    channels: tuple[LoadedChannel, ...]
    mix: AudioFile | None
    genre: str | None = None
    scene_kind: str = "music"
    has_bleed: bool | None = None
    are_stems_mixed: bool = False
    is_mix_the_sum: bool = False

    @property
    def licence(self) -> Licence:
        """On which terms it may be used."""
        return LICENCES[self.set_name]

    @property
    def roles(self) -> tuple[str, ...]:
        """Role of each channel."""
        return tuple(channel.role for channel in self.channels)

    def duration_s(self) -> float:
        """Return the length of its longest recording."""
        files = [part for channel in self.channels for part in channel.parts]
        return max(file.duration_s() for file in (*files, *([self.mix] if self.mix else [])))

    def read(
        self, begin_s: float = 0.0, seconds: float | None = None
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
        """Return channels and stereo mix, all of one length, at 48 kHz; what is shorter ends in silence."""
        stems = [channel.read(begin_s, seconds) for channel in self.channels]
        mix = None if self.mix is None else self.mix.read(begin_s, seconds)
        whole = max(len(x) for x in ([mix] if mix is not None else stems))
        stems = [fitted(stem, whole) for stem in stems]
        return stems, None if mix is None else fitted(np.broadcast_to(mix, (len(mix), 2)), whole)


def fitted(x: NDArray[np.float32], n_frames: int) -> NDArray[np.float32]:
    """Return ``x`` cut to ``n_frames`` or followed by silence."""
    missing = max(n_frames - len(x), 0)
    return np.ascontiguousarray(np.pad(x[:n_frames], [(0, missing), (0, 0)]), np.float32)


def summed(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the sum of recordings of one or two lanes, as long as the longest."""
    if len(parts) == 1:
        return parts[0]
    n_frames, n_lanes = max(len(x) for x in parts), max(x.shape[1] for x in parts)
    total = np.zeros((n_frames, n_lanes), np.float32)
    for x in parts:
        total[: len(x)] += x
    return total


def folders(root: Path, pattern: str, what: str) -> Iterator[Path]:
    """Yield what matches below ``root``, sorted.

    Raises
    ------
    ModelError
        When nothing does: it is another data set, or another folder of it.
    """
    if not root.is_dir():
        raise ModelError(f"{root}: is no folder; name the one that holds {what}")
    found = sorted(root.glob(pattern))
    if not found:
        raise ModelError(f"{root}: holds no {what} ({pattern}); name the folder that does")
    yield from found


def sound_files(folder: Path) -> list[Path]:
    """Return the sound files of a folder, in the order of their names."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
