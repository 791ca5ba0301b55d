"""``evenhand update``: bring boxes to a release, the canary first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..boxes import Boxes, PairedBox
from ..bundle_file import BundleFile, read_bundle
from ..console import BACK_S, All, EvenIfSounding, Json, Patience, Yes, confirm, note, say, say_json, size_text
from ..course import Course, spare_slot
from ..device import Device
from ..errors import HostError
from ..serial_door import Serial, over_serial, routed

NAME = "update"
EXAMPLE = "example: evenhand update evenhand-0.2.0.raucb --all --canary foyer"


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The release, a signed .raucb file.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[BOX]...", help="Name, id or address.")] = None,
    all_boxes: All = False,
    canary: Annotated[str | None, typer.Option("--canary", metavar="BOX", help="Goes first (the first named).")] = None,
    even_if_sounding: EvenIfSounding = False,
    again: Annotated[bool, typer.Option("--again", help="Also where this release runs already.")] = False,
    no_restart: Annotated[
        bool, typer.Option("--no-restart", help="Install; it runs from the next restart on.")
    ] = False,
    patience: Patience = BACK_S,
    serial: Serial = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Bring boxes to a release: the canary first, and no further when one of them is not well afterwards.

    The same command again goes on where it stopped: boxes that have the release are skipped, a bundle that is half
    sent is sent to its end.
    """
    release = read_bundle(bundle)
    with over_serial(serial) as route:
        chosen = routed(_in_order(Boxes(), names or [], all_boxes, canary), route)
        before = _looked_at(chosen, release)
        if not json:
            _show(release, chosen, before)
        confirm(f"update {len(chosen)} box{'' if len(chosen) == 1 else 'es'} to {release.version}?", is_yes=yes)
        how = How(
            even_if_sounding=even_if_sounding, is_again=again, restarts=not no_restart, back_s=patience, is_json=json
        )  # fmt: skip
        _update(release, chosen, how)


@dataclass(frozen=True, kw_only=True)
class How:
    """What was asked for besides release and boxes."""

    even_if_sounding: bool
    is_again: bool
    restarts: bool
    back_s: float
    is_json: bool


def _update(release: BundleFile, chosen: list[PairedBox], how: How) -> None:
    sha256 = release.sha256()
    records: list[dict[str, Any]] = []
    trouble: HostError | KeyboardInterrupt | None = None
    for box in chosen:
        if trouble:
            records.append({"id": box.box_id, "name": box.name, "state": "not reached"})
            continue
        try:
            on_line = (lambda _: None) if how.is_json else note
            course = Course(box, is_quiet=how.is_json, on_line=on_line, back_s=how.back_s)
            records.append(
                course.update(
                    release, sha256, even_if_sounding=how.even_if_sounding, is_again=how.is_again, restarts=how.restarts
                )
            )
        except (HostError, KeyboardInterrupt) as error:
            trouble = error
            reason = str(error) or "stopped by hand"
            records.append({"id": box.box_id, "name": box.name, "state": "failed", "reason": reason})
    if how.is_json:
        say_json({"version": release.version, "boxes": records})
    else:
        say("\n".join(f"{r['name']}: {r['state']}{', ' + r['reason'] if 'reason' in r else ''}" for r in records))
    if isinstance(trouble, KeyboardInterrupt):
        raise HostError("stopped by hand; boxes go on with what they run, the same command goes on from here")
    if trouble:
        n_left = sum(r["state"] == "not reached" for r in records)
        raise HostError(f"{trouble}" + (f"; {n_left} boxes were not touched" if n_left else ""))


def _in_order(boxes: Boxes, names: list[str], is_all: bool, canary: str | None) -> list[PairedBox]:
    chosen = boxes.find(names, is_all=is_all)
    if canary is None:
        return chosen
    (first,) = boxes.find([canary])
    if first not in chosen:
        raise HostError(f"--canary {canary}: is not among the boxes to update")
    return [first, *(box for box in chosen if box != first)]


def _looked_at(chosen: list[PairedBox], release: BundleFile) -> list[dict[str, Any]]:
    """Return the status of every box; one that is absent or of another board stops all before anything is sent."""
    told = []
    for box in chosen:
        if box.board != release.board:
            raise HostError(f"{release.path}: is for {release.board}, {box.name} is {box.board}; nothing was sent")
        with Device.of(box) as device:
            told.append(device.get("status"))
    return told


def _show(release: BundleFile, chosen: list[PairedBox], before: list[dict[str, Any]]) -> None:
    note(f"{release.path.name}: {release.version} for {release.board}, {size_text(release.size_bytes)}")
    if release.notes:
        note("\n".join(f"  {line}" for line in release.notes.strip().splitlines()))
    for box, status in zip(chosen, before, strict=True):
        spare = spare_slot(status)
        where = f"slot {spare['bootname']} ({spare['version'] or 'empty'}) is overwritten" if spare else "no slots"
        note(f"  {box.name} at {box.address}: runs {status['version']}; {where}, then it restarts")
