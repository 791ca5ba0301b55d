"""The goals of the project as one table: what this run measured of each, and which command shows the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .results import Figure, Table, interval_text

# What a goal asks for beside what `evaluate` measures, and the command that shows it; without those that need hardware.
SHOWN_BY = {
    "G2": (
        ("audio is late by the limiter's look-ahead and nothing else",
         "pytest firmware/tests/test_engine.py -k arrives_with_the_limiters_look_ahead"),
        ("a decision is a tick old, 20 ms; one that comes later is none",
         'pytest firmware/tests/test_link.py -k "a_tick_later or come_late"'),
    ),
    "G10": (("95 % of cited causes hold; moves are reversible, lockable, clamped",
             "pytest firmware/tests/test_decisions_of_a_model.py"),),
    "G11": (("three passes cut the balance error by 30 %, never worse, no oscillation",
             "pytest firmware/tests/test_refine.py"),),
    "G13": (("speech and music told apart in a second without a jump",
             "pytest firmware/tests/test_scene_switch.py"),),
    "G14": (("the same seeds give the same weights", "pytest model_compression/tests/test_chain.py"),),
}  # fmt: skip
MEASURED_BY = {
    **dict.fromkeys(("G3", "G5", "G6", "G7", "G15"), "--data DIR"),
    **dict.fromkeys(("G1", "G2"), "--data DIR --cost"),
    "G4": "--data DIR --ablate",
    "G8": "--data DIR --mixes 100",
    "G9": "--data DIR --labels 12",
    "G12": "--data DIR --clips MANIFEST",
}
NOT_HERE = "not in this run"


def table_of(figures: Sequence[Figure], command: str) -> Table:
    """Return a row for each figure that a goal asks for, and one for each goal that other commands show."""
    rows: list[tuple[str, str, str, str, str]] = []
    numbers = sorted({*MEASURED_BY, *SHOWN_BY, *filter(None, map(_goal, figures))}, key=lambda name: int(name[1:]))
    for goal in numbers:
        mine = [figure for figure in figures if _goal(figure) == goal]
        rows += [(f.goal, f.name, _value(f), _word(f), command) for f in mine]
        if not mine and goal in MEASURED_BY:
            rows.append((goal, NOT_HERE, "", "", f"evenhand-model evaluate --model MODEL {MEASURED_BY[goal]}"))
        rows += [(goal, what, "by test", "", shown_by) for what, shown_by in SHOWN_BY.get(goal, ())]
    return Table(
        title="Goals",
        columns=("goal", "figure", "value", "reached", "command"),
        rows=list(rows),
        note="Intervals are 95 % BCa over sessions or clips.",
    )


def _goal(figure: Figure) -> str | None:
    found = re.match(r"G\d+", figure.goal)
    return found[0] if found else None


def _value(figure: Figure) -> str:
    span = interval_text(figure)
    return f"{figure.value:.3g} {figure.unit}{f' ({span})' if span else ''}, n {figure.n}"


def _word(figure: Figure) -> str:
    return {None: "not measured", True: "yes", False: "no"}[figure.is_met]
