"""Figures and tables of an evaluation, as Markdown for people and JSON for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes
    ----------
    goal
        What it should reach, in words with its number; empty where there is no goal.
    low, high
        95 % interval of the mean, where items were sampled.
    is_met
        None where there is no goal, or nothing was measured.
    """

    name: str
    value: float
    unit: str
    n: int
    goal: str = ""
    low: float | None = None
    high: float | None = None
    is_met: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a heading; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    note: str = ""


@dataclass(kw_only=True)
class Results:
    """All of one evaluation."""

    command: str
    made_of: dict[str, str] = field(default_factory=dict)  # SHA-256 of the networks and of the data set's index
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)

    @property
    def goals(self) -> Table:
        """What was reached of the project's goals."""
        from .goals import table_of  # which knows figures and tables, too

        return table_of(self.figures, self.command)

    def write(self, folder: Path) -> None:
        """Write ``evaluation.json`` and ``evaluation.md``, each whole or not at all."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _replace(folder / "evaluation.json", json.dumps(self.as_record(), indent=1, allow_nan=False) + "\n")
            _replace(folder / "evaluation.md", self.asmarkdown())
        except OSError as error:
            raise ModelError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from None

    def as_record(self) -> dict[str, Any]:
        """Return everything for JSON; what is not a number is null."""
        record: dict[str, Any] = _clean(
            {
                "goals": asdict(self.goals),
                "command": self.command,
                "made_of": self.made_of,
                "figures": [asdict(figure) for figure in self.figures],
                "tables": [asdict(table) for table in self.tables],
                "plots": [path.name for path in self.plots],
            }
        )
        return record

    def asmarkdown(self) -> str:
        """Return the page."""
        goals = self.goals
        parts = ["# Evaluation", f"`{self.command}`", "## Goals", goals.note, markdown(goals.columns, goals.rows)]
        if self.figures:
            parts.append("## All figures")
            head = ("goal", "figure", "value", "unit", "n", "95 % interval", "met")
            rows = [
                (f.goal, f.name, f.value, f.unit, f.n, interval_text(f), {None: "", True: "yes", False: "no"}[f.is_met])
                for f in self.figures
            ]
            parts.append(markdown(head, rows))
        for table in self.tables:
            parts += [f"## {table.title}", table.note, markdown(table.columns, table.rows)]
        parts += [f"![{path.stem}]({path.name})" for path in self.plots]
        return "\n\n".join(part for part in parts if part) + "\n"


def goal_figure(
    name: str, value: float, unit: str, n: int, *, at_most: float | None = None, at_least: float | None = None,
    goal: str = "", low: float | None = None, high: float | None = None,
) -> Figure:  # fmt: skip
    """Return a figure that is held to a bound."""
    is_met = None
    bound = ""
    if at_most is not None:
        is_met, bound = value <= at_most, f"≤ {at_most:g}"
    if at_least is not None:
        is_met, bound = value >= at_least, f"≥ {at_least:g}"
    if not math.isfinite(value):
        is_met = None
    return Figure(
        name=name, value=value, unit=unit, n=n, goal=f"{goal} {bound}".strip(), low=low, high=high, is_met=is_met
    )


def interval_text(figure: Figure) -> str:
    """Return its interval in words; empty where there is none."""
    if figure.low is None or figure.high is None or not math.isfinite(figure.low):
        return ""
    return f"{figure.low:.3g} to {figure.high:.3g}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if not math.isfinite(value) else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
    return str(value).replace("|", "\\|")


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
