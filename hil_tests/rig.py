"""Rigs as data: which driver makes the box, and what is wired. A TOML file each, in ``rigs/`` or of one's own."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from board_configs.table import BoardError, Table, near_misses, quoted

from .errors import HilError, NotWiredError

FOLDER = Path(__file__).parent / "rigs"
MAX_FILE_BYTES = 64 * 1024
DRIVERS = ("sim", "qemu", "bench")
# What a rig can have wired. A test names what it needs in these words.
FIXTURES = {
    "audio_loopback": "sound into every input and out of every output, aligned to the frame",
    "lockstep": "the card's clock waits for the box: nothing depends on the wall clock, so figures may gate",
    "power": "power can be cut and given",
    "shell": "commands and files on the box, and its settings",
    "serial": "its serial console",
    "network": "its update agent answers `evenhand`",
    "update": "two slots, a bundle for them, and the keys that its image trusts",
    "card_faults": "the sound card can be broken off, unplugged, delayed",
    "process_faults": "processes of the box can be killed and stopped",
    "load_faults": "others can take the box's processor and memory",
    "disk_faults": "the disk of its data can be full, stuck, damaged",
    "heat_faults": "what its machine says of heat and supply can be set",
    "clock_faults": "the box's own clock can be set",
    "network_faults": "the network between it and the laptop can be cut and delayed",
}


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A rig file, whole and checked.

    ``settings`` is the table of its driver, which the driver reads and closes.
    """

    name: str
    title: str
    driver: str
    has: tuple[str, ...]
    settings: Table
    path: Path

    def need(self, fixture: str) -> None:
        """Raise ``NotWiredError`` where the rig does not have ``fixture``."""
        if fixture not in self.has:
            raise NotWiredError(self.name, fixture, self.has)

    def lacks(self, fixtures: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of ``fixtures`` that the rig does not have."""
        return tuple(fixture for fixture in fixtures if fixture not in self.has)


def rig_names() -> tuple[str, ...]:
    """Return the names of the rigs described in ``rigs/``."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_rig(name_or_path: str | Path) -> Rig:
    """Return the rig of that name, or of a file when given a path (it has a slash or ends in ``.toml``).

    Raises
    ------
    HilError
        When there is no such rig, or its file says what cannot be.
    """
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or "/" in text or text.endswith(".toml")
    if not is_path and text not in rig_names():
        raise HilError(f"no rig {quoted(text)}; {near_misses(text, rig_names())} A file of your own is ./bench.toml")
    path = Path(name_or_path) if is_path else FOLDER / f"{text}.toml"
    try:
        return _rig(Table(path.name, _parse(path)), path.absolute())
    except BoardError as error:
        raise HilError(str(error)) from None


def check_fixtures(fixtures: tuple[str, ...], where: str) -> None:
    """Refuse words that are no fixture.

    Raises
    ------
    HilError
        With ``where`` and the near misses.
    """
    for fixture in fixtures:
        if fixture not in FIXTURES:
            raise HilError(f"{where}: no rig can have {quoted(fixture)}; {near_misses(fixture, FIXTURES)}")


def _rig(root: Table, path: Path) -> Rig:
    title = root.text("title")
    driver = root.choice("driver", DRIVERS)
    has = root.items("has", str, "texts")
    rig = Rig(name=path.stem, title=title, driver=driver, has=has, settings=root.table(driver), path=path)
    root.close()
    check_fixtures(has, f"{root.place}: has")
    return rig


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise HilError(f"{path}: cannot be read ({error.strerror}); rigs by name: {', '.join(rig_names())}") from None
    if len(content) > MAX_FILE_BYTES:
        raise HilError(f"{path}: is larger than {MAX_FILE_BYTES // 1024} KiB; is it a rig file?")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise HilError(f"{path.name}: is not TOML: {error}") from None
