"""``evenhand status``: how boxes are."""

from __future__ import annotations

from typing import Any

from ..boxes import Boxes, PairedBox
from ..console import All, BoxNames, Json, say, say_json, size_text, table
from ..device import Device
from ..errors import HostError
from ..serial_door import Serial, over_serial, routed

NAME = "status"
EXAMPLE = "example: evenhand status --all"


def run(names: BoxNames = None, all_boxes: All = False, serial: Serial = None, json: Json = False) -> None:
    """Show how boxes are: release, slots, sound, room on the disk."""
    with over_serial(serial) as route:
        chosen = Boxes().find(names or [], is_all=all_boxes or not (names or route))
        _show(routed(chosen, route), is_json=json)


def _show(chosen: list[PairedBox], *, is_json: bool) -> None:
    told: list[dict[str, Any]] = []
    errors: list[HostError] = []
    for box in chosen:
        try:
            with Device.of(box) as device:
                told.append({"address": box.address, **device.get("status")})
        except HostError as error:
            errors.append(error)
            told.append({"address": box.address, "id": box.box_id, "name": box.name, "error": str(error)})
    if is_json:
        say_json({"boxes": told})
    else:
        say(table([_row(status) for status in told]))
    if errors:
        raise errors[0] if len(chosen) == 1 else HostError(f"{len(errors)} of {len(chosen)} boxes: {errors[0]}")


def _row(status: dict[str, Any]) -> list[str]:
    if "error" in status:
        return [status["name"], status["id"], "does not answer", "", "", "", ""]
    update, sound = status["update"], status["sound"]
    slots = " ".join(
        f"{'>' if slot['is_booted'] else ''}{slot['bootname']}:{slot['version'] or '?'}{'' if slot['is_good'] else '!'}"
        for slot in update["slots"]
    )
    state = "on trial" if update["is_trial"] else update["state"]
    return [
        status["name"], status["id"], status["board"], status["version"], f"{slots or '-'} {state}",
        f"engine {status['engine']['state']}, {'sounding' if sound['why_not_now'] else 'quiet'}",
        f"{size_text(status['disk']['free_bytes'])} free",
    ]  # fmt: skip
