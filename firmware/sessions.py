"""A session: recorded files as the input strips of the mixer, found in a folder or named by a ``session.toml``."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .errors import EvenhandError
from .observation import ChannelSetup
from .session_files import SUFFIXES, AudioFile, probe, refuse_special
from .session_toml import FILE_NAME, MAX_NAME_CHARACTERS, ChannelEntry, SessionToml, load, near_misses

MAX_STRIPS = 32
ENGINE_RATES_HZ = (44100, 48000, 96000)
DEFAULT_RATE_HZ = 48000
PLAIN_FOLDERS = ("tracks", "stems", "audio", "channels", "multitrack", "session")


@dataclass(frozen=True, kw_only=True)
class Strip:
    """An input strip and the file channels, one or two of ``(path, channel from 0)``, that feed its lanes."""

    name: str
    role: str | None
    lanes: tuple[tuple[Path, int], ...]


@dataclass(frozen=True, kw_only=True)
class Session:
    """Strips in mixer order, the files under them, and the rate and length they share."""

    place: Path
    name: str
    strips: tuple[Strip, ...]
    files: dict[Path, AudioFile]
    sample_rate_hz: int
    toml: Path | None

    @property
    def n_frames(self) -> int:
        """Length of the longest channel at the rate of the session."""
        return max(file.n_frames_at(self.sample_rate_hz) for file in self.files.values())

    @property
    def duration_s(self) -> float:
        """The same in seconds."""
        return self.n_frames / self.sample_rate_hz

    @property
    def channels(self) -> list[ChannelSetup]:
        """What engine and control need to know."""
        return [ChannelSetup(name=s.name, is_stereo=len(s.lanes) == 2, role=s.role) for s in self.strips]

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file that was read, none of which may be written."""
        return (*self.files, *([self.toml] if self.toml else []))

    @property
    def takes_any_file(self) -> bool:
        """Whether audio put into the folder would become a channel."""
        return self.place.is_dir() and self.toml is None


def open_session(place: Path) -> Session:
    """Read the headers of a session: a folder, one multichannel file, or a ``session.toml``.

    Raises
    ------
    EvenhandError
        When anything about it cannot be mixed as it stands.
    """
    try:
        return _open(place)
    except OSError as error:
        raise EvenhandError(
            f"{place}: cannot be looked into ({error.strerror}); give this user the right to, or name another session"
        ) from None


def _open(place: Path) -> Session:
    if place.name == FILE_NAME and place.is_file():
        place = place.parent
    if place.is_dir():
        return _from_folder(place)
    if place.is_file():
        file = probe(place)
        return _session(place, _strips_of_only_file(file), {place: file}, None)
    if place.exists():
        raise EvenhandError(f"{place}: is neither a folder nor a file; name the folder with one audio file a channel")
    raise EvenhandError(f"{place}: no such session; name a folder with one audio file a channel, or one audio file")


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key under which "2" comes before "10"."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p], name


def _from_folder(folder: Path) -> Session:
    toml_path = folder / FILE_NAME
    toml = None
    if toml_path.exists() or toml_path.is_symlink():
        toml = load(_inside(folder, FILE_NAME, str(folder)))
    if toml and toml.channels:
        strips, files = _strips_of_toml(folder, toml)
    else:
        strips, files = _strips_of_folder(folder)
    return _session(folder, strips, files, toml)


def _session(place: Path, strips: list[Strip], files: dict[Path, AudioFile], toml: SessionToml | None) -> Session:
    if len(strips) > MAX_STRIPS:
        raise EvenhandError(
            f"{place}: has {len(strips)} channels and the mixer {MAX_STRIPS}; "
            f"name the {MAX_STRIPS} to mix in a {FILE_NAME}, or link pairs to stereo strips"
        )
    session = Session(
        place=place,
        name=toml.name if toml and toml.name else _name_of(place.resolve()),
        strips=tuple(strips),
        files=files,
        sample_rate_hz=_rate_hz(files, toml),
        toml=toml.path if toml else None,
    )
    if session.n_frames == 0:
        raise EvenhandError(
            f"{place}: is over before the first frame at {session.sample_rate_hz} Hz; record something longer"
        )
    return session


