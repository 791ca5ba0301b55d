"""A stand-in for the web server of the box: HTTP and WebSocket on asyncio, with the libraries of such a server.

``python -m firmware.bench.service.web SEGMENT SOCKET`` serves what a page would show from a running engine's segment.
It measures memory, not a protocol: no route but ``/state`` and ``/live``, no message from a client is read.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import html  # noqa: F401  # as a server of pages loads them: their memory is what is measured
import http.cookies
import json
import logging.handlers  # noqa: F401
import mimetypes  # noqa: F401
import ssl
import struct
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from threading import Thread

from firmware.segment import PUBLIC_NOTEBOOK, Segment
from firmware.system.parent import end_with_parent

N_CLIENTS = 5
LIVE_S, POLL_S = 0.1, 0.5
WEBSOCKET_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
TEXT = f"a web server of the standard library's asyncio with {N_CLIENTS} clients, each on a WebSocket and polling"


def _state(segment: Segment) -> bytes:
    observation = segment.latest()
    meters = [] if observation is None else observation.channel_meters["output_peak_dbfs"].round(1).tolist()
    page = json.loads(segment.read_notebook(PUBLIC_NOTEBOOK) or b"{}")
    return json.dumps({"meters": meters, "counters": segment.status().counters, **page}).encode()


class _Server:
    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)  # a box on a network would speak it

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                path = urllib.parse.urlsplit(lines[0].split(" ")[1]).path
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
                http.cookies.SimpleCookie(headers.get("cookie", ""))
                if path == "/live":
                    await self._stream(headers["sec-websocket-key"], writer)
                body = _state(self._segment)
                head = f"HTTP/1.1 {HTTPStatus.OK.value} OK\r\nContent-Type: application/json\r\n"
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        writer.close()

    async def _stream(self, key: str, writer: asyncio.StreamWriter) -> None:
        token = base64.b64encode(hashlib.sha1((key + WEBSOCKET_KEY).encode()).digest()).decode()
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(f"{head}Sec-WebSocket-Accept: {token}\r\n\r\n".encode())
        while True:
            body = _state(self._segment)
            writer.write(struct.pack("!BBH", 0x81, 126, len(body)) + body)  # one text frame, at most 64 kB
            await writer.drain()
            await asyncio.sleep(LIVE_S)


async def _run(segment: Path, socket: Path) -> None:
    with Segment(segment, is_control=False) as view:
        server = await asyncio.start_unix_server(_Server(view).serve, socket)
        async with server:
            await server.serve_forever()


# ------------------------------------------------------------------------------------------------------------ clients


async def _look(socket: Path, n_answers: list[int], number: int) -> None:
    live_reader, live_writer = await asyncio.open_unix_connection(socket)
    live_writer.write(b"GET /live HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    await live_reader.readuntil(b"\r\n\r\n")
    reader, writer = await asyncio.open_unix_connection(socket)
    while True:
        writer.write(b"GET /state HTTP/1.1\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        json.loads(await reader.readexactly(int(head.rpartition(":")[2])))
        for _ in range(round(POLL_S / LIVE_S)):
            _, _, size_bytes = struct.unpack("!BBH", await live_reader.readexactly(4))
            json.loads(await live_reader.readexactly(size_bytes))
        n_answers[number] += 1


@contextmanager
def clients(socket: Path) -> Iterator[list[int]]:
    """Look at the server with ``N_CLIENTS`` clients; yield how many answers each has had so far."""
    loop, n_answers = asyncio.new_event_loop(), [0] * N_CLIENTS

    async def look() -> None:
        await asyncio.gather(*(_look(socket, n_answers, number) for number in range(N_CLIENTS)))

    looking = loop.create_task(look())
    thread = Thread(target=loop.run_until_complete, args=(asyncio.wait([looking]),), daemon=True)
    thread.start()
    try:
        yield n_answers
    finally:
        loop.call_soon_threadsafe(looking.cancel)
        thread.join()
        loop.close()
        if not looking.cancelled() and (error := looking.exception()):
            raise error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m firmware.bench.service.web", description=__doc__)
    parser.add_argument("segment", type=Path, help="file of the shared memory")
    parser.add_argument("socket", type=Path, help="Unix socket to serve at")
    parser.add_argument("--parent", type=int, metavar="PID", required=True, help="end when this process is gone")
    options = parser.parse_args()
    end_with_parent(options.parent)
    asyncio.run(_run(options.segment, options.socket))
