"""``evenhand logs``: what a box said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..boxes import Boxes
from ..console import BoxName, say
from ..device import Device
from ..errors import HostError
from ..files import replaced
from ..serial_door import Serial, over_serial, routed

NAME = "logs"
EXAMPLE = "example: evenhand logs stage --lines 500"


def run(
    name: BoxName = None,
    source: Annotated[
        str, typer.Option("--source", metavar="WHAT", help="journal or decisions (journal).")
    ] = "journal",
    lines: Annotated[int, typer.Option("--lines", min=1, max=5000, help="How many of the last (200).")] = 200,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write them here.")] = None,
    serial: Serial = None,
) -> None:
    """Show the last lines of the box's journal, or of the log of decisions."""
    if source not in ("journal", "decisions"):
        raise HostError(f"--source {source}: there are journal and decisions")
    with over_serial(serial) as route:
        (box,) = routed(Boxes().find([name] if name else []), route)
        with Device.of(box) as device:
            content = device.read("logs", source, lines=lines)
    if out is None:
        text = content.decode("utf-8", "replace").rstrip("\n")
        say("".join(c if c.isprintable() or c in "\n\t" else "?" for c in text))
        return
    with replaced(out) as file:
        file.write(content)
    say(f"{out}: {len(content.splitlines())} lines of {box.name}")
