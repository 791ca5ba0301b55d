"""``evenhand backup``: what makes a box this box, in one file on the laptop."""

from __future__ import annotations

import hashlib
import json as json_text
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..boxes import Boxes, PairedBox
from ..console import All, BoxNames, Json, say, say_json
from ..device import Device
from ..errors import HostError
from ..files import replaced

NAME = "backup"
EXAMPLE = "example: evenhand backup stage --out stage.evenhand-backup"


def run(
    names: BoxNames = None,
    all_boxes: All = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A file, or a folder for NAME-DATE.evenhand-backup (.)."),
    ] = None,
    json: Json = False,
) -> None:
    """Take scenes, last state, memory of house and venue, and settings of boxes onto this laptop."""
    chosen = Boxes().find(names or [], is_all=all_boxes)
    out = out or Path()
    if len(chosen) > 1 and not out.is_dir():
        raise HostError(f"{out}: is no folder; {len(chosen)} backups need one")
    records = [_take(box, out) for box in chosen]
    if json:
        say_json({"backups": records})
    else:
        say("\n".join(f"{r['file']}: {r['n_files']} files of {r['box']}, firmware {r['firmware']}" for r in records))


def _take(box: PairedBox, out: Path) -> dict[str, Any]:
    with Device.of(box) as device:
        content = device.read("backup")
    header = read_header(content, box.name)
    name = f"{re.sub(r'[^A-Za-z0-9-]+', '-', box.name)}-{time.strftime('%Y%m%d-%H%M%S')}.evenhand-backup"
    path = out / name if out.is_dir() else out
    with replaced(path, mode=0o600) as file:
        file.write(content)
    return {"file": str(path), **header}


def read_header(content: bytes, where: str) -> dict[str, Any]:
    """Return what a backup says of itself, once it is whole.

    Raises
    ------
    HostError
        When it is none, or damaged.
    """
    first, _, rest = content.partition(b"\n")
    try:
        header = json_text.loads(first)
        is_backup = header["format"] == "evenhand-backup"
    except (ValueError, KeyError, TypeError, RecursionError):
        is_backup = False
    if not is_backup:
        raise HostError(f"{where}: is no backup of a box")
    if hashlib.sha256(rest.removesuffix(b"\n")).hexdigest() != header.get("sha256"):
        raise HostError(f"{where}: is damaged (its SHA-256 does not fit); take another copy")
    return dict(header)
