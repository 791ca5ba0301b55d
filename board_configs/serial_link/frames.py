"""Frames on a line that flips, drops and invents bytes: SLIP (RFC 1055) around a body and its CRC-32."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

END, ESC, ESC_END, ESC_ESC = b"\xc0", b"\xdb", b"\xdb\xdc", b"\xdb\xdd"
MAX_FRAME_BYTES = 4096  # encoded; what is longer without an end is noise
CRC_BYTES = 4


def encode(body: bytes) -> bytes:
    """Return a body as it goes onto the line; an end on either side cuts off noise before it."""
    checked = body + zlib.crc32(body).to_bytes(CRC_BYTES, "big")
    return END + checked.replace(ESC, ESC_ESC).replace(END, ESC_END) + END


class Decoder:
    """Finds the frames in what comes from the line; what does not fit its CRC is dropped and counted."""

    def __init__(self) -> None:
        self._held = bytearray()
        self.n_damaged = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bodies that are complete."""
        self._held += data
        *frames, rest = bytes(self._held).split(END)
        self._held = bytearray(rest if len(rest) <= MAX_FRAME_BYTES else b"")
        for frame in frames:
            checked = frame.replace(ESC_END, END).replace(ESC_ESC, ESC)
            body, crc = checked[:-CRC_BYTES], checked[-CRC_BYTES:]
            if body and zlib.crc32(body).to_bytes(CRC_BYTES, "big") == crc:
                yield body
            elif frame:
                self.n_damaged += 1
