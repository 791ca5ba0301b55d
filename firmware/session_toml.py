"""``session.toml``: what a session's channels are called, where they lie, what they are and which belong together."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from dsp_kernels.contract.generated.contract import ROLES

from .errors import EvenhandError

FILE_NAME = "session.toml"
MAX_SIZE_BYTES = 256 * 1024
MAX_NAME_CHARACTERS = 64
KEYS = {"name": str, "sample_rate_hz": int, "channel": list}
CHANNEL_KEYS = {"name": str, "file": str, "channel": int, "role": str, "link": str}
TYPE_WORDS = {int: "a whole number", str: "a text", list: "a list of [[channel]] tables"}


@dataclass(frozen=True, kw_only=True)
class ChannelEntry:
    """A ``[[channel]]`` table; None where it says nothing. ``channel`` counts from 1 inside its file."""

    place: str  # "session.toml: channel 3", to begin an error with
    name: str | None
    file: str | None
    channel: int | None
    role: str | None
    link: str | None


@dataclass(frozen=True, kw_only=True)
class SessionToml:
    """The whole file."""

    path: Path
    name: str | None
    sample_rate_hz: int | None
    channels: tuple[ChannelEntry, ...]


def load(path: Path) -> SessionToml:
    """Read and check a ``session.toml``; whether the files exist is not its business."""
    table = _parse(path)
    _check_keys(str(path), table, KEYS)
    _check_text(str(path), table, "name")
    entries = []
    for number, channel in enumerate(table.get("channel", []), start=1):
        place = f"{path}: channel {number}"
        if not isinstance(channel, dict):
            raise EvenhandError(f"{place}: must be a table; write [[channel]] above its lines")
        _check_keys(place, channel, CHANNEL_KEYS)
        entries.append(_entry(place, channel))
    return SessionToml(
        path=path, name=table.get("name"), sample_rate_hz=table.get("sample_rate_hz"), channels=tuple(entries)
    )


def _parse(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        raise EvenhandError(f"{path}: is not a regular file; write a text file in its place, or take it away")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE_BYTES + 1)
        if len(content) > MAX_SIZE_BYTES:
            raise EvenhandError(f"{path}: is larger than {MAX_SIZE_BYTES // 1024} KiB; it needs one table a channel")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise EvenhandError(f"{path}: cannot be read ({error.strerror}); give this user the right to") from None
    except UnicodeDecodeError as error:
        raise EvenhandError(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise EvenhandError(f"{path}: is not TOML: {error}") from None
    except ValueError:  # the parser passes Python's limit on the digits of a number through
        raise EvenhandError(f"{path}: holds a number with thousands of digits; correct it") from None
    except RecursionError:
        raise EvenhandError(f"{path}: is nested too deeply; it needs one table a channel") from None


def _check_keys(place: str, table: dict[str, Any], keys: dict[str, type]) -> None:
    for key, value in table.items():
        if key not in keys:
            raise EvenhandError(f"{place}: unknown key {_quoted(key)}; {near_misses(key, tuple(keys))}")
        if not isinstance(value, keys[key]) or isinstance(value, bool):
            raise EvenhandError(f"{place}: {key} must be {TYPE_WORDS[keys[key]]}, not {_quoted(str(value))}")


def _entry(place: str, channel: dict[str, Any]) -> ChannelEntry:
    for key in ("name", "link"):
        _check_text(place, channel, key)
    role = channel.get("role")
    if role is not None and role not in ROLES:
        raise EvenhandError(f"{place}: unknown role {_quoted(role)}; {near_misses(role, ROLES)}")
    if channel.get("file") is not None:
        _check_file(place, channel["file"])
    if channel.get("channel", 1) < 1:
        raise EvenhandError(f"{place}: channel = {channel['channel']} does not exist; channels of a file count from 1")
    return ChannelEntry(place=place, **{key: channel.get(key) for key in CHANNEL_KEYS})


def _check_text(place: str, table: dict[str, Any], key: str) -> None:
    text = table.get(key)
    if text is not None and not (text.strip() and text.isprintable() and len(text) <= MAX_NAME_CHARACTERS):
        raise EvenhandError(f"{place}: {key} must have 1 to {MAX_NAME_CHARACTERS} printable characters")


def _check_file(place: str, name: str) -> None:
    parts = PurePosixPath(name).parts
    if not parts or not name.isprintable():
        raise EvenhandError(f"{place}: file must be the name of an audio file in the session folder")
    if name.startswith("/") or ".." in parts:
        raise EvenhandError(f"{place}: file = {_quoted(name)} leaves the session folder; copy the audio into it")


def near_misses(word: str, words: tuple[str, ...]) -> str:
    """Return the hint that ends an error about an unknown word."""
    close = get_close_matches(word.lower().replace(" ", "_"), words, n=3, cutoff=0.5)
    close += [w for w in words if word and word.lower() in w and w not in close]
    if close:
        return f"did you mean {' or '.join(close[:3])}?"
    return f"known are {', '.join(words)}"


def _quoted(text: str) -> str:
    return f'"{text if len(text) <= 40 else text[:40] + "..."}"'
