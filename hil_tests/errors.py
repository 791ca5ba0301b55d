"""The one family of errors of a bench; everything else is a bug of ours."""

from __future__ import annotations


class HilError(Exception):
    """The world is not as it must be: says what, where and what to try, in one line."""


class NotWiredError(HilError):
    """A rig was asked for what it does not have."""

    def __init__(self, rig: str, fixture: str, has: tuple[str, ...]) -> None:
        super().__init__(f'rig {rig} has no "{fixture}"; it has {", ".join(has) or "nothing"}')
