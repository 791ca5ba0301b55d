"""A TOML table while it is read: keys are asked for with type and range; what nobody asked for is unknown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

MAX_TEXT_CHARACTERS = 128
REQUIRED: Any = object()  # the default of a key that must be there
T = TypeVar("T")


class BoardError(Exception):
    """A board that cannot be; says what, where and what to try."""


class Table:
    """A table at ``place``, which begins every error about it."""

    def __init__(self, place: str, content: dict[str, Any]) -> None:
        self.place = place
        self._content = content
        self._known: list[str] = []

    def text(self, key: str, default: Any = REQUIRED) -> Any:
        """Return a printable text."""
        value = self._take(key, str, "a text", default)
        if value is not default and not (value.strip() and value.isprintable() and len(value) <= MAX_TEXT_CHARACTERS):
            raise self.error(f"{key} must have 1 to {MAX_TEXT_CHARACTERS} printable characters")
        return value

    def choice(self, key: str, choices: Iterable[str], default: Any = REQUIRED) -> Any:
        """Return one of ``choices``."""
        value = self._take(key, str, "a text", default)
        if value is not default and value not in choices:
            raise self.error(f"unknown {key} {quoted(value)}; {near_misses(value, choices)}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._take(key, bool, "true or false", default)
        return bool(value)

    def optional_flag(self, key: str) -> bool | None:
        """Return true or false, or None where the file leaves it open."""
        value = self._take(key, bool, "true or false", None)
        return None if value is None else bool(value)

    def integer(self, key: str, low: int, high: int, default: Any = REQUIRED) -> Any:
        """Return a whole number from ``low`` to ``high``."""
        value = self._take(key, int, "a whole number", default)
        if value is not default and not low <= value <= high:
            raise self.error(f"{key} = {shown(value)} lies outside {low} to {high}")
        return value

    def integer_of(self, key: str, choices: tuple[int, ...]) -> int:
        """Return one of a few whole numbers."""
        value = self._take(key, int, "a whole number", REQUIRED)
        if value not in choices:
            raise self.error(f"{key} = {shown(value)} is not one of {', '.join(map(str, choices))}")
        return int(value)

    def number(self, key: str, low: float, high: float, default: Any = REQUIRED) -> Any:
        """Return a number from ``low`` to ``high``; NaN is in no range."""
        value = self._take(key, (int, float), "a number", default)
        if value is default:
            return default
        if not low <= value <= high:
            raise self.error(f"{key} = {shown(value)} lies outside {low:g} to {high:g}")
        return float(value)

    def items(self, key: str, kind: type[T], words: str, default: Any = REQUIRED) -> tuple[T, ...]:
        """Return a list whose items are all of ``kind`` and all different."""
        value = self._take(key, list, f"a list of {words}", default)
        if any(type(item) is not kind for item in value):
            raise self.error(f"{key} must be a list of {words}")
        twice = {item for item in value if value.count(item) > 1}
        if twice:
            raise self.error(f"{key} names {shown(min(twice))} twice")
        return tuple(value)

    def table(self, key: str, *, place: str | None = None, is_required: bool = True) -> Table:
        """Return the table under ``key``, empty where it may be missing and is."""
        content = self._take(key, dict, f"a table; write [{key}] above its lines", REQUIRED if is_required else {})
        return Table(place or f"{self.place}: {key}", content)

    def tables(self, key: str) -> list[Table]:
        """Return the ``[[key]]`` tables, none where the key is missing."""
        content = self._take(key, list, f"a list of tables; write [[{key}]] above each", [])
        if any(not isinstance(item, dict) for item in content):
            raise self.error(f"{key} must be a list of tables; write [[{key}]] above each")
        return [Table(f"{self.place}: {key} {number}", item) for number, item in enumerate(content, start=1)]

    def has(self, key: str) -> bool:
        """Return whether the key is there, whatever it holds."""
        return key in self._content

    def raw(self, key: str) -> Any:
        """Return the value as it is, or None; the caller checks it."""
        self._known.append(key)
        return self._content.get(key)

    def close(self) -> None:
        """Refuse the keys that nobody has asked for."""
        for key in self._content:
            if key not in self._known:
                raise self.error(f"unknown key {quoted(key)}; {near_misses(key, self._known)}")

    def error(self, message: str) -> BoardError:
        """Return the error that says ``message`` about this table."""
        return BoardError(f"{self.place}: {message}")

    def _take(self, key: str, kind: type | tuple[type, ...], words: str, default: Any) -> Any:
        self._known.append(key)
        if key not in self._content:
            if default is REQUIRED:
                raise self.error(f"{key} is missing; it must be {words}")
            return default
        value = self._content[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f"{key} must be {words}, not {shown(value)}")
        return value


def shown(value: Any) -> str:
    """Return a value as an error shows it: short, and in TOML's words."""
    if isinstance(value, str):
        return quoted(value)
    return _short(str(value).lower() if isinstance(value, bool) else str(value))


def quoted(text: str) -> str:
    """Return a foreign text as an error shows it: in quotes, on one line, short."""
    return f'"{_short(text)}"'


def _short(text: str) -> str:
    line = "".join(c if c.isprintable() else "?" for c in text)
    return line if len(line) <= 40 else f"{line[:40]}..."


def near_misses(word: str, words: Iterable[str]) -> str:
    """Return the hint that ends an error about an unknown word."""
    from difflib import get_close_matches  # only on the way to an error: reading a board stays quick

    known = {w.lower(): w for w in words}
    close = get_close_matches(word.lower(), known, n=3, cutoff=0.5)
    close += [w for w in known if word and word.lower() in w and w not in close]
    if close:
        return f"did you mean {' or '.join(known[w] for w in close[:3])}?"
    return f"known are {', '.join(known.values())}"
