"""The command lines of a box, from its own unit files: what systemd would start, started on a laptop in a folder.

The units stand under ``firmware/system/units`` and are read as text. A path of the box becomes one in the folder.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hil_tests.errors import HilError

UNITS = Path("firmware/system/units")  # in a checkout
SETTINGS = "/etc/evenhand/box.env"
BOX_PATHS = (
    "/etc/evenhand", "/run/evenhand-agent", "/run/evenhand", "/var/lib/evenhand-agent", "/var/lib/evenhand",
    "/boot/select",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What of a service counts here."""

    name: str  # without "evenhand-"
    command: tuple[str, ...]
    environment: Mapping[str, str]
    says_ready: bool  # Type=notify
    is_restarted_always: bool
    restart_s: float
    final_statuses: tuple[int, ...]  # with these it stays ended


class BoxPlaces:
    """Where the paths of a box lie on this machine."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.checkout, self.folder = checkout, folder
        ends = r"(?=/|$|[\s'\";:)])"
        self._path = re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, BOX_PATHS))}){ends}")

    def here(self, text: str) -> str:
        """Return ``text`` with the paths of a box in it replaced by ours."""
        text = self._path.sub(lambda found: f"{self.folder}{found[0]}", text)
        text = text.replace("/opt/evenhand/.venv/bin/python", sys.executable)
        return re.sub(r"(?<![\w/.-])/opt/evenhand\b", lambda _: str(self.checkout), text)

    def file(self, path: str) -> Path:
        """Return where a file of the box lies.

        Raises
        ------
        HilError
            When it is no path of the mixer: this box has no other.
        """
        if not self._path.match(path) or ".." in Path(path).parts:
            raise HilError(f"{path}: not on this box, whose files are under {', '.join(BOX_PATHS)}")
        return Path(self.here(path))


def read_settings(path: Path) -> dict[str, str]:
    """Return the variables of an EnvironmentFile."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def read_unit(name: str, places: BoxPlaces, settings: Mapping[str, str]) -> Unit:
    """Return the unit ``evenhand-NAME.service``, with ``settings`` in its command line.

    Raises
    ------
    HilError
        When there is no such unit, or it names a variable that no setting gives.
    """
    path = places.checkout / UNITS / f"evenhand-{name}.service"
    try:
        text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HilError(f"{path}: {error.strerror}; is this a checkout of Evenhand?") from None
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and line[0] not in "#;[":
            key, value = line.split("=", 1)
            values.setdefault(key.strip(), []).append(value.strip())
    try:
        command = _words(places.here(values["ExecStart"][0]), settings)
    except KeyError as error:
        raise HilError(f"{path.name}: {error} stands neither in it nor in box.env") from None
    assigned = (item.split("=", 1) for value in values.get("Environment", []) for item in shlex.split(value))
    return Unit(
        name=name,
        command=tuple(places.here(word) for word in command),
        environment=dict(assigned),
        says_ready=values.get("Type") == ["notify"],
        is_restarted_always=values.get("Restart") == ["always"],
        restart_s=_seconds(values.get("RestartSec", ["100ms"])[0]),
        final_statuses=tuple(int(n) for value in values.get("RestartPreventExitStatus", []) for n in value.split()),
    )


def _words(text: str, settings: Mapping[str, str]) -> list[str]:
    """Split an Exec line as systemd does: ``${X}`` is part of a word, ``$X`` as many words as it has."""
    words: list[str] = []
    for word in shlex.split(text):
        whole = re.fullmatch(r"\$(\w+)", word)
        if whole:
            words += shlex.split(settings[whole[1]])
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda found: settings[found[1]], word))
    return words


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(ms|s|)", text)
    if not found:
        raise HilError(f"{text!r} is no time that this rig reads in a unit")
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "": 1.0}[found[2]]
