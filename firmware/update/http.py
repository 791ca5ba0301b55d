"""A small HTTPS server that cannot be worn out: every connection, header, body and wait has a bound.

HTTP/1.1 is spoken by h11; what is here is when to stop listening. A client that is slow, too many or too big is told
so where it still listens, and let go where it does not.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from ..errors import EvenhandError
from .refusal import Refusal

READ_BYTES = 64 * 1024
CABLE, CABLE_PATIENCE = "127.0.0.2", 10.0  # whence the serial bridge comes, and how much longer it is waited for
BROKEN = (ConnectionError, TimeoutError, ssl.SSLError, OSError)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of the box strangers can take."""

    max_connections: int = 64  # with those in the middle of their handshake; more are closed at once
    max_served: int = 24  # more are answered 503
    max_served_of_address: int = 8
    handshake_s: float = 5.0
    header_s: float = 10.0  # from the first byte to the last of a request's head; and idle between requests
    max_header_bytes: int = 16 * 1024
    body_idle_s: float = 15.0
    body_grace_s: float = 10.0  # then a body must come at least this fast:
    min_body_bytes_s: float = 1024.0
    max_body_bytes: int = 64 * 1024  # of a request that is read whole
    write_s: float = 30.0
    farewell_s: float = 1.0  # for a client that is still sending when it is refused
    max_farewell_bytes: int = 1 << 20

    def of(self, address: str) -> Limits:
        """Return those for who comes from ``address``: a serial cable flips bytes, is slow, and may be out just now."""
        if address.removeprefix("::ffff:") != CABLE:
            return self
        return replace(
            self, handshake_s=CABLE_PATIENCE * self.handshake_s, header_s=CABLE_PATIENCE * self.header_s,
            body_idle_s=CABLE_PATIENCE * self.body_idle_s, min_body_bytes_s=self.min_body_bytes_s / CABLE_PATIENCE,
        )  # fmt: skip


class Request:
    """What somebody asks for. ``body()`` can be read once."""

    def __init__(
        self, head: h11.Request, address: str, size_bytes: int | None, body: Callable[[], AsyncIterator[bytes]],
        limits: Limits,
    ) -> None:  # fmt: skip
        target = urlsplit(head.target.decode("ascii", "replace"))
        self.method = head.method.decode("ascii", "replace")
        self.segments = tuple(unquote(part) for part in target.path.removeprefix("/").split("/"))
        self.query = dict(parse_qsl(target.query, max_num_fields=20))
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        self.address, self.size_bytes, self.body = address, size_bytes, body
        self.laptop = ""  # whose token it came with
        self._limits = limits

    async def json(self, max_bytes: int | None = None) -> dict[str, Any]:
        """Return the body as an object.

        Raises
        ------
        Refusal
            When it is too long or none.
        """
        raw = await self.read(max_bytes or self._limits.max_body_bytes)
        try:
            value = json.loads(raw or b"{}")
        except (ValueError, RecursionError):
            raise Refusal(400, "the body is not JSON") from None
        if not isinstance(value, dict):
            raise Refusal(400, "the body is no JSON object")
        return value

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body, which may not be longer than ``max_bytes``."""
        if self.size_bytes is not None and self.size_bytes > max_bytes:
            raise Refusal(413, f"a body of {self.size_bytes} bytes; at most {max_bytes} are taken here")
        parts = bytearray()
        async for data in self.body():
            parts += data
            if len(parts) > max_bytes:
                raise Refusal(413, f"a body of more than {max_bytes} bytes; at most {max_bytes} are taken here")
        return bytes(parts)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is given back: an object, or bytes as they come."""

    value: Any = None
    status: int = 200
    data: AsyncIterator[bytes] | None = None  # instead of ``value``, exactly ``size_bytes`` of it
    size_bytes: int = 0
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Answer]]


class Server:
    """Listens, and gives each request to ``handler``.

    Parameters
    ----------
    handler
        Answers a request, or raises Refusal.
    tls
        Context with the box's certificate.
    on_line
        Is told what went wrong in us, a line each.
    """

    def __init__(
        self, handler: Handler, tls: ssl.SSLContext, on_line: Callable[[str], None], limits: Limits = Limits()
    ) -> None:
        self._handler, self._tls, self._on_line, self.limits = handler, tls, on_line, limits
        self._open: set[asyncio.Task[None]] = set()
        self._served: Counter[str] = Counter()  # by address

    async def serve(self, listening: socket.socket) -> None:
        """Take connections from a socket that listens, until cancelled."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        try:
            while True:
                try:
                    connection, address = await loop.sock_accept(listening)
                except OSError:  # out of file descriptors, or gone before it was taken
                    await asyncio.sleep(0.1)
                    continue
                if len(self._open) >= self.limits.max_connections:
                    connection.close()
                    continue
                task = loop.create_task(self._converse(connection, str(address[0])))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
        finally:
            for task in tuple(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _converse(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=self.limits.of(address).handshake_s,
                ssl_shutdown_timeout=self.limits.farewell_s,
            )  # fmt: skip
        except BROKEN:
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await _Conversation(self, reader, writer, address).run()
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), 2 * self.limits.farewell_s)
        except BROKEN:
            pass
        except Exception as error:
            self._on_line(f"{address}: {type(error).__name__}: {error}")
        finally:
            with suppress(AttributeError):  # Debian's Python 3.11 has nothing left to abort once the other side is gone
                transport.abort()

    @contextmanager
    def serving(self, address: str) -> Iterator[Refusal | None]:
        """Count a request from its head to the end of its answer, and yield why it is one too many."""
        crowd = None
        if self._served[address] >= self.limits.max_served_of_address:
            n = self.limits.max_served_of_address
            crowd = Refusal(503, f"{n} requests from {address} are being answered already; try again")
        elif self._served.total() >= self.limits.max_served:
            crowd = Refusal(503, f"{self.limits.max_served} requests are being answered already; try again")
        self._served[address] += 1
        try:
            yield crowd
        finally:
            self._served[address] -= 1
            if not self._served[address]:
                del self._served[address]

    async def answer(self, request: Request) -> Answer:
        """Return the handler's answer, also to what is refused; what goes wrong in us is told, not shown."""
        try:
            return await self._handler(request)
        except Refusal as refusal:
            return refused(refusal)
        except EvenhandError as error:
            return refused(Refusal(500, str(error)))
        except (ConnectionError, ssl.SSLError):
            raise
        except Exception as error:
            self._on_line(f"{request.method} /{'/'.join(request.segments)}: {type(error).__name__}: {error}")
            return refused(Refusal(500, "the box could not do that; `evenhand logs` says more"))


