"""``evenhand restore``: give a box back what a backup holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..boxes import Boxes
from ..console import EvenIfSounding, Json, Yes, confirm, note, say, say_json
from ..course import Course
from ..device import Device
from ..errors import HostError
from .backup import read_header

NAME = "restore"
EXAMPLE = "example: evenhand restore stage.evenhand-backup stage --restart"


def run(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `evenhand backup` wrote.")],
    name: Annotated[str | None, typer.Argument(metavar="[BOX]", help="Name, id or address.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Restart the box, so that its last state counts too.")
    ] = False,
    even_if_sounding: EvenIfSounding = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Give a box back its scenes, memory and last state; what it has under the same names is replaced."""
    try:
        content = backup.read_bytes()
    except OSError as error:
        raise HostError(f"{backup}: {error.strerror}; name a file that `evenhand backup` wrote") from None
    header = read_header(content, str(backup))
    (box,) = Boxes().find([name] if name else [])
    made = f"{header.get('n_files')} files of {header.get('box')}, {header.get('made_utc')}"
    confirm(f"replace scenes and state of {box.name} at {box.address} by {made}?", is_yes=yes)
    with Device.of(box) as device:
        told = device.send("POST", "restore", body=content)
    if restart:
        on_line = (lambda _: None) if json else note
        Course(box, is_quiet=json, on_line=on_line).restart(even_if_sounding=even_if_sounding)
    if json:
        say_json({"id": box.box_id, "name": box.name, **told})
        return
    say(f"{box.name}: {len(told['files'])} files restored, {'now in effect' if restart else told['takes_effect']}")
    if told["foreign_scenes"]:
        note(f"of another contract or damaged, kept but not usable: {', '.join(told['foreign_scenes'])}")
    if told["are_settings_other"]:
        note("settings/box.env of the backup differs from the box's; those are root's, compare them by hand")
