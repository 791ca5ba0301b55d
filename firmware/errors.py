"""The one family of errors for a wrong world: told in one line, without a traceback. Everything else is our bug."""

from __future__ import annotations


class EvenhandError(Exception):
    """Says what, where and what to try."""
