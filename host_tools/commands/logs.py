"""``evenhand logs``: what a box said, and what of it crashed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..boxes import Boxes
from ..console import BoxName, Json, Yes, confirm, note, progress, say, say_json, size_text, table
from ..device import Device
from ..errors import HostError
from ..fetching import fetch_file, harmless
from ..files import replaced
from ..serial_door import Serial, over_serial, routed

NAME = "logs"
EXAMPLE = "example: evenhand logs stage --lines 500"
SOURCES = ("journal", "decisions", "dumps")
NEWEST = "newest"
CONSENT = "given"  # what the box asks for before it gives a dump away


def run(
    name: BoxName = None,
    source: Annotated[
        str, typer.Option("--source", metavar="WHAT", help="journal, decisions or dumps (journal).")
    ] = "journal",
    lines: Annotated[int, typer.Option("--lines", min=1, max=5000, help="How many of the last (200).")] = 200,
    dump: Annotated[
        str | None, typer.Option("--dump", metavar="NAME", help="Take this core dump, or the newest; asks first.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write them here.")] = None,
    serial: Serial = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Show the last lines of the box's journal or of the log of decisions, or what crashed; take a core dump."""
    if source not in SOURCES:
        raise HostError(f"--source {source}: there are {', '.join(SOURCES)}")
    with over_serial(serial) as route:
        (box,) = routed(Boxes().find([name] if name else []), route)
        with Device.of(box) as device:
            if dump is not None:
                _take(device, box.name, dump, out, is_yes=yes, is_json=json)
                return
            if source == "dumps":
                _list(device, box.name, is_json=json)
                return
            content = device.read("logs", source, lines=lines)
    if json and out is None:
        say_json({"name": box.name, "source": source, "lines": content.decode("utf-8", "replace").splitlines()})
        return
    if out is None:
        text = content.decode("utf-8", "replace").rstrip("\n")
        say("".join(c if c.isprintable() or c in "\n\t" else "?" for c in text))
        return
    with replaced(out) as file:
        file.write(content)
    n_lines = len(content.splitlines())
    say_json({"file": str(out), "n_lines": n_lines}) if json else say(f"{out}: {n_lines} lines of {box.name}")


def _list(device: Device, box: str, *, is_json: bool) -> None:
    found = device.get("dumps")["dumps"]
    if is_json:
        say_json({"name": box, "dumps": found})
    elif found:
        say(table([[d["name"], _what(d), _when(d), size_text(d["size_bytes"])] for d in found]))
        note(
            f"`evenhand logs {box} --dump {NEWEST}` takes the first one; it asks, since a dump holds sound and secrets"
        )
    else:
        say(f"{box}: nothing crashed, as far as dumps are kept")


def _take(device: Device, box: str, wanted: str, out: Path | None, *, is_yes: bool, is_json: bool) -> None:
    found = device.get("dumps")["dumps"]
    chosen = next((d for d in found if wanted in (NEWEST, d["name"])), None)
    if chosen is None:
        raise HostError(f"--dump {wanted}: {box} has no such dump; `evenhand logs {box} --source dumps` names them")
    size_bytes, name = int(chosen["size_bytes"]), str(chosen["name"])
    target = out or Path(harmless(name))
    note(f"{_what(chosen)} of {box}, {_when(chosen)}: {size_text(size_bytes)}")
    note("a dump is all that the process had in memory: sound, names, settings, keys; whose box it is must agree")
    confirm(f"take it onto this laptop, to {target}?", is_yes=is_yes)
    with progress(target.name, size_bytes, is_quiet=is_json) as on_step:
        fetch_file(device, ("dumps", name), size_bytes, target, on_step, mode=0o600, consent=CONSENT)
    if is_json:
        say_json({"name": box, "file": str(target), **chosen})
    else:
        say(f"{target}: {size_text(size_bytes)}, for your eyes alone; `coredumpctl` and `gdb` read it (zstd -d)")


def _what(dump: dict[str, Any]) -> str:
    words = [str(dump["unit"]).removesuffix(".service") or str(dump["process"]), str(dump["signal"])]
    return "".join(c if c.isprintable() else "?" for c in " ".join(word for word in words if word))


def _when(dump: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(dump["time_s"])))
