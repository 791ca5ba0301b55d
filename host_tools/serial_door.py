"""A box over a serial cable: the same requests, the same certificate and token, where the network is gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import typer

from .boxes import PairedBox
from .errors import HostError

Serial = Annotated[
    str | None, typer.Option("--serial", metavar="PORT", help="Over this serial port, as /dev/ttyACM0 or COM3[:BAUD].")
]
Route = tuple[str, int] | None
BAUD = 115_200


def split_port(text: str) -> tuple[str, int]:
    """Return the port and its bits a second of ``PORT`` or ``PORT:BAUD``."""
    port, colon, baud = text.rpartition(":")
    return (port, int(baud)) if colon and baud.isdecimal() else (text, BAUD)


@contextmanager
def over_serial(port: str | None) -> Iterator[Route]:
    """Yield where on this laptop the box on the other end of the cable answers; None without a cable.

    Raises
    ------
    HostError
        When there is no such port.
    """
    if port is None:
        yield None
        return
    from board_configs.serial_link.bridge import serve_laptop
    from board_configs.serial_link.line import SerialLine

    stop = threading.Event()
    with SerialLine(*split_port(port)) as line, socket.create_server(("127.0.0.1", 0), backlog=1) as listening:
        if not line.wait_open():
            raise HostError(f"{port}: cannot be opened ({line.trouble}); is the cable in, and nobody else using it?")
        thread = threading.Thread(target=serve_laptop, args=(line, listening, stop), daemon=True)
        thread.start()
        try:
            yield "127.0.0.1", listening.getsockname()[1]
        finally:
            stop.set()
            thread.join(2.0)


def routed(boxes: list[PairedBox], route: Route) -> list[PairedBox]:
    """Return the boxes as they are reached."""
    if route is None:
        return boxes
    if len(boxes) != 1:
        raise HostError("--serial: one box hangs on the cable; name it")
    return [replace(boxes[0], host=route[0], port=route[1], is_cabled=True)]