def _name_of(place: Path) -> str:
    """Return what the session is called when nobody said: its folder, and the one above where that says nothing."""
    is_plain = place.name.lower() in PLAIN_FOLDERS
    return _clean(f"{place.parent.name} / {place.name}" if is_plain else place.name)


def _rate_hz(files: dict[Path, AudioFile], toml: SessionToml | None) -> int:
    """Return the rate all files agree on where the engine has it, else the default; others are resampled."""
    if toml and toml.sample_rate_hz is not None:
        if toml.sample_rate_hz not in ENGINE_RATES_HZ:
            offered = ", ".join(str(rate) for rate in ENGINE_RATES_HZ)
            raise EvenhandError(
                f"{toml.path}: sample_rate_hz = {toml.sample_rate_hz} is not offered; the engine offers {offered}"
            )
        return toml.sample_rate_hz
    rates = {file.sample_rate_hz for file in files.values()}
    rate_hz = rates.pop()
    return rate_hz if not rates and rate_hz in ENGINE_RATES_HZ else DEFAULT_RATE_HZ


def _audio_paths(folder: Path) -> list[Path]:
    try:
        names = [p.name for p in folder.iterdir() if not p.name.startswith(".") and not p.is_dir()]
    except OSError as error:
        raise EvenhandError(f"{folder}: cannot be listed ({error.strerror}); give this user the right to") from None
    audio = sorted((n for n in names if Path(n).suffix.lower() in SUFFIXES), key=natural_key)
    if not audio:
        there = f"among its {len(names)} files" if names else "in it"
        raise EvenhandError(f"{folder}: no audio {there}; put one WAV, FLAC, OGG or MP3 file a channel there")
    for name in audio:
        refuse_special(folder / name, folder)
    return [_inside(folder, name, str(folder)) for name in audio]


def _strips_of_folder(folder: Path) -> tuple[list[Strip], dict[Path, AudioFile]]:
    paths = _audio_paths(folder)
    if len(paths) > MAX_STRIPS:
        raise EvenhandError(
            f"{folder}: has {len(paths)} audio files and the mixer {MAX_STRIPS} channels; "
            f"name the {MAX_STRIPS} to mix in a {FILE_NAME}"
        )
    files = {path: probe(path) for path in paths}
    if len(files) == 1:
        return _strips_of_only_file(files[paths[0]]), files
    n_with_stem = Counter(path.stem for path in paths)
    strips = []
    for path, file in files.items():
        if file.n_channels > 2:
            raise EvenhandError(
                f"{path}: has {file.n_channels} channels; among several files each is one strip, mono or stereo: "
                f"name its channels in a {FILE_NAME}, or leave it alone in the folder"
            )
        name = path.stem if n_with_stem[path.stem] == 1 else path.name
        strips.append(Strip(name=_clean(name), role=None, lanes=tuple((path, c) for c in range(file.n_channels))))
    return strips, files


def _strips_of_only_file(file: AudioFile) -> list[Strip]:
    """Return one strip for mono or stereo, else one mono strip a channel."""
    lanes = [(file.path, c) for c in range(file.n_channels)]
    if len(lanes) <= 2:
        return [Strip(name=_clean(file.path.stem), role=None, lanes=tuple(lanes))]
    return [Strip(name=f"{_clean(file.path.stem)} {c + 1}", role=None, lanes=(lanes[c],)) for c in range(len(lanes))]


