"""A serial port that may be unplugged at any time: read by a thread, opened again whenever it is there."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

RETRY_S = 0.3
READ_S = 0.1
WRITE_S = 2.0
MAX_HELD_CHUNKS = 256


class SerialLine:
    """One port. A context manager.

    Parameters
    ----------
    device
        Name of the port, as ``/dev/ttyACM0`` or ``COM3``.
    baud
        Bits a second; USB gadgets go as fast as they can whatever is said.
    """

    def __init__(self, device: str, baud: int) -> None:
        self._device, self._baud = device, baud
        self._port: Any = None
        self._came: deque[bytes] = deque(maxlen=MAX_HELD_CHUNKS)
        self._is_over, self._is_open = threading.Event(), threading.Event()
        self.wake, self._waker = socket.socketpair()
        self.wake.setblocking(False)
        self.trouble = "not open yet"
        self.n_opened = 0
        self._thread = threading.Thread(target=self._read, name="serial line", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join(2 * READ_S + WRITE_S)
        self._drop()
        self.wake.close()
        self._waker.close()

    def wait_open(self, patience_s: float = 2.0) -> bool:
        """Return whether the port could be opened by now."""
        return self._is_open.wait(patience_s)

    def take(self) -> bytes:
        """Return what has come since the last call."""
        with suppress(BlockingIOError):
            self.wake.recv(4096)
        parts = []
        while self._came:
            parts.append(self._came.popleft())
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        """Put bytes onto the line; they are lost where there is none."""
        port = self._port
        if port is None:
            time.sleep(READ_S)
            return
        try:
            port.write(data)
        except OSError as error:  # serial.SerialException is one
            self.trouble = str(error)

    def _read(self) -> None:
        while not self._is_over.is_set():
            if self._port is None and not self._open():
                self._is_over.wait(RETRY_S)
                continue
            try:
                data = self._port.read(max(1, self._port.in_waiting))
            except (OSError, TypeError) as error:  # TypeError: pyserial, when it is closed meanwhile
                self.trouble = str(error)
                self._drop()
                continue
            if data:
                self._came.append(data)
                with suppress(OSError):
                    self._waker.send(b"x")

    def _open(self) -> bool:
        import serial

        try:
            self._port = serial.Serial(
                self._device, self._baud, timeout=READ_S, write_timeout=WRITE_S, exclusive=None, rtscts=False
            )
        except (OSError, ValueError) as error:
            self.trouble = str(error)
            return False
        self.n_opened += 1
        self._is_open.set()
        return True

    def _drop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            with suppress(Exception):
                port.close()
