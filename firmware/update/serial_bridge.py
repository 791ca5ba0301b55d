"""The box's end of a serial cable: hands what comes over it to the update agent, which asks for the same token.

A process of its own for each port; it may connect to the agent and to nothing else.
"""

from __future__ import annotations

import argparse
import socket
import sys

from board_configs.serial_link.bridge import serve_box
from board_configs.serial_link.line import SerialLine

from ..system.notify import Notifier
from ..system.process import Stop, serve
from .agent import PORT
from .http import CABLE

BAUD = 115_200
CONNECT_S = 5.0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m firmware.update.serial_bridge", description=__doc__)
    parser.add_argument("--device", required=True, help="the port, as /dev/ttyGS0")
    parser.add_argument("--baud", type=int, default=BAUD, help=f"bits a second ({BAUD}); a USB gadget ignores it")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the agent on this machine ({PORT})")
    return parser


def _run(options: argparse.Namespace, stop: Stop) -> None:
    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", options.port), CONNECT_S, (CABLE, 0))

    with SerialLine(options.device, options.baud) as line:
        Notifier().tell("READY=1")
        serve_box(line, connect, stop)


def main(argv: list[str] | None = None) -> int:
    """Serve until told to end."""
    return serve(_arguments(), argv, _run)


if __name__ == "__main__":
    sys.exit(main())
