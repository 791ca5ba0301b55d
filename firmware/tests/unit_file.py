"""Reads a unit file as systemd does, as far as the tests of ours need: sections, lists, lines that go on, variables."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

UNITS = Path(__file__).resolve().parents[1] / "system" / "units"


class UnitFile:
    """The settings of one unit: every value of a key, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values: dict[str, list[str]] = {}
        text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
        for line in text.splitlines():
            if line.strip() and line[0] not in "#;[":
                key, value = line.split("=", 1)
                self._values.setdefault(key.strip(), []).append(value.strip())

    def all(self, key: str) -> list[str]:
        """Return every value that the key was given."""
        return self._values.get(key, [])

    def one(self, key: str) -> str:
        """Return the value of a key that is set once."""
        (value,) = self.all(key)
        return value

    def words(self, key: str) -> set[str]:
        """Return the words of a list over all its lines."""
        return {word for value in self.all(key) for word in value.split()}

    def seconds(self, key: str) -> float:
        """Return a time span."""
        return seconds(self.one(key))

    def allowed_calls(self) -> set[str]:
        """Return the system calls that SystemCallFilter lets through; what it does not know here is left out."""
        allowed = set(calls("@default"))
        for line in self.all("SystemCallFilter"):
            is_denied = line.startswith("~")
            for name in line.removeprefix("~").split():
                group = calls(name) if name.startswith("@") else {name}
                allowed = allowed - group if is_denied else allowed | group
        return allowed


def seconds(text: str) -> float:
    """Return a time span such as ``100ms``, ``2s`` or ``0``."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|)", text).groups()
    return float(number) * {"ms": 0.001, "s": 1.0, "": 1.0}[unit]


def environment_file(path: Path) -> dict[str, str]:
    """Return the variables of an EnvironmentFile."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def command_line(text: str, variables: Mapping[str, str]) -> list[str]:
    """Return the words of an Exec line: ``${X}`` is part of a word, ``$X`` becomes as many words as it has."""
    words: list[str] = []
    for word in shlex.split(text):
        whole = re.fullmatch(r"\$(\w+)", word)
        if whole:
            words += shlex.split(variables[whole[1]])
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word))
    return words


@cache
def calls(group: str) -> frozenset[str]:
    """Return the system calls of a group, with those of the groups in it."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    found: set[str] = set()
    for line in done.stdout.splitlines()[1:]:
        name = line.strip()
        if name and not name.startswith("#"):
            found |= calls(name) if name.startswith("@") else {name}
    return frozenset(found)


def has_systemd_analyze() -> bool:
    """Whether the tool is there that knows what systemd makes of a unit."""
    return shutil.which("systemd-analyze") is not None
