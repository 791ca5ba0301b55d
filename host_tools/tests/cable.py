"""A serial cable between two pseudo-terminals: it flips bytes, can be pulled, and is as fast as it is told."""

from __future__ import annotations

import os
import pty
import random
import select
import threading
import time
import tty
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

READ_BYTES = 4096
LOOK_S, MAX_LOOK_S = 0.002, 0.02  # between looks at an end; longer while nothing comes


class Cable:
    """Ends ``laptop`` and ``box`` in ``folder``. A context manager.

    Parameters
    ----------
    flips
        Share of the bytes that arrive as others.
    bytes_s
        How many pass a second in each direction; None for as many as there are.
    """

    def __init__(self, folder: Path, *, flips: float = 0.0, bytes_s: float | None = None, seed: int = 1) -> None:
        folder.mkdir(exist_ok=True)
        self.ends = {name: folder / name for name in ("laptop", "box")}
        self._flips, self._bytes_s, self._rng = flips, bytes_s, random.Random(seed)
        self._masters: dict[str, int] = {}
        self._locks = {"laptop": threading.Lock(), "box": threading.Lock()}  # one side that takes nothing stops one way
        self._is_over = threading.Event()
        self.n_bytes = {"laptop": 0, "box": 0}  # that came from there
        self._threads = [
            threading.Thread(target=self._carry, args=pair, daemon=True)
            for pair in (("laptop", "box"), ("box", "laptop"))
        ]

    def __enter__(self) -> Self:
        self.plug()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(5)
        self.pull()

    def plug(self) -> None:
        """Put it in: both ends appear."""
        with self._locks["laptop"], self._locks["box"]:
            for name, link in self.ends.items():
                master, slave = pty.openpty()
                tty.setraw(slave)
                link.symlink_to(os.ttyname(slave))
                os.close(slave)
                self._masters[name] = master

    def pull(self) -> None:
        """Pull it: both ends are gone, and what was on its way."""
        with self._locks["laptop"], self._locks["box"]:
            for name, link in self.ends.items():
                link.unlink(missing_ok=True)
                with suppress(KeyError):
                    os.close(self._masters.pop(name))

    def _carry(self, source: str, target: str) -> None:
        look_s = LOOK_S
        while not self._is_over.is_set():
            with self._locks[source]:
                data = self._read(source)
                if data:
                    self.n_bytes[source] += len(data)
                    with suppress(OSError, KeyError):
                        os.write(self._masters[target], self._worn(data))
            look_s = LOOK_S if data else min(MAX_LOOK_S, 1.2 * look_s)
            if not data:
                time.sleep(look_s)
            elif self._bytes_s:
                time.sleep(len(data) / self._bytes_s)

    def _read(self, source: str) -> bytes:
        master = self._masters.get(source)
        if master is None or not select.select([master], [], [], 0)[0]:
            return b""
        try:
            return os.read(master, READ_BYTES if self._bytes_s is None else max(1, int(self._bytes_s * 0.02)))
        except OSError:  # nobody has opened the other side
            return b""

    def _worn(self, data: bytes) -> bytes:
        if not self._flips:
            return data
        return bytes(self._rng.randrange(256) if self._rng.random() < self._flips else byte for byte in data)
