"""What has happened, in order: a bounded list that many can read, each from where it stopped."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

MAX_KEPT = 500
WAIT_S = 20.0


class Events:
    """Numbered from 1. Told from the loop's own thread only."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=MAX_KEPT)
        self._n_told = 0
        self._news = asyncio.Event()

    def tell(self, kind: str, **facts: Any) -> None:
        """Add one, and wake who waits."""
        self._n_told += 1
        self._kept.append({"number": self._n_told, "time_s": round(time.time(), 3), "kind": kind, **facts})
        news, self._news = self._news, asyncio.Event()
        news.set()

    @property
    def n_told(self) -> int:
        """The number of the newest."""
        return self._n_told

    async def after(self, number: int, wait_s: float) -> list[dict[str, Any]]:
        """Return those after ``number``, and wait for one when there is none yet. A number of another life is 0."""
        number = number if number <= self._n_told else 0
        if number == self._n_told and wait_s > 0:
            try:
                await asyncio.wait_for(self._news.wait(), min(wait_s, WAIT_S))
            except TimeoutError:
                return []
        return [event for event in self._kept if event["number"] > number]
