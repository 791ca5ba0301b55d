"""Proposals and decisions as JSON: written once each, and read back as if an enemy had written them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from . import slots
from .decisions import PREAMP_UNITS, Decision
from .proposals import PRIORITY, Proposal

_DECISION_FIELDS = tuple(f.name for f in fields(Decision))
_SOURCES = (*PRIORITY, "engineer")
_MAX_WRITTEN = 2048  # texts at hand, about 1 kB each with what they were made of

# By id: both are immutable, most stand for many seconds, and writing one takes longer than all else that a tick keeps.
_written: dict[int, tuple[Proposal | Decision, str]] = {}


def text_of(record: Proposal | Decision) -> str:
    """Return the JSON of a record."""
    known = _written.get(id(record))
    if known is not None and known[0] is record:
        return known[1]
    if len(_written) >= _MAX_WRITTEN:
        _written.clear()
    plain = record if isinstance(record, Proposal) else [getattr(record, name) for name in _DECISION_FIELDS]
    text = json.dumps(plain, default=_plain)
    _written[id(record)] = (record, text)
    return text


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value.item()  # a NumPy scalar


def proposal_of(node: Any, slot: int) -> Proposal:
    """Return the proposal for ``slot``; ValueError or TypeError when the node is none that the arbiter would hear."""
    proposal = Proposal(*node)
    _check_place(proposal.scope, proposal.index, proposal.param, slot)
    mover = "rules" if proposal.source == "safety" else proposal.source
    is_right = (
        proposal.source in PRIORITY
        and mover in slots.INFO[slot].entry.moved_by
        and is_number(proposal.value)
        and is_number(proposal.confidence)
        and _is_evidence(proposal.evidence)
        and isinstance(proposal.cause, str)
        and isinstance(proposal.rule, str)
        and isinstance(proposal.is_companion, bool)
        and (proposal.slew_per_s is None or (is_number(proposal.slew_per_s) and proposal.slew_per_s >= 0.0))
    )
    if not is_right:
        raise ValueError("a proposal that no rule makes")
    return proposal


def decision_of(node: Any) -> Decision:
    """Return the decision; ValueError, TypeError or EvenhandError when the node is none."""
    decision = Decision(**dict(zip(_DECISION_FIELDS, node, strict=True)))
    is_preamp = decision.scope == "channel" and decision.parameter in PREAMP_UNITS
    _check_place(decision.scope, decision.index, "input.trim_db" if is_preamp else decision.parameter, None)
    words = (decision.channel, decision.unit, decision.cause, decision.rule)
    numbers = (decision.time_s, decision.from_value, decision.to_value, decision.confidence)
    is_right = (
        is_count(decision.id)
        and all(isinstance(word, str) for word in words)
        and all(is_number(number) for number in numbers)
        and _is_evidence(decision.evidence)
        and decision.source in _SOURCES
        and is_count(decision.mode_before)
        and decision.mode_before <= 2
    )
    if not is_right:
        raise ValueError("a decision that nobody takes")
    return decision


def _check_place(scope: Any, index: Any, name: Any, slot: int | None) -> None:
    if not (isinstance(scope, str) and isinstance(name, str) and is_count(index)):
        raise TypeError("no place of a parameter")
    if slot is not None and slots.slot(scope, index, name) != slot:
        raise ValueError("another parameter's proposal")
    slots.slot(scope, index, name)


def _is_evidence(value: Any) -> bool:
    return isinstance(value, dict) and all(is_number(number) for number in value.values())


def is_number(value: Any) -> bool:
    """Whether a parsed value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def is_count(value: Any) -> bool:
    """Whether a parsed value is a whole number from 0 that a float holds exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def is_time(value: Any) -> bool:
    """Whether a parsed value is a time in seconds, or "never"."""
    return is_number(value) or value == -math.inf
