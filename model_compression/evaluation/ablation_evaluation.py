"""What a model loses when something is taken away from it, session by session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data_figures import macro_f1, mean, rmse_of
from .data_scores import PARAMETERS
from .gathered import Gathered, gather
from .model_files import ModelFiles
from .results import Results, Table, goal_figure
from .shards import TICKS_PER_S, Labelled
from .statistics import holm, interval_of_sums, paired
from .ways import ALL_CONTEXT, ablations, neutral_of

CONTEXT_GAIN_PERCENT = 55.0
MAX_SESSIONS, MAX_SECONDS = 20, 24  # what is taken away shows on few sessions, and there are many ways
CUT = ("x", "m", "active", "is_bleed", "section", "boundary", "beat")  # arrays that run by tick
CUT_SECONDS = ("offset_lu", "send_db")  # (n_styles, n_seconds, n_channels)


def evaluate(
    path: Path,
    model: ModelFiles,
    precision: str,
    sessions: Sequence[Labelled],
    full: Gathered,
    results: Results,
    *,
    jobs: int,
    say: Callable[[str], None],
) -> None:
    """Ask a model in every way that takes something away; ``full`` is what it reached on all ``sessions``."""
    chosen = [shortened(session) for session in spread_out(sessions, MAX_SESSIONS)]
    say(f"{path.name}, {precision}, ablations: {len(chosen)} sessions of at most {MAX_SECONDS} s")
    whole = gather(path, model, precision, chosen, jobs=jobs)
    lacking, silent = {}, []
    for way in ablations(neutral_of(chosen)):
        say(f"without {way.label}")
        lacking[way.label] = gather(path, model, precision, chosen, way=way, jobs=jobs)
        silent += [] if way.has_roles else [way.label]
    results.tables.append(table_of(f"Ablations, same weights, {len(chosen)} sessions", whole, lacking, silent))
    gain, low, high = rmse_gain_percent(whole, lacking[ALL_CONTEXT])
    results.figures.append(
        goal_figure("offset RMSE lower than without context", gain, "%", whole.n,
                    at_least=CONTEXT_GAIN_PERCENT, goal="G4", low=low, high=high)
    )  # fmt: skip


def spread_out(sessions: Sequence[Labelled], n: int) -> list[Labelled]:
    """Return ``n`` of the sessions, evenly spaced: takes of one performance lie beside each other."""
    if len(sessions) <= n:
        return list(sessions)
    return [sessions[k] for k in np.linspace(0, len(sessions) - 1, n).round().astype(int)]


def shortened(session: Labelled) -> Labelled:
    """Return the first ``MAX_SECONDS`` of a session."""
    n_ticks = min(session.n_ticks, MAX_SECONDS * TICKS_PER_S)
    n_seconds = -(-n_ticks // TICKS_PER_S)
    arrays = {name: value[:n_ticks] if name in CUT else value for name, value in session.arrays.items()}
    arrays |= {name: arrays[name][:, :n_seconds] for name in CUT_SECONDS}
    return Labelled(name=session.name, arrays=arrays)


def rmse_gain_percent(full: Gathered, lacking: Gathered) -> tuple[float, float, float]:
    """Return by how much the full model's offset RMSE is lower, with its interval over sessions."""

    def gain(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(100 * (1 - np.sqrt((sums[..., 0] / sums[..., 1]) / (sums[..., 2] / sums[..., 3]))))

    rows = np.concatenate([np.array(full.squares, float), np.array(lacking.squares, float)], axis=1)
    return float(gain(rows.sum(axis=0))), *interval_of_sums(rows, gain)


def table_of(title: str, full: Gathered, lacking: Mapping[str, Gathered], silent: Sequence[str] = ()) -> Table:
    """Return what each one that lacks something does worse; ``silent`` ones say nothing about roles."""
    rows: list[list[Any]] = []
    p_values = []
    for label, other in lacking.items():
        p = paired(other.mae["offset_lu"], full.mae["offset_lu"])
        gain, low, high = rmse_gain_percent(full, other)
        rest = [mean(np.array(other.mae[name]) - np.array(full.mae[name])) for name in PARAMETERS[1:]]
        roles = float("nan") if label in silent else _role_f1(other) - _role_f1(full)
        rows.append([label, rmse_of(other), gain, low, high, p.mean_difference, p.low, p.high, p.cliffs_delta])
        rows[-1] += [*rest, roles]
        p_values.append(p.p_value)
    rows = [[*row, p] for row, p in zip(rows, holm(p_values), strict=True)]
    whole: list[Any] = ["nothing", rmse_of(full), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    return Table(
        title=title,
        columns=("without", "offset RMSE LU", "full lower by %", "low", "high", "offset MAE more LU", "low", "high",
                 "Cliff's delta", *(f"{name} more" for name in PARAMETERS[1:]), "roles F1 more", "Holm p"),
        rows=[tuple(row) for row in [whole, *rows]],
        note="Differences are without minus with, session by session; intervals are BCa over sessions, p is Wilcoxon "
        "on the offset's MAE.",
    )  # fmt: skip


def _role_f1(found: Gathered) -> float:
    return float(macro_f1(found.role_counts.sum(axis=0).astype(float)))
