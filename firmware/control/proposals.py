"""What a rule or a model wants, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

PRIORITY = {"rules": 1, "model": 2, "safety": 3}  # the engineer's lock stands above all


class Proposal(NamedTuple):
    """A wish for one parameter, ``index`` from 0, with what an engineer wants to know about it.

    ``slew_per_s`` bounds how fast the value moves, in its own unit (octaves a second for a frequency or time);
    None takes the arbiter's own pace. A companion belongs to another proposal of the same section, whose line in the
    log speaks for both: the frequency of a cut, the ratio of a compressor that is switched on.
    """

    scope: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    param: str
    value: float
    cause: str
    evidence: Mapping[str, float]
    confidence: float = 1.0
    source: str = "rules"
    rule: str = ""
    slew_per_s: float | None = None
    is_companion: bool = False
