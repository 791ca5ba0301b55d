"""``evenhand console``: the terminal of a box over a serial cable."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..console import note
from ..errors import HostError
from ..serial_door import split_port

NAME = "console"
EXAMPLE = "example: evenhand console --serial /dev/ttyUSB0"


def run(
    serial: Annotated[str, typer.Option("--serial", metavar="PORT", help="As /dev/ttyUSB0 or COM3[:BAUD] (115200).")],
) -> None:
    """Open the terminal of a box over a serial cable; Ctrl-] leaves it."""
    if not sys.stdin.isatty():
        raise HostError("console: needs a terminal to type on")
    import serial as pyserial
    from serial.tools.miniterm import Miniterm

    port, baud = split_port(serial)
    try:
        opened = pyserial.Serial(port, baud, timeout=1)
    except (OSError, ValueError) as error:
        raise HostError(f"{port}: cannot be opened ({error}); is the cable in, and nobody else using it?") from None
    note(f"{port} at {baud} bits a second; Ctrl-] leaves")
    terminal = Miniterm(opened, echo=False, eol="cr", filters=())
    terminal.set_rx_encoding("utf-8")
    terminal.set_tx_encoding("utf-8")
    terminal.exit_character = "\x1d"
    terminal.start()
    try:
        terminal.join(True)
    finally:
        terminal.stop()
        terminal.join()
        terminal.close()
    note("left")
