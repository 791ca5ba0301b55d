"""A model on generated sessions whose truth is known: settings, roles, activity, bleed, song, calibration, size."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES

from ..errors import ModelError
from . import (
    ablation_evaluation,
    cost_evaluation,
    data_figures,
    data_scores,
    invariance,
    label_evaluation,
    mix_evaluation,
    plots,
)
from .clip_evaluation import by_class, slug
from .data_figures import mean
from .data_scores import PARAMETERS
from .gathered import Gathered, gather
from .measures import classes
from .model_files import ModelFiles, read
from .results import Results, Table, goal_figure
from .shards import Labelled
from .statistics import holm, interval_of_sums, paired
from .ways import NAMED

SIZES = ((8, 0), (16, 8), (32, 16), (48, 32))  # at most, more than
SIZE_LOSS_DB = 0.3
N_WITH_BOX = 8  # of the mixes: the box takes a third of real time
FALLBACK_RECIPE = "small"  # where a data set does not name its own


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much of it is measured.

    Attributes
    ----------
    models
        Trained without something, by label.
    is_ablated
        Whether the model is asked with something taken away, too.
    has_cost
        Whether size and time of a tick are measured.
    n_mixes, n_labels
        New sessions that it mixes beside the baselines, and those whose mixes are read back.
    keys, data
        Whom the box trusts, and the data set: its recipe says what new sessions are like.
    """

    models: dict[str, Path] = field(default_factory=dict)
    is_ablated: bool = False
    has_cost: bool = False
    n_mixes: int = 0
    n_labels: int = 0
    keys: tuple[Path, ...] = ()
    data: Path | None = None
    seed: int = 0
    jobs: int = 1


