"""``evenhand discover``: which boxes are on this network."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from ..boxes import Boxes, PairedBox
from ..console import Json, note, say, say_json, table
from ..errors import HostError

NAME = "discover"
EXAMPLE = "example: evenhand discover --seconds 5"
SERVICE = "_evenhand._tcp.local."


def run(
    seconds: Annotated[float, typer.Option("--seconds", min=0.5, max=60.0, help="How long to look (3).")] = 3.0,
    json: Json = False,
) -> None:
    """Look for boxes on this network (mDNS), and note where those are now that this laptop is paired with."""
    found = _look(seconds)
    boxes = Boxes()
    paired = {box.box_id: box for box in boxes.all()}
    for one in found:
        known = paired.get(one["id"])
        one["is_paired"] = known is not None and known.fingerprint.startswith(one["fingerprint"] or " ")
        if known and one["is_paired"] and (known.host, known.port) != (one["host"], one["port"]):
            boxes.move(known, one["host"], one["port"])
            note(f"{known.name}: was at {known.address}, is at {_address(one)} now")
    if json:
        say_json({"boxes": found})
    elif found:
        say(table([[b["name"], b["id"], b["board"], b["version"], _address(b), "paired" if b["is_paired"] else ""]
                   for b in found]))  # fmt: skip
    else:
        raise HostError(
            "no box answers on this network; is it on, and does the network pass multicast (mDNS)? an address always "
            "works: evenhand pair ADDRESS"
        )


def _address(found: dict[str, Any]) -> str:
    return PairedBox(
        box_id="", name="", board="", host=found["host"], port=found["port"], fingerprint="", token=""
    ).address


def _look(seconds: float) -> list[dict[str, Any]]:
    from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

    class Listener(ServiceListener):
        def __init__(self) -> None:
            self.names: set[str] = set()

        def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            self.names.add(name)

        def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            self.names.add(name)

        def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            self.names.discard(name)

    listener = Listener()
    try:
        zeroconf = Zeroconf()
    except (OSError, RuntimeError) as error:  # the latter where it finds no interface at all
        reason = getattr(error, "strerror", None) or str(error)
        raise HostError(f"this laptop has no network to look on ({reason}); plug it in, or join one") from None
    try:
        ServiceBrowser(zeroconf, SERVICE, listener)
        time.sleep(seconds)
        infos = [zeroconf.get_service_info(SERVICE, name, 1500) for name in sorted(listener.names)]
    finally:
        zeroconf.close()
    return [_record(info) for info in infos if info is not None and info.parsed_addresses()]


def _record(info: Any) -> dict[str, Any]:
    told = {key.decode("utf-8", "replace"): (value or b"").decode("utf-8", "replace") for key, value in
            info.properties.items()}  # fmt: skip
    shown = {key: "".join(c for c in told.get(key, "") if c.isprintable())[:80] for key in
             ("id", "name", "board", "version", "fingerprint")}  # fmt: skip
    return {**shown, "host": info.parsed_addresses()[0], "port": int(info.port)}
