"""The decision log: each meaningful move, one line, with its reason."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

# What a decision may be about besides the parameters of the contract: the controls of a strip's preamp.
PREAMP_UNITS = {"preamp.gain_db": "dB", "preamp.is_pad_on": "", "preamp.is_phantom_on": ""}
MAX_DECISIONS = 20_000  # kept in memory; at a busy line a second, five hours


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One move. ``index`` counts from 0; ``channel`` is the strip's name, or the scope where it has none."""

    id: int
    time_s: float
    scope: str
    index: int
    channel: str
    parameter: str
    from_value: float
    to_value: float
    unit: str
    cause: str
    evidence: Mapping[str, float]
    confidence: float
    source: str  # engineer, safety, model or rules
    rule: str
    mode_before: int = 0

    def as_record(self) -> dict[str, Any]:
        """Return what a line of the log holds."""
        return {
            "id": self.id,
            "time_s": round(self.time_s, 3),
            "scope": self.scope,
            "index": self.index,
            "channel": self.channel,
            "parameter": self.parameter,
            "from": round(self.from_value, 4),
            "to": round(self.to_value, 4),
            "unit": self.unit,
            "cause": self.cause,
            "evidence": {k: round(float(v), 3) for k, v in self.evidence.items()},
            "confidence": round(self.confidence, 3),
            "source": self.source,
            "rule": self.rule,
        }


class DecisionLog:
    """The last ``max_decisions`` moves, and where they are written as JSON lines.

    Parameters
    ----------
    sink
        Text file that gets a line for each decision; None keeps them in memory only.
    """

    def __init__(self, sink: TextIO | None = None, max_decisions: int = MAX_DECISIONS) -> None:
        self.sink = sink
        self.n_decisions = 0  # ever
        self._kept: deque[Decision] = deque(maxlen=max_decisions)

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._kept)

    def __getitem__(self, position: int) -> Decision:
        return self._kept[position]

    def add(self, **what: Any) -> Decision:
        """Append a decision; its id is the count of those before it."""
        decision = Decision(id=self.n_decisions, **what)
        self.n_decisions += 1
        self._kept.append(decision)
        if self.sink is not None:
            self.sink.write(json.dumps(decision.as_record(), ensure_ascii=False, allow_nan=False) + "\n")
        return decision

    def find(self, decision_id: int) -> Decision | None:
        """Return the decision of that id; None once it was forgotten."""
        position = bisect_left(self._kept, decision_id, key=lambda decision: decision.id)
        if position == len(self._kept) or self._kept[position].id != decision_id:
            return None
        return self._kept[position]

    def take_up(self, n_decisions: int, kept: Iterable[Decision]) -> None:
        """Go on where a predecessor ended; of the decisions that ``kept`` lacks only the count is known."""
        self.n_decisions = n_decisions
        self._kept = deque(kept, maxlen=self._kept.maxlen)
