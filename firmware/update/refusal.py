"""What a request is refused with: a status of HTTP, and a line that says what, where and what to try."""

from __future__ import annotations

from typing import Any

from ..errors import EvenhandError


class Refusal(EvenhandError):
    """A request that is not granted; nothing has changed.

    Parameters
    ----------
    status
        Of HTTP, 4xx or 5xx.
    reason
        One line for a person.
    facts
        What a program needs to go on, such as the offset an upload stands at.
    """

    def __init__(self, status: int, reason: str, **facts: Any) -> None:
        super().__init__(reason)
        self.status, self.reason, self.facts = status, reason, facts
