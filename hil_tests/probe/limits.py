"""Limits as data: a TOML table for each kind of result, ``figure = { min = .., max = .. }``."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from .errors import ProbeError


class Result(Protocol):
    """What every measurement returns."""

    NAME: ClassVar[str]

    def figures(self) -> dict[str, float]:
        """Return what limits may be set on; the unit ends the name."""

    def line(self) -> str:
        """Return it in one line."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a figure may be, both ends included."""

    result: str
    figure: str
    min: float | None = None
    max: float | None = None

    def holds(self, value: float) -> bool:
        """Return whether a value is allowed."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def text(self) -> str:
        """Return it as people read it."""
        ends = [f"{word} {end:g}" for word, end in (("at least", self.min), ("at most", self.max)) if end is not None]
        return f"{self.figure} {' and '.join(ends)}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One limit held against one result."""

    limit: Limit
    value: float
    is_held: bool

    def line(self) -> str:
        """Return it in one line."""
        return (
            f"{'held' if self.is_held else 'BROKEN'}: {self.limit.result} {self.limit.text()}; it is {self.value:.6g}"
        )


def load_limits(path: Path) -> tuple[Limit, ...]:
    """Return the limits of a suite.

    Raises
    ------
    ProbeError
        When the file cannot be read or says what cannot be.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProbeError(f"{path}: no limits can be read: {error}") from error
    limits = []
    for result, figures in tables.items():
        if not isinstance(figures, dict):
            raise ProbeError(f"{path.name}: {result} is no table of figures")
        for figure, ends in figures.items():
            limits.append(_limit(path.name, result, figure, ends))
    return tuple(limits)


def _limit(file: str, result: str, figure: str, ends: object) -> Limit:
    place = f"{file}: {result}.{figure}"
    if not isinstance(ends, dict) or not ends or set(ends) - {"min", "max"}:
        raise ProbeError(f"{place} must be {{ min = .. }}, {{ max = .. }} or both")
    for end in ends.values():
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise ProbeError(f"{place}: {end!r} is no number")
    limit = Limit(result=result, figure=figure, **ends)
    if limit.min is not None and limit.max is not None and limit.min > limit.max:
        raise ProbeError(f"{place}: min {limit.min:g} lies over max {limit.max:g}")
    return limit


def judge(results: Iterable[Result], limits: Iterable[Limit]) -> tuple[Verdict, ...]:
    """Hold every result against every limit on its kind.

    Raises
    ------
    ProbeError
        When a limit is set on what no result has: a limit that nothing can break is a mistake.
    """
    by_name: dict[str, list[Mapping[str, float]]] = {}
    for result in results:
        by_name.setdefault(result.NAME, []).append(result.figures())
    verdicts = []
    for limit in limits:
        if limit.result not in by_name:
            raise ProbeError(f"limit on {limit.result}: nothing of it was measured;{_near(limit.result, by_name)}")
        for figures in by_name[limit.result]:
            if limit.figure not in figures:
                raise ProbeError(
                    f"limit on {limit.result}.{limit.figure}: no such figure;{_near(limit.figure, figures)}"
                )
            value = figures[limit.figure]
            verdicts.append(Verdict(limit=limit, value=value, is_held=limit.holds(value)))
    return tuple(verdicts)


def _near(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=2)
    return f" did you mean {' or '.join(close)}?" if close else f" there are {', '.join(names) or 'none'}"
