"""Tells the service manager how this process is, as systemd's sd_notify(3) defines it; silent where there is none."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Sends states such as ``READY=1``, ``WATCHDOG=1`` and ``STATUS=...`` to ``$NOTIFY_SOCKET``."""

    def __init__(self, address: str | None = None) -> None:
        address = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket:
            self._socket.setblocking(False)

    def tell(self, *states: str) -> None:
        """Send states, a line each; a manager that does not listen is not waited for."""
        if self._socket is None:
            return
        try:
            message = "\n".join(state.replace("\n", " ") for state in states)  # what a card says of itself is one line
            self._socket.sendto(message.encode(errors="replace"), self._address)
        except OSError:
            return
