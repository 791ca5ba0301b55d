"""Carries TCP connections over a serial line, one at a time: what works over the network works here, TLS and token too.

The laptop's end listens, the box's end connects to its agent.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .frames import Decoder, encode
from .line import SerialLine
from .stream import ACK, FIRST_PIECE_BYTES, GONE, HEAD, OPEN, Stream

BATCH_BYTES = 2048  # onto the line at once; so long it is deaf to what is more urgent
READ_BYTES = 16 * 1024
IDLE_S = 0.2
GONE_S = 0.1  # not for each frame of a session that is no more


class Stopping(Protocol):
    """What says that it is to end: an event, or what a signal may set."""

    def is_set(self) -> bool:
        """Whether it was asked to."""


class _Session:
    """One connection and its stream."""

    def __init__(self, stream: Stream, connection: socket.socket) -> None:
        self.stream, self.connection = stream, connection
        connection.setblocking(True)
        self._hears, self._speaks = True, True

    @property
    def wants_data(self) -> bool:
        return self._hears and self.stream.room_bytes > 0

    @property
    def is_over(self) -> bool:
        return self.stream.is_gone or (not self._hears and not self._speaks and self.stream.is_drained)

    def listen(self) -> None:
        """Take what the connection has to say."""
        try:
            data = self.connection.recv(min(READ_BYTES, self.stream.room_bytes))
        except OSError:
            data = b""
        if data:
            self.stream.send(data)
        else:
            self._hears = False
            self.stream.close()

    def speak(self) -> None:
        """Hand on what came over the line."""
        try:
            if data := self.stream.take():
                self.connection.sendall(data)
            if self._speaks and self.stream.has_ended:
                self._speaks = False
                self.connection.shutdown(socket.SHUT_WR)
        except OSError:  # whoever it was is gone
            self._speaks = False

    def close(self) -> None:
        with suppress(OSError):
            self.connection.close()


class _End:
    """What both ends have in common: one turn of the loop."""

    def __init__(self, line: SerialLine) -> None:
        self._line, self._decoder = line, Decoder()
        self._piece_bytes = FIRST_PIECE_BYTES

    def stream(self, number: int, *, opens: bool) -> Stream:
        """Return a new session's, which begins with what the line is known to let live."""
        return Stream(number, opens=opens, piece_bytes=self._piece_bytes)

    def turn(self, session: _Session | None, on_body: Callable[[bytes, float], None]) -> None:
        now_s = time.monotonic()
        wait_s = min(IDLE_S, session.stream.next_s(now_s)) if session else IDLE_S
        watched = [self._line.wake] + ([session.connection] if session and session.wants_data else [])
        ready, _, _ = select.select(watched, [], [], max(0.0, wait_s))
        now_s = time.monotonic()
        for body in self._decoder.feed(self._line.take()):
            on_body(body, now_s)
        if session is None:
            return
        session.speak()
        if session.connection in ready and session.wants_data:
            session.listen()
        batch = bytearray()
        for body in session.stream.frames(now_s):
            batch += encode(body)
            if len(batch) >= BATCH_BYTES:
                break
        if batch:
            self._line.write(bytes(batch))
        self._piece_bytes = session.stream.piece_bytes


def serve_laptop(line: SerialLine, listening: socket.socket, stop: Stopping) -> None:
    """Carry each connection that comes to ``listening``, one after the other, until ``stop`` is set."""
    end, number = _End(line), secrets.randbelow(256)
    listening.settimeout(IDLE_S)
    while not stop.is_set():
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            continue
        number = (number + 1) % 256
        session = _Session(end.stream(number, opens=True), connection)

        def on_body(body: bytes, now_s: float, session: _Session = session) -> None:
            if len(body) > 1 and body[1] == session.stream.session and body[0] != OPEN:
                session.stream.receive(body, now_s)

        try:
            while not stop.is_set() and not session.is_over:
                end.turn(session, on_body)
        finally:
            session.close()


def serve_box(line: SerialLine, connect: Callable[[], socket.socket], stop: Stopping) -> None:
    """Connect for each session that a laptop opens, until ``stop`` is set."""
    end = _End(line)
    session: _Session | None = None
    gone_s = 0.0

    def on_body(body: bytes, now_s: float) -> None:
        nonlocal session, gone_s
        if len(body) < 2:
            return
        if body[0] == OPEN and (session is None or session.stream.session != body[1]):
            if session is not None:
                session.close()
                session = None
            with suppress(OSError):
                session = _Session(end.stream(body[1], opens=False), connect())
        if session is None or session.stream.session != body[1]:
            if body[0] not in (ACK, GONE) and now_s - gone_s > GONE_S:
                gone_s = now_s
                line.write(encode(HEAD.pack(GONE, body[1])))
            return
        if body[0] == OPEN:
            session.stream.greet()
        else:
            session.stream.receive(body, now_s)

    try:
        while not stop.is_set():
            end.turn(session, on_body)
    finally:
        if session is not None:
            session.close()
