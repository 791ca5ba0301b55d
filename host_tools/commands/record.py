"""``evenhand record``: what boxes have recorded, onto the laptop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..boxes import Boxes, PairedBox
from ..console import Json, progress, say, say_json, size_text, table
from ..device import Device
from ..errors import HostError
from ..fetching import fetch_file, harmless
from ..guard import guarded

NAME = "record"
SWITCH = "where its box.env says EVENHAND_RECORDER=on"
GROUP = typer.Typer(
    help=f"Recordings of a box: list, fetch. It makes them {SWITCH}.",
    no_args_is_help=True,
    epilog="example: evenhand record fetch --box stage",
)
Box = Annotated[str | None, typer.Option("--box", metavar="BOX", help="Name, id or address (the only paired one).")]


@GROUP.command("list", epilog="example: evenhand record list --box stage")
@guarded
def list_recordings(box: Box = None, json: Json = False) -> None:
    """Name the recordings of a box, the newest first."""
    with Device.of(_box(box)) as device:
        told = device.get("recordings")
    if json:
        say_json(told)
    else:
        say(table([[r["name"], size_text(_size_bytes(r)), ", ".join(f["name"] for f in r["files"])]
                   for r in told["recordings"]]))  # fmt: skip


@GROUP.command("fetch", epilog="example: evenhand record fetch 2026-03-04_21-30-05_Friday --out ~/recordings")
@guarded
def fetch(
    recording: Annotated[str | None, typer.Argument(metavar="[RECORDING]", help="Which one (the newest).")] = None,
    box: Box = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that its folder is put into (.).")] = Path(),
    only: Annotated[list[str] | None, typer.Option("--only", metavar="FILE", help="Only this of its files.")] = None,
    json: Json = False,
) -> None:
    """Fetch a recording; stopped or broken off, the same command goes on where it was."""
    with Device.of(_box(box)) as device:
        there = device.get("recordings")["recordings"]
        if not there:
            raise HostError(f"{device.host}: has no recordings; it makes them {SWITCH}")
        chosen = next((r for r in there if recording in (None, r["name"])), None)
        if chosen is None:
            raise HostError(f"{recording}: no such recording; `evenhand record list` names them")
        files = [f for f in chosen["files"] if not only or f["name"] in only]
        if not files:
            raise HostError(f"--only {', '.join(only or [])}: it has {', '.join(f['name'] for f in chosen['files'])}")
        folder = out / harmless(chosen["name"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(f"{folder}: {error.strerror}; name another folder with --out") from None
        for file in files:
            with progress(file["name"], file["size_bytes"], is_quiet=json) as on_step:
                path = ("recordings", chosen["name"], file["name"])
                fetch_file(device, path, int(file["size_bytes"]), folder / harmless(file["name"]), on_step)
    size_bytes = _size_bytes({"files": files})
    if json:
        say_json({"folder": str(folder), "files": [f["name"] for f in files], "size_bytes": size_bytes})
    else:
        say(f"{folder}: {len(files)} files, {size_text(size_bytes)}")


def _box(name: str | None) -> PairedBox:
    (box,) = Boxes().find([name] if name else [])
    return box


def _size_bytes(recording: dict[str, Any]) -> int:
    return sum(int(file["size_bytes"]) for file in recording["files"])
