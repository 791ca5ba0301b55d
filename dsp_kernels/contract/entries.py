"""What a line of the generated tables is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScopeEntry:
    """A kind of thing that has parameters, and how many of it there are."""

    name: str
    count: int
    osc: str


@dataclass(frozen=True, slots=True)
class ParamEntry:
    """One float of a scope's snapshot; ``osc`` holds ``{index}`` where the scope has several."""

    scope: str
    name: str
    id: int
    kind: str
    unit: str
    minimum: float
    maximum: float
    default: float
    ramp_ms: float
    choices: tuple[str, ...]
    moved_by: tuple[str, ...]
    osc: str


@dataclass(frozen=True, slots=True)
class FeatureEntry:
    """One entry, ``count`` floats wide, of a record of features, meters or a model's inputs."""

    name: str
    count: int
    unit: str
