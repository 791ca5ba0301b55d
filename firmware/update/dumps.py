"""What crashed on this box, as systemd-coredump keeps it: named to who is paired, given away only with consent.

A dump is the memory of a process: sound, names, settings, the tokens of laptops. How many are kept, and how large they
may be, says the image's ``coredump.conf``; here nothing is written.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .http import Answer
from .refusal import Refusal
from .stores import ranged_answer

# systemd-coredump(8): what crashed, its user, the boot, its process, when in microseconds.
NAME = re.compile(
    r"core\.(?P<process>[^/.\0]{1,80})\.\d{1,10}\.[0-9a-f]{32}\.(?P<pid>\d{1,10})\.(?P<time_us>\d{10,17})(\.(zst|lz4|xz))?"
)
CRASHED = "fc2e22bc6ee647b6b90729ab34a250b1"  # MESSAGE_ID of a crash, systemd's catalog
FIELDS = "COREDUMP_FILENAME,COREDUMP_UNIT,COREDUMP_SIGNAL_NAME"
CONSENT = "given"
MAX_LISTED = 50
ANSWER_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Dump:
    """The memory of a process at its end; "" where the journal does not know it any more."""

    name: str
    process: str
    pid: int
    time_s: float
    size_bytes: int  # as it is kept, packed
    unit: str
    signal: str


class Dumps:
    """The dumps that are kept on this box.

    Parameters
    ----------
    folder
        Where systemd-coredump keeps them.
    journalctl
        Knows which unit each was of.
    """

    def __init__(self, folder: Path, journalctl: str) -> None:
        self._folder, self._journalctl = folder, journalctl

    def listed(self) -> list[dict[str, Any]]:
        """Return what crashed, the newest first.

        Raises
        ------
        Refusal
            When this machine keeps no dumps.
        """
        try:
            paths = [p for p in self._folder.iterdir() if NAME.fullmatch(p.name) and p.is_file() and not p.is_symlink()]
        except OSError as error:
            raise Refusal(501, f"{self._folder}: {error.strerror}; this machine keeps no dumps for us") from None
        told = self._told() if paths else {}
        found = [_dump(path, told.get(path.name, {})) for path in paths]
        found.sort(key=lambda dump: dump.time_s, reverse=True)
        return [asdict(dump) for dump in found[:MAX_LISTED]]

    def answer(self, name: str, consent: str, byte_range: str | None) -> Answer:
        """Return a dump, or what a Range header asks of it.

        Raises
        ------
        Refusal
            Without consent, or when there is no such dump.
        """
        if not NAME.fullmatch(name):
            raise Refusal(400, f"{name[:80]!r} is no name of a dump; `evenhand logs --source dumps` names them")
        if consent != CONSENT:
            raise Refusal(403, f"a dump holds sound, names and keys of this box: ask its owner, then consent={CONSENT}")
        try:
            fd = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise Refusal(404, f"no dump {name[:80]}; `evenhand logs --source dumps` names them") from None
        except OSError as error:
            raise Refusal(403, f"{name[:80]}: {error.strerror}; this machine keeps it for root alone") from None
        return ranged_answer(fd, byte_range)

    def _told(self) -> dict[str, dict[str, Any]]:
        """Return what the journal knows of crashes, by the name of the dump."""
        command = [self._journalctl, "--no-pager", "--output=json", f"--output-fields={FIELDS}", "--reverse",
                   f"--lines={4 * MAX_LISTED}", f"MESSAGE_ID={CRASHED}"]  # fmt: skip
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S)
        except (OSError, subprocess.TimeoutExpired):
            return {}  # then they have no unit, and are there all the same
        found = {}
        for line in done.stdout.splitlines():
            try:
                entry = json.loads(line)
                found[Path(str(entry["COREDUMP_FILENAME"])).name] = entry
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return found


def _dump(path: Path, told: dict[str, Any]) -> Dump:
    words = NAME.fullmatch(path.name)
    assert words is not None
    try:
        size_bytes = path.stat().st_size
    except OSError:  # it was cleaned away just now
        size_bytes = 0
    return Dump(
        name=path.name, process=words["process"], pid=int(words["pid"]), time_s=int(words["time_us"]) / 1e6,
        size_bytes=size_bytes, unit=str(told.get("COREDUMP_UNIT", "")),
        signal=str(told.get("COREDUMP_SIGNAL_NAME", "")),
    )  # fmt: skip
