"""The one family of errors for a wrong world: told in one line, without a traceback. Everything else is our bug."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ModelError(Exception):
    """Says what, where and what to try."""


def near_misses(word: str, known: Iterable[str]) -> str:
    """Return the end of a refusal: what is most like ``word``, or all there is."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
