"""Messages over a socket: four bytes of length, that much JSON, then as many raw bytes as its ``n_bytes`` says."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

LENGTH = struct.Struct(">I")
CHUNK_BYTES = 1 << 20


def send(link: socket.socket, message: dict[str, Any], payload: bytes = b"") -> None:
    """Send a message and what belongs to it."""
    text = json.dumps({**message, "n_bytes": len(payload)}).encode()
    link.sendall(LENGTH.pack(len(text)) + text)
    link.sendall(payload)


def receive(link: socket.socket) -> tuple[dict[str, Any] | None, bytes]:
    """Return a message and its payload; None once the other end is gone."""
    head = _exactly(link, LENGTH.size)
    if len(head) < LENGTH.size:
        return None, b""
    text = _exactly(link, LENGTH.unpack(head)[0])
    message = json.loads(text)
    return message, _exactly(link, message.pop("n_bytes"))


def _exactly(link: socket.socket, n_bytes: int) -> bytes:
    """Return so many bytes; fewer when the other end went away."""
    got = bytearray()
    while len(got) < n_bytes:
        try:
            part = link.recv(min(n_bytes - len(got), CHUNK_BYTES))
        except ConnectionResetError:
            break
        if not part:
            break
        got += part
    return bytes(got)