def evaluate(
    path: Path,
    sessions: Sequence[Labelled],
    results: Results,
    folder: Path,
    *,
    train: Sequence[Labelled],
    extent: Extent,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Measure every precision of a model, the baselines fitted on ``train``, and ablations; report the first."""
    model = read(path)
    results.made_of["model"] = model.digest
    sessions = _that_fit(sessions, model, say)
    by_precision = {}
    for precision in model.precisions:
        say(f"{path.name}, {precision}: {len(sessions)} sessions")
        by_precision[precision] = gather(path, model, precision, sessions, jobs=extent.jobs)
    precision = "int8" if "int8" in by_precision else next(iter(by_precision))
    found = by_precision[precision]
    say(f"{path.name}, {precision}, names given")
    named = gather(path, model, precision, sessions, way=NAMED, jobs=extent.jobs)
    results.figures += data_figures.figures_of(found, precision)
    results.figures += data_figures.parameter_figures(named, f"{precision}, {NAMED.label}")
    if {"int8", "f16"} <= by_precision.keys():
        results.figures += data_figures.precision_figures(by_precision["int8"], by_precision["f16"])
    results.figures += data_figures.invariance_figures(invariance.check(model, path, precision, sessions, extent.seed))
    _draw_roles(found, results, folder)
    results.tables.append(_size_table(found, results, folder))
    if train:
        results.tables.append(_baseline_table(found, named, sessions, train))
    if extent.is_ablated:
        ablation_evaluation.evaluate(path, model, precision, sessions, found, results, jobs=extent.jobs, say=say)
    if extent.has_cost:
        cost_evaluation.evaluate(path, model, precision, results)
    if extent.n_mixes or extent.n_labels:
        _mix(path, precision, results, train, extent, say)
    for label, other in extent.models.items():
        say(f"{label}: {other.name}")
        lacking = gather(other, read(other), precision, sessions, jobs=extent.jobs)  # the same sessions: they must fit
        results.tables.append(ablation_evaluation.table_of(f"Trained without: {label}", found, {label: lacking}))
    _draw(found, results, folder)


def _mix(
    path: Path, precision: str, results: Results, train: Sequence[Labelled], extent: Extent, say: Callable[[str], None]
) -> None:
    from .baselines.students import students_of

    index = extent.data / "index.json" if extent.data else None
    recipe = json.loads(index.read_text(encoding="utf-8"))["recipe"] if index and index.exists() else FALLBACK_RECIPE
    job = mix_evaluation.Job(
        first=0, last=0, model=path, precision=precision, students=students_of(train) if train else None,
        recipe=recipe, seed=extent.seed, voices=(extent.data / ".voices").absolute() if extent.data else None,
        n_with_box=N_WITH_BOX if path.is_file() else 0, keys=extent.keys,
    )  # fmt: skip
    if extent.n_mixes:
        mix_evaluation.evaluate(job, results, n=extent.n_mixes, jobs=extent.jobs, say=say)
    if extent.n_labels:
        label_evaluation.evaluate(
            recipe, results, n=extent.n_labels, seed=extent.seed, voices=job.voices, jobs=extent.jobs, say=say
        )


def _that_fit(sessions: Sequence[Labelled], model: ModelFiles, say: Callable[[str], None]) -> list[Labelled]:
    most = model.max_channels
    fit = [session for session in sessions if most is None or session.n_channels <= most]
    if len(fit) < len(sessions):
        n_wider = len(sessions) - len(fit)
        say(f"{n_wider} sessions have more than the {most} channels that {model.path.name} takes: left out")
    if not fit:
        raise ModelError(f"{model.path}: takes {most} channels, and all {len(sessions)} sessions have more")
    return fit


def _draw_roles(found: Gathered, results: Results, folder: Path) -> None:
    counts = found.role_counts.sum(axis=0)
    results.plots.append(
        plots.confusion_matrix(folder / "confusion_generated.png", counts, ROLES, "generated sessions")
    )
    results.tables.append(by_class("generated sessions", counts))


def _size_table(found: Gathered, results: Results, folder: Path) -> Table:
    sizes = np.array(found.n_channels)
    rows: list[tuple[Any, ...]] = []
    for most, over in SIZES:
        mine = (sizes <= most) & (sizes > over)
        rows.append((f"{over + 1} to {most}", int(mine.sum()),
                     *(mean(np.array(found.mae[name])[mine]) for name in PARAMETERS)))  # fmt: skip
    errors = np.array(found.mae["offset_lu"])
    trained = errors[sizes <= 16]
    for most, over in SIZES[2:]:
        wide = errors[(sizes <= most) & (sizes > over)]
        low, high = _gap_interval(wide, trained)
        results.figures.append(
            goal_figure(f"offset MAE, {over + 1} to {most} channels over up to 16", mean(wide) - mean(trained), "LU",
                        len(wide), at_most=SIZE_LOSS_DB, goal="G5", low=low, high=high)
        )  # fmt: skip
    known = [k for k, row in enumerate(rows) if row[1]]
    if known:
        series = {"offset MAE": [rows[k][2] for k in known]}
        at = [SIZES[k][0] for k in known]
        results.plots.append(plots.size_sweep(folder / "size_sweep.png", at, series, "LU", "offset over size"))
    return Table(title="By number of channels", columns=("channels", "sessions", *PARAMETERS), rows=rows)


def _gap_interval(a: NDArray[np.floating], b: NDArray[np.floating]) -> tuple[float, float]:
    """Return the interval of the difference of two means over items of two kinds."""
    rows = np.zeros((len(a) + len(b), 4))
    rows[: len(a), 0], rows[: len(a), 1] = a, 1.0
    rows[len(a) :, 2], rows[len(a) :, 3] = b, 1.0
    return interval_of_sums(rows, lambda sums: np.asarray(sums[..., 0] / sums[..., 1] - sums[..., 2] / sums[..., 3]))


def _baseline_table(found: Gathered, named: Gathered, sessions: Sequence[Labelled], train: Sequence[Labelled]) -> Table:
    from .baselines.students import students_of

    students = students_of(train)
    mae: dict[str, list[float]] = {}
    for session in sessions:
        mask, truth = data_scores.judged(session), data_scores.truth_of(session).offset_lu[..., data_scores.NATURAL]
        for name, offsets in students.offsets_lu(session).items():
            error = np.abs(offsets - truth)[mask]
            mae.setdefault(name, []).append(float(error.mean()) if len(error) else np.nan)
    mae[f"the model, {NAMED.label}"] = named.mae["offset_lu"]
    compared = [(name, values, paired(found.mae["offset_lu"], values)) for name, values in mae.items()]
    adjusted = holm([p.p_value for *_, p in compared])
    rows = [
        (name, mean(values), p.mean_difference, p.low, p.high, p.cliffs_delta, f"{p.n_lower} of {p.n}", adjusted_p)
        for (name, values, p), adjusted_p in zip(compared, adjusted, strict=True)
    ]
    rows.insert(0, ("the model", mean(found.mae["offset_lu"]), 0.0, 0.0, 0.0, 0.0, "", 1.0))
    columns = ("offset by", "MAE LU", "model minus it", "low", "high", "Cliff's delta", "model better", "Holm p")
    return Table(
        title="Baselines on the same sessions", columns=columns, rows=rows,
        note="B2, B5 and B6 are fitted on the train split; B5 and B6 are closed-form regressions.",
    )  # fmt: skip


def _draw(found: Gathered, results: Results, folder: Path) -> None:
    errors = np.concatenate(found.errors_lu)
    if len(errors):
        results.plots.append(plots.histogram(folder / "offset_error.png", errors, "LU", "offset error"))
    truth, guess, confidence = (np.concatenate(column) for column in zip(*found.role_rows, strict=True))
    if len(truth):
        bins = classes.reliability(confidence, truth == guess)
        results.plots.append(plots.calibration(folder / f"{slug('role calibration')}.png", bins, "role confidence"))
