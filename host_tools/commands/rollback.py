"""``evenhand rollback``: one step back."""

from __future__ import annotations

from ..boxes import Boxes, PairedBox
from ..console import BACK_S, BoxName, EvenIfSounding, Json, Patience, Yes, confirm, note, say, say_json
from ..course import Course, spare_slot
from ..device import Device
from ..errors import HostError
from ..serial_door import Serial, over_serial, routed

NAME = "rollback"
EXAMPLE = "example: evenhand rollback stage"


def run(
    name: BoxName = None,
    even_if_sounding: EvenIfSounding = False,
    patience: Patience = BACK_S,
    serial: Serial = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make a box run what it ran before its last update; settings, scenes and recordings stay."""
    with over_serial(serial) as route:
        (box,) = routed(Boxes().find([name] if name else []), route)
        _roll_back(box, even_if_sounding=even_if_sounding, back_s=patience, is_yes=yes, is_json=json)


def _roll_back(box: PairedBox, *, even_if_sounding: bool, back_s: float, is_yes: bool, is_json: bool) -> None:
    with Device.of(box) as device:
        status = device.get("status")
    spare = spare_slot(status)
    if spare is None or not spare["is_good"]:
        state = "has no other slot" if spare is None else f"slot {spare['bootname']} is not good"
        raise HostError(f"{box.name}: nothing to go back to, {state}; send an update instead")
    older = spare["version"] or "what slot " + spare["bootname"] + " holds"
    confirm(f"{box.name} at {box.address}: from {status['version']} back to {older}, with a restart?", is_yes=is_yes)
    course = Course(box, is_quiet=is_json, on_line=(lambda _: None) if is_json else note, back_s=back_s)
    record = course.roll_back(even_if_sounding=even_if_sounding)
    say_json(record) if is_json else say(f"{box.name}: {record['from']} -> {record['to']}")
