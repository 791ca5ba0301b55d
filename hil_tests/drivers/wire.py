"""The network cable of a box whose agent listens on this machine: a relay that can be slow, bad, cut and pulled out.

Its end at the laptop keeps its address whatever becomes of the box. Packets are lost as those see it who talk over TCP:
what was lost comes when it has been sent again, and holds up all that is behind it.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65536
CONNECT_S = 5.0
PACKET_BYTES = 1448
RESEND_S = 0.2  # after which TCP sends again what nobody has told it of, at the least; twice as long each further time
MAX_RESENT = 5


class Wire:
    """A relay. A context manager.

    Parameters
    ----------
    find
        Returns the port on which the box listens now, or raises OSError.
    """

    def __init__(self, find: Callable[[], int]) -> None:
        self._find = find
        self._is_in = threading.Event()
        self._is_in.set()
        self._delay_s = self._loss = 0.0
        self._rng = random.Random(0)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_over = False

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._server.getsockname()
        self._thread = threading.Thread(target=self._accept, name="wire", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.plug(is_in=True)
        self.cut()
        self._thread.join()

    def plug(self, *, is_in: bool) -> None:
        """Put it in, or pull it out: nothing gets through, and nobody is told."""
        (self._is_in.set if is_in else self._is_in.clear)()

    def delay(self, seconds: float) -> None:
        """Let everything take so much longer, either way."""
        self._delay_s = seconds

    def lose(self, part: float) -> None:
        """Lose that part of all packets, either way."""
        self._loss = part

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            ends = tuple(self._open)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._is_over:
            try:
                laptop = self._server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._connect, args=(laptop,), daemon=True).start()

    def _connect(self, laptop: socket.socket) -> None:
        self._is_in.wait()
        try:
            box = socket.create_connection(("127.0.0.1", self._find()), timeout=CONNECT_S)
        except OSError:
            laptop.close()
            return
        box.settimeout(None)
        with self._lock:
            self._open |= {laptop, box}
        back = threading.Thread(target=self._carry, args=(box, laptop), daemon=True)
        back.start()
        self._carry(laptop, box)
        back.join()
        with self._lock:
            self._open -= {laptop, box}
        laptop.close()
        box.close()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(CHUNK_BYTES):
                time.sleep(self._delay_s + self._resent_s(len(part)))
                self._is_in.wait()
                target.sendall(part)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _resent_s(self, n_bytes: int) -> float:
        """Return how long it takes until none of the packets is lost any more."""
        longest_s = 0.0
        for _ in range(-(-n_bytes // PACKET_BYTES) if self._loss else 0):
            n_lost = 0
            while n_lost < MAX_RESENT and self._rng.random() < self._loss:
                n_lost += 1
            longest_s = max(longest_s, RESEND_S * (2**n_lost - 1))
        return longest_s
