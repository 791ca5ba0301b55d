"""``evenhand doctor``: what an installer gets wrong, found before the show."""

from __future__ import annotations

import socket
import time
from typing import Any

from ..boxes import Boxes, PairedBox
from ..console import All, BoxNames, Json, say, say_json
from ..device import Device
from ..errors import BoxAbsentError, HostError

NAME = "doctor"
EXAMPLE = "example: evenhand doctor stage"
MAX_CLOCK_S = 60.0  # signatures are days long, logs are compared by eye
SLOW_MS = 200.0
MARKS = {True: "ok  ", False: "BAD ", None: "?   "}


def run(names: BoxNames = None, all_boxes: All = False, json: Json = False) -> None:
    """Look for what an installer gets wrong: real time, card, power, heat, disk, clock, slots, network."""
    records = [_examine(box) for box in Boxes().find(names or [], is_all=all_boxes)]
    if json:
        say_json({"boxes": records})
    else:
        say("\n".join(
            line for r in records
            for line in (f"{r['name']}:", *(f"  {MARKS[f['is_well']]} {f['what']}: {f['text']}" for f in r["findings"]))
        ))  # fmt: skip
    n_bad = sum(finding["is_well"] is False for record in records for finding in record["findings"])
    if n_bad:
        raise HostError(f"{n_bad} thing{'' if n_bad == 1 else 's'} to put right; see above")


def _examine(box: PairedBox) -> dict[str, Any]:
    findings = [_network(box)]
    if findings[0]["is_well"] is not False:
        with Device.of(box) as device:
            began_s = time.time()
            told = device.get("checkup")
            status = device.get("status")
            findings += told["findings"]
            findings.append(_clock(float(told["time_s"]) - (began_s + time.time()) / 2))
            findings.append(_slots(status))
    return {"id": box.box_id, "name": box.name, "findings": findings}


def _network(box: PairedBox) -> dict[str, Any]:
    began_s = time.monotonic()
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(box.host, box.port, type=socket.SOCK_STREAM)}
        resolved_s = time.monotonic()
        with Device.of(box) as device:
            device.get("hello")
    except socket.gaierror:
        return {"what": "network", "is_well": False, "text": f"{box.host}: no such host; `evenhand discover` looks"}
    except BoxAbsentError as error:
        return {"what": "network", "is_well": False, "text": str(error)}
    answer_ms = 1000 * (time.monotonic() - resolved_s)
    text = f"{', '.join(sorted(addresses))} answers in {answer_ms:.0f} ms, name looked up in " \
           f"{1000 * (resolved_s - began_s):.0f} ms"  # fmt: skip
    return {"what": "network", "is_well": True if answer_ms < 5 * SLOW_MS else None, "text": text}


def _clock(ahead_s: float) -> dict[str, Any]:
    is_well = abs(ahead_s) < MAX_CLOCK_S
    text = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this laptop's"
    return {"what": "clock here", "is_well": is_well, "text": text if is_well else f"{text}; give it a time server"}


def _slots(status: dict[str, Any]) -> dict[str, Any]:
    update = status["update"]
    if update["trouble"]:
        return {"what": "updates", "is_well": None, "text": update["trouble"]}
    bad = [slot["bootname"] for slot in update["slots"] if not slot["is_good"] and slot["version"]]
    if update["is_trial"]:
        return {"what": "updates", "is_well": None, "text": f"{status['version']} is still on trial"}
    text = f"slot {', '.join(bad)} is not good: there is nothing to go back to" if bad else "nothing in the way"
    return {"what": "updates", "is_well": None if bad else True, "text": text}
