"""``evenhand record``: what boxes have recorded, onto the laptop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..boxes import Boxes, PairedBox
from ..console import Json, note, progress, say, say_json, size_text, table
from ..device import Device
from ..errors import BoxAbsentError, HostError
from ..guard import guarded

NAME = "record"
GROUP = typer.Typer(
    help="Recordings of a box: list, fetch.", no_args_is_help=True, epilog="example: evenhand record fetch --box stage"
)
Box = Annotated[str | None, typer.Option("--box", metavar="BOX", help="Name, id or address (the only paired one).")]
READ_BYTES = 256 * 1024
PATIENCE_S = 60.0  # without a byte


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
            raise HostError(f"{device.host}: has no recordings")
        chosen = next((r for r in there if recording in (None, r["name"])), None)
        if chosen is None:
            raise HostError(f"{recording}: no such recording; `evenhand record list` names them")
        files = [f for f in chosen["files"] if not only or f["name"] in only]
        if not files:
            raise HostError(f"--only {', '.join(only or [])}: it has {', '.join(f['name'] for f in chosen['files'])}")
        folder = out / _harmless(chosen["name"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(f"{folder}: {error.strerror}; name another folder with --out") from None
        for file in files:
            with progress(file["name"], file["size_bytes"], is_quiet=json) as on_step:
                _fetch(device, chosen["name"], file, folder / _harmless(file["name"]), on_step)
    size_bytes = _size_bytes({"files": files})
    if json:
        say_json({"folder": str(folder), "files": [f["name"] for f in files], "size_bytes": size_bytes})
    else:
        say(f"{folder}: {len(files)} files, {size_text(size_bytes)}")


def _fetch(
    device: Device, recording: str, file: dict[str, Any], target: Path, on_step: Callable[[float, str], None]
) -> None:
    """Fetch what is missing of a file into ``.NAME.part``; it gets its name when it is whole."""
    size_bytes = int(file["size_bytes"])
    if target.exists() and target.stat().st_size >= size_bytes:
        return
    part = target.with_name(f".{target.name}.part")
    progressed_s = time.monotonic()
    try:
        with part.open("ab") as out:
            if out.tell() > size_bytes:
                out.truncate(0)
            if out.tell():
                note(f"{target.name}: goes on from {size_text(out.tell())}")
            while (at_bytes := out.tell()) < size_bytes:
                try:
                    span = {"range": f"bytes={at_bytes}-{size_bytes - 1}"}
                    with device.reading("recordings", recording, file["name"], headers=span) as response:
                        for data in response.stream(READ_BYTES):
                            out.write(data)
                            on_step(out.tell(), "")
                            progressed_s = time.monotonic()
                except BoxAbsentError:
                    if time.monotonic() - progressed_s > PATIENCE_S:
                        raise
                    time.sleep(1.0)
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
    except OSError as error:
        raise HostError(f"{target}: {error.strerror}; make room, then the same command goes on") from None


def _box(name: str | None) -> PairedBox:
    (box,) = Boxes().find([name] if name else [])
    return box


def _size_bytes(recording: dict[str, Any]) -> int:
    return sum(int(file["size_bytes"]) for file in recording["files"])


def _harmless(name: str) -> str:
    """Return a name of the box as one of a file here: no folders, and nothing that Windows does not take."""
    kept = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in name).strip(". ")
    if not kept:
        raise HostError(f"{name!r}: is no name of a file")
    return kept