def _strips_of_toml(folder: Path, toml: SessionToml) -> tuple[list[Strip], dict[Path, AudioFile]]:
    only_name = None
    if any(entry.file is None for entry in toml.channels):
        paths = _audio_paths(folder)
        only_name = paths[0].name if len(paths) == 1 else None
    files: dict[Path, AudioFile] = {}
    placed: list[tuple[ChannelEntry, Strip]] = []
    for entry in toml.channels:
        name = entry.file or only_name
        if name is None:
            raise EvenhandError(f'{entry.place}: does not say which file; add file = "..."')
        path = _named_file(folder, name, entry.place)
        if path not in files:
            files[path] = probe(path)
        placed.append((entry, _strip_of_entry(entry, files[path])))
    strips = _linked(placed)
    for name, count in Counter(strip.name for strip in strips).items():
        if count > 1:
            raise EvenhandError(f'{toml.path}: {count} channels are called "{name}"; give each its own name')
    return strips, files


def _strip_of_entry(entry: ChannelEntry, file: AudioFile) -> Strip:
    if entry.channel is None and file.n_channels > 2:
        raise EvenhandError(
            f"{entry.place}: {file.path.name} has {file.n_channels} channels; say which with channel = 1 to "
            f"{file.n_channels}"
        )
    if entry.channel is not None and entry.channel > file.n_channels:
        raise EvenhandError(
            f"{entry.place}: channel = {entry.channel} does not exist; {file.path.name} has {file.n_channels}"
        )
    channels = range(file.n_channels) if entry.channel is None else [entry.channel - 1]
    stem = _clean(file.path.stem)
    name = entry.name or (stem if entry.channel is None else f"{stem} {entry.channel}")
    return Strip(name=name, role=entry.role, lanes=tuple((file.path, c) for c in channels))


def _linked(placed: list[tuple[ChannelEntry, Strip]]) -> list[Strip]:
    """Merge the two mono channels of every link, left first, into a stereo strip that takes the link's name."""
    strips: list[Strip] = []
    pairs: dict[str, list[tuple[ChannelEntry, Strip]]] = {}
    for entry, strip in placed:
        if entry.link is not None:
            pairs.setdefault(entry.link, []).append((entry, strip))
    for entry, strip in placed:
        if entry.link is None:
            strips.append(strip)
            continue
        pair = pairs[entry.link]
        if len(pair) != 2 or any(len(s.lanes) != 1 for _, s in pair):
            raise EvenhandError(
                f'{entry.place}: link = "{entry.link}" joins {len(pair)} channels; '
                "a link joins exactly two mono ones, left first"
            )
        if entry is pair[0][0]:
            roles = {s.role for _, s in pair if s.role}
            if len(roles) > 1:
                raise EvenhandError(f'{entry.place}: link = "{entry.link}" joins different roles; a pair has one')
            lanes = (*pair[0][1].lanes, *pair[1][1].lanes)
            strips.append(Strip(name=entry.link, role=roles.pop() if roles else None, lanes=lanes))
    return strips


def _named_file(folder: Path, name: str, place: str) -> Path:
    path = folder / name
    try:
        is_there = path.is_symlink() or path.exists()
    except OSError as error:  # a name no file system takes
        raise EvenhandError(f"{place}: file cannot be looked up ({error.strerror}); name a file of {folder}") from None
    if is_there:
        refuse_special(path, place)
        path = _inside(folder, name, place)
    else:
        try:
            there = tuple(sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES))
        except OSError:
            there = ()
        hint = near_misses(name, there) if there else f"{folder} holds no audio"
        raise EvenhandError(f'{place}: file = "{name}" does not exist; {hint}')
    return path


def _inside(folder: Path, name: str, place: str) -> Path:
    path = folder / name
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of symbolic links
        is_inside = False
    if not is_inside:
        raise EvenhandError(f"{place}: {name} is a link that leaves the session folder; copy the audio into it")
    return path


def _clean(name: str) -> str:
    """Return a file name as a channel name: printable, and short enough to show."""
    return "".join(c if c.isprintable() else "?" for c in name)[:MAX_NAME_CHARACTERS] or "?"
