"""What makes this box this box, in one file: scenes, last state, what it learned of house and venue, its settings.

A line of JSON that says what it is and what the rest's SHA-256 is, then the rest: the files as text. A newer
firmware's backup is refused, a damaged one too; each file is looked at before any is written.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from ..atomic import Outputs
from ..control.scenes import read_scene
from ..errors import EvenhandError
from .refusal import Refusal

FORMAT, FORMAT_VERSION = "evenhand-backup", 1
MAX_BACKUP_BYTES = 32 << 20
MAX_FILE_BYTES = 1 << 20
MAX_FILES = 400
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9 ._-]{0,79}\.toml")
# Folders of the data partition, and which of their files go along. Whoever remembers more, does so in one of them.
FOLDERS = {"state": re.compile(r"last\.toml"), "scenes": NAME, "house": NAME, "venue": NAME}
STATE, RESTORED = "state/last.toml", "restored/last.toml"  # control takes it at its next start, or says why not
SETTINGS = "settings/box.env"


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup that is whole and of a version that can be read."""

    header: dict[str, Any]
    files: dict[str, str]


def make_backup(data: Path, settings: Path, *, version: str, contract_id: str, box: str) -> bytes:
    """Return the file."""
    files: dict[str, str] = {}
    for folder, pattern in FOLDERS.items():
        for path in sorted((data / folder).glob("*.toml")):
            if pattern.fullmatch(path.name) and path.is_file() and len(files) < MAX_FILES:
                _take(files, f"{folder}/{path.name}", path)
    _take(files, SETTINGS, settings)
    body = json.dumps({"files": files}).encode()
    header = {
        "format": FORMAT, "format_version": FORMAT_VERSION, "firmware": version, "contract_id": contract_id, "box": box,
        "made_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "n_files": len(files),
        "sha256": hashlib.sha256(body).hexdigest(),
    }  # fmt: skip
    return json.dumps(header).encode() + b"\n" + body + b"\n"


def _take(files: dict[str, str], name: str, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    if len(text.encode()) <= MAX_FILE_BYTES:
        files[name] = text


def read_backup(content: bytes, *, version: str) -> Backup:
    """Return what a backup holds.

    Raises
    ------
    Refusal
        When it is none, damaged, or of a newer firmware than ``version``.
    """
    first, _, rest = content.partition(b"\n")
    try:
        header = json.loads(first)
        is_ours = isinstance(header, dict) and header.get("format") == FORMAT
    except (ValueError, RecursionError):
        is_ours = False
    if not is_ours:
        raise Refusal(422, "that is no backup of a box")
    made_by = str(header.get("firmware"))[:40]
    try:
        is_newer = header.get("format_version") != FORMAT_VERSION or Version(made_by) > Version(version)
    except InvalidVersion:
        raise Refusal(422, f"the backup was made by {made_by!r}, which is no version") from None
    if is_newer:
        raise Refusal(422, f"the backup is from firmware {made_by}, this box has {version}; update the box first")
    body = rest.removesuffix(b"\n")
    if hashlib.sha256(body).hexdigest() != header.get("sha256"):
        raise Refusal(422, "the backup is damaged (its SHA-256 does not fit); take another copy")
    try:
        files = json.loads(body)["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refusal(422, "the backup cannot be read; take another one") from None
    if not isinstance(files, dict) or len(files) > MAX_FILES + 1:
        raise Refusal(422, "the backup holds no list of files")
    for name, text in files.items():
        _refuse_file(name, text)
    return Backup(header=header, files=files)


def _refuse_file(name: str, text: Any) -> None:
    folder, _, file = name.partition("/")
    is_known = name == SETTINGS or (folder in FOLDERS and FOLDERS[folder].fullmatch(file) is not None)
    if not is_known or not isinstance(text, str) or len(text.encode("utf-8", "replace")) > MAX_FILE_BYTES:
        raise Refusal(422, f"the backup holds {name[:80]!r}, which no box makes; nothing was taken")
    if name != SETTINGS:
        try:
            tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
            raise Refusal(422, f"{name} in the backup is not TOML ({str(error)[:80]}); nothing was taken") from None


def restore(backup: Backup, data: Path, settings: Path) -> dict[str, Any]:
    """Write what a backup holds, all or nothing, and return what was written and what this box cannot use.

    Scenes and memory replace those of the same name; the last state waits for the next start of the box. Settings
    belong to root: they are compared and not written.
    """
    places = {name: data / (RESTORED if name == STATE else name) for name in backup.files if name != SETTINGS}
    with Outputs() as outputs:
        for name, place in places.items():
            outputs.make_folder(place.parent)
            part = outputs.stage(place)
            part.chmod(0o660)
            part.write_text(backup.files[name], encoding="utf-8")
        outputs.commit()
    return {
        "files": sorted(places),
        "foreign_scenes": [name for name in sorted(places) if not _is_usable(name, places[name])],
        "are_settings_other": _is_other(backup.files.get(SETTINGS), settings),
        "takes_effect": "at the next start of the box" if STATE in places else "now",
    }


def _is_usable(name: str, path: Path) -> bool:
    if not name.startswith(("scenes/", "state/")):
        return True
    try:
        read_scene(path)
    except EvenhandError:
        return False
    return True


def _is_other(text: str | None, settings: Path) -> bool:
    try:
        return text is not None and settings.read_text(encoding="utf-8") != text
    except OSError:
        return text is not None