def refused(refusal: Refusal) -> Answer:
    """Return a refusal as an answer."""
    return Answer(status=refusal.status, value={"error": refusal.reason, **refusal.facts})


class _Conversation:
    """One connection, from its first request to its end."""

    def __init__(
        self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        self._server, self._reader, self._writer, self._address = server, reader, writer, address
        self._limits = server.limits.of(address)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.max_header_bytes)

    async def run(self) -> None:
        while True:
            try:
                head = await asyncio.wait_for(self._event(), self._limits.header_s)
            except h11.RemoteProtocolError as error:
                await self._send(refused(Refusal(error.error_status_hint, f"that is no HTTP request: {error}")))
                await self._part()
                return
            if not isinstance(head, h11.Request):
                return
            try:
                request = self._request(head)
            except ValueError as error:
                await self._send(refused(Refusal(400, f"that is no HTTP request: {error}")))
                await self._part()
                return
            if request.size_bytes == 0:
                self._http.next_event()  # its end; else h11 holds the request for one that is not over
            with self._server.serving(self._address) as crowd:
                answer = refused(crowd) if crowd else await self._server.answer(request)
                await self._send(answer, is_head=request.method == "HEAD")
            if self._http.their_state is not h11.DONE:
                await self._part()
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _event(self) -> Any:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
            self._http.receive_data(await self._reader.read(READ_BYTES))

    def _request(self, head: h11.Request) -> Request:
        sizes = [value for name, value in head.headers if name == b"content-length"]
        is_chunked = any(name == b"transfer-encoding" for name, _ in head.headers)
        size_bytes = None if is_chunked else int(sizes[0]) if sizes else 0
        return Request(head, self._address, size_bytes, self._body, self._limits)

    async def _body(self) -> AsyncIterator[bytes]:
        began_s, n_bytes = time.monotonic(), 0
        while self._http.their_state is h11.SEND_BODY:
            try:
                event = await asyncio.wait_for(self._event(), self._limits.body_idle_s)
            except TimeoutError:
                raise Refusal(408, f"nothing came for {self._limits.body_idle_s:g} s; go on from the offset") from None
            except h11.RemoteProtocolError as error:
                raise Refusal(400, f"the body broke off: {error}") from None
            if not isinstance(event, h11.Data):
                return
            n_bytes += len(event.data)
            duration_s = time.monotonic() - began_s
            if duration_s > self._limits.body_grace_s and n_bytes < duration_s * self._limits.min_body_bytes_s:
                raise Refusal(
                    408, f"slower than {self._limits.min_body_bytes_s:g} bytes a second; go on from the offset"
                )
            yield bytes(event.data)

    async def _send(self, answer: Answer, *, is_head: bool = False) -> None:
        data = b"" if answer.data else json.dumps(answer.value, allow_nan=False).encode()
        size_bytes = answer.size_bytes if answer.data else len(data)
        headers = {
            "content-type": "application/octet-stream" if answer.data else "application/json",
            "content-length": str(size_bytes), "cache-control": "no-store", **answer.headers,
        }  # fmt: skip
        if self._http.their_state is h11.SEND_BODY or self._http.their_state is h11.ERROR:
            headers["connection"] = "close"  # what is left of the body is not waited for
        response = h11.Response(status_code=answer.status, headers=list(headers.items()))
        head = self._http.send(response) or b""
        if is_head:
            pass  # asks how long the answer would be
        elif answer.data:
            await self._write(head)
            async for part in answer.data:
                await self._write(self._http.send(h11.Data(data=part)))
            head = b""
        else:
            head += self._http.send(h11.Data(data=data)) or b""
        await self._write(head + (self._http.send(h11.EndOfMessage()) or b""))

    async def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), self._limits.write_s)

    async def _part(self) -> None:
        """Read a little of what is still coming: a connection that is closed at once takes our answer with it."""
        n_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.farewell_s):
                while n_bytes < self._limits.max_farewell_bytes and (data := await self._reader.read(READ_BYTES)):
                    n_bytes += len(data)
