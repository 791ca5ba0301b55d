"""The one family of errors of a laptop that meets a wrong world: told in one line, without a traceback."""

from __future__ import annotations

from typing import Any


class HostError(Exception):
    """Says what, where and what to try."""


class BoxAbsentError(HostError):
    """The box does not answer; it may be restarting."""


class RefusedError(HostError):
    """The box answers, and does not do it.

    Parameters
    ----------
    status
        Of HTTP.
    facts
        What the box said besides its reason.
    """

    def __init__(self, message: str, status: int, facts: dict[str, Any]) -> None:
        super().__init__(message)
        self.status, self.facts = status, facts
