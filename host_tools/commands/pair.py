"""``evenhand pair``: make a box know this laptop, with the code that the box shows."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from ..boxes import Boxes
from ..console import Json, ask, note, say, say_json
from ..device import CABLE_CONNECT_S, CONNECT_S, Device, pair, split_address
from ..errors import HostError, RefusedError
from ..serial_door import Route, Serial, over_serial, routed

NAME = "pair"
EXAMPLE = "example: evenhand pair 192.168.1.20 --code ABCD-1234"


def run(
    address: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS]", help="host, host:port; with --show and --forget a box.")
    ] = None,
    code: Annotated[str | None, typer.Option("--code", metavar="CODE", help="What the box shows (asked for).")] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What this laptop is called there.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show the code for the next laptop, on one that is paired.")
    ] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Make box and laptop forget each other.")] = False,
    serial: Serial = None,
    json: Json = False,
) -> None:
    """Make a box know this laptop, with the code that the box shows."""
    with over_serial(serial) as route:
        _pair(address, code, name, show=show, forget=forget, is_json=json, route=route)


def _pair(
    address: str | None, code: str | None, name: str | None, *, show: bool, forget: bool, is_json: bool, route: Route
) -> None:
    boxes = Boxes()
    if show and forget:
        raise HostError("--show and --forget: one of them")
    if show:
        (box,) = routed(boxes.find([address] if address else []), route)
        with Device.of(box) as device:
            told = device.get("pair")
        say_json(told) if is_json else say(f"{told['code']}\npaired with: {', '.join(told['paired'])}")
        return
    if forget:
        (box,) = routed(boxes.find([address] if address else []), route)
        try:
            with Device.of(box) as device:
                device.send("DELETE", "pair")
        except RefusedError as error:
            note(f"{error}; forgotten here")
        boxes.forget(box)
        say_json({"forgotten": box.box_id}) if is_json else say(f"{box.name} ({box.box_id}): forgotten")
        return
    if route is None and address is None:
        raise HostError("which box? name its address: evenhand pair ADDRESS; or --serial PORT")
    host, port = route or split_address(address or "")
    box = pair(
        host, port, code or ask("pairing code, as the box shows it"), name or socket.gethostname()[:60] or "laptop",
        CABLE_CONNECT_S if route else CONNECT_S,
    )  # fmt: skip
    boxes.keep(box)
    record = {"id": box.box_id, "name": box.name, "board": box.board, "address": box.address}
    say_json(record) if is_json else say(f"{box.name} ({box.board}, {box.box_id}) at {box.address}: paired")
