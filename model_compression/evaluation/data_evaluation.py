"""A model on generated sessions whose truth is known: settings, roles, activity, bleed, song, calibration, size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES

from ..errors import ModelError
from . import data_scores, invariance, plots
from .clip_evaluation import by_class, slug
from .data_scores import PARAMETERS
from .measures import classes
from .measures.framing import Array
from .model_child import answers
from .model_files import ModelFiles, read
from .results import Figure, Results, Table, goal_figure
from .shards import Labelled
from .statistics import holm, interval, paired

GOALS_G3 = {"offset_lu": 0.8, "pan_abs": 0.04, "tone_db": 1.2, "compressor_db": 1.5, "send_db": 2.0}
UNITS = {"offset_lu": "LU", "pan_abs": "ratio", "tone_db": "dB", "compressor_db": "dB", "send_db": "dB"}
SIZES = ((8, 0), (16, 8), (32, 16), (48, 32))  # at most, more than
PRECISION_GAP_DB, CONTEXT_GAIN_PERCENT, SIZE_LOSS_DB = 0.1, 55.0, 0.3
BLEED_LOSS_DB, BLEED_ROLE_LOSS, BLEED_AUC = 0.4, 0.03, 0.95
SONG_GOALS = {"beat_f": 0.9, "boundary_hr3": 0.7}
CHUNK = 8  # sessions in one child: what is on disk at a time


@dataclass(kw_only=True)
class Gathered:
    """What was measured of one model in one precision, over all sessions; lists run by session."""

    n_channels: list[int] = field(default_factory=list)
    mae: dict[str, list[float]] = field(default_factory=dict)
    rmse: dict[str, list[float]] = field(default_factory=dict)
    coverage: dict[str, list[float]] = field(default_factory=dict)
    errors_lu: list[Array] = field(default_factory=list)
    bleed_squares: dict[str, list[Array]] = field(default_factory=dict)
    bleed_roles: dict[str, list[Array]] = field(default_factory=dict)
    detections: dict[str, list[tuple[Array, Array]]] = field(default_factory=dict)
    role_rows: list[tuple[NDArray[np.int64], NDArray[np.int64], Array]] = field(default_factory=list)
    song: dict[str, list[float]] = field(default_factory=dict)


def gather(path: Path, model: ModelFiles, precision: str, sessions: Sequence[Labelled]) -> Gathered:
    """Run a model over sessions and measure."""
    found = Gathered()
    mix_heads, song_heads = model.heads("mix"), model.heads("song")
    scale = model.sigma_scale
    for first in range(0, len(sessions), CHUNK):
        chunk = sessions[first : first + CHUNK]
        for session, answer in zip(chunk, answers(path, precision, [s.inputs for s in chunk]), strict=True):
            add(found, session, answer, mix_heads, song_heads, scale)
    return found


def add(
    found: Gathered, session: Labelled, answer: dict[str, Any], mix_heads: Any, song_heads: Any,
    sigma_scale: Sequence[float] = (1.0,) * 5,
) -> None:  # fmt: skip
    """Measure one session's answer."""
    mine = data_scores.decoded(answer["y"], mix_heads, sigma_scale)
    truth, mask = data_scores.truth_of(session), data_scores.judged(session)
    found.n_channels.append(session.n_channels)
    errors = data_scores.parameter_errors(mine, truth, mask)
    for name, values in errors.items():
        found.mae.setdefault(name, []).append(float(np.abs(values).mean()) if len(values) else np.nan)
        found.rmse.setdefault(name, []).append(float(np.sqrt(np.mean(values**2))) if len(values) else np.nan)
    found.errors_lu.append(errors["offset_lu"])
    if mask.any():
        for name, share in data_scores.covered(mine, truth, mask).items():
            found.coverage.setdefault(name, []).append(share)
    said = data_scores.roles(session, answer)
    found.role_rows.append(said)
    heard = session["active"].sum(axis=0) >= data_scores.HEARD_S * 50
    for group, members in data_scores.bleed_groups(session).items():
        gap = (mine.offset_lu - truth.offset_lu)[..., data_scores.NATURAL]
        found.bleed_squares.setdefault(group, []).append((gap**2)[mask & members[None]])
        found.bleed_roles.setdefault(group, []).append((said[0] == said[1])[members[heard]])
    for name, pair in data_scores.detections(session, answer, mix_heads).items():
        found.detections.setdefault(name, []).append(pair)
    for name, value in data_scores.song(session, answer, song_heads).items():
        found.song.setdefault(name, []).append(value)


def evaluate(
    path: Path,
    sessions: Sequence[Labelled],
    results: Results,
    folder: Path,
    *,
    train: Sequence[Labelled],
    ablations: dict[str, Path],
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Measure every precision of a model, the baselines fitted on ``train``, and ablated models; report the first."""
    model = read(path)
    results.made_of["model"] = model.digest
    sessions = _that_fit(sessions, model, say)
    by_precision = {}
    for precision in model.precisions:
        say(f"{path.name}, {precision}: {len(sessions)} sessions")
        by_precision[precision] = gather(path, model, precision, sessions)
    precision = "int8" if "int8" in by_precision else next(iter(by_precision))
    found = by_precision[precision]
    results.figures += figures_of(found, precision)
    results.figures += _precision_figures(by_precision)
    results.figures += _invariance_figures(invariance.check(model, path, precision, sessions, seed))
    results.tables += _role_tables(found, results, folder)
    results.tables.append(_size_table(found, results, folder))
    if train:
        results.tables.append(_baseline_table(found, sessions, train))
    for label, other in ablations.items():
        say(f"{label}: {other.name}")
        ablated = gather(other, read(other), precision, sessions)  # on the same sessions: they must fit
        results.tables.append(_ablation_table(label, found, ablated))
    _draw(found, results, folder)


def _that_fit(sessions: Sequence[Labelled], model: ModelFiles, say: Callable[[str], None]) -> list[Labelled]:
    most = model.max_channels
    fit = [session for session in sessions if most is None or session.n_channels <= most]
    if len(fit) < len(sessions):
        n_wider = len(sessions) - len(fit)
        say(f"{n_wider} sessions have more than the {most} channels that {model.path.name} takes: left out")
    if not fit:
        raise ModelError(f"{model.path}: takes {most} channels, and all {len(sessions)} sessions have more")
    return fit


def figures_of(found: Gathered, precision: str) -> list[Figure]:
    """Return what one model in one precision reached."""
    parts = (_parameter_figures(found, precision), _class_figures(found), _song_figures(found), _bleed_figures(found))
    return [figure for part in parts for figure in part]


def _parameter_figures(found: Gathered, precision: str) -> list[Figure]:
    figures = []
    for name in PARAMETERS:
        low, high = interval(found.mae[name])
        figures.append(
            goal_figure(f"{name} MAE, {precision}", _mean(found.mae[name]), UNITS[name], len(found.mae[name]),
                        at_most=GOALS_G3[name], goal="G3", low=low, high=high)
        )  # fmt: skip
    figures.append(Figure(name="offset RMSE", value=_mean(found.rmse["offset_lu"]), unit="LU", n=len(found.n_channels)))
    for name, values in found.mae.items():
        if name.startswith("offset_lu_style"):
            figures.append(Figure(name=f"{name} MAE", value=_mean(values), unit="LU", n=len(values)))
    for name, shares in found.coverage.items():
        share = _mean(shares)
        figures.append(
            Figure(name=f"90 % interval of {name} covers", value=100 * share, unit="%", n=len(shares),
                   goal="G15 87 to 93", is_met=0.87 <= share <= 0.93)
        )  # fmt: skip
    return figures


def _precision_figures(by_precision: dict[str, Gathered]) -> list[Figure]:
    if not {"int8", "f16"} <= by_precision.keys():
        return []
    coarse, fine = by_precision["int8"], by_precision["f16"]
    figures = [
        goal_figure(f"{name} MAE, int8 over f16", _mean(coarse.mae[name]) - _mean(fine.mae[name]), UNITS[name],
                    len(coarse.n_channels), at_most=PRECISION_GAP_DB if name == "offset_lu" else None,
                    goal="G3" if name == "offset_lu" else "")
        for name in PARAMETERS
    ]  # fmt: skip
    gap = classes.macro_f1(_counts(fine)) - classes.macro_f1(_counts(coarse))
    return [*figures, goal_figure("role macro-F1, f16 over int8", gap, "ratio", len(coarse.role_rows), at_most=0.01)]


def _counts(found: Gathered) -> Any:
    truth, guess, _ = (np.concatenate(column) for column in zip(*found.role_rows, strict=True))
    return classes.confusion(truth, guess, len(ROLES))


def _class_figures(found: Gathered) -> list[Figure]:
    truth, guess, confidence = (np.concatenate(column) for column in zip(*found.role_rows, strict=True))
    counts, n = _counts(found), len(truth)
    figures = [
        goal_figure("roles macro-F1", classes.macro_f1(counts), "ratio", n, at_least=0.85, goal="G12"),
        Figure(name="roles accuracy", value=classes.accuracy(counts), unit="ratio", n=n),
        Figure(name="role confidence calibration error", value=classes.calibration_error(confidence, truth == guess),
               unit="ratio", n=n),
    ]  # fmt: skip
    pooled = {
        name: tuple(np.concatenate(column) for column in zip(*pairs, strict=True))
        for name, pairs in found.detections.items()
    }
    n_sessions = len(found.n_channels)
    is_active, logit = pooled["activity"]
    figures.append(
        goal_figure(
            "activity F1", classes.binary_f1(is_active, logit > 0), "ratio", n_sessions, at_least=0.95, goal="G12"
        )
    )
    figures.append(
        goal_figure("voice activity ROC-AUC, where something sounds", classes.roc_auc(*pooled["voice"]), "ratio",
                    n_sessions, at_least=0.98, goal="G12")
    )  # fmt: skip
    if "bleed" in pooled:
        figures.append(
            goal_figure(
                "bleed ROC-AUC", classes.roc_auc(*pooled["bleed"]), "ratio", n_sessions, at_least=BLEED_AUC, goal="G7"
            )
        )
    return figures


def _song_figures(found: Gathered) -> list[Figure]:
    figures = []
    for name, values in found.song.items():
        known = [value for value in values if np.isfinite(value)]
        low, high = interval(known)
        figures.append(
            goal_figure(name, _mean(values), "ratio", len(known), at_least=SONG_GOALS.get(name),
                        goal="G12" if name in SONG_GOALS else "", low=low, high=high)
        )  # fmt: skip
    return figures


def _invariance_figures(changes: dict[str, float]) -> list[Figure]:
    return [
        goal_figure(
            "output change by a permutation", changes["permutation"], "of full scale", 4, at_most=0.0, goal="G6"
        ),
        goal_figure("offset change by 16 silent channels", changes["silent_lu"], "LU", 4, at_most=0.1, goal="G6"),
    ]


def _bleed_figures(found: Gathered) -> list[Figure]:
    if not {"near", "none"} <= found.bleed_squares.keys():
        return []
    rmse = {group: float(np.sqrt(np.mean(np.concatenate(parts)))) for group, parts in found.bleed_squares.items()
            if sum(map(len, parts))}  # fmt: skip
    right = {group: float(np.mean(np.concatenate(parts))) for group, parts in found.bleed_roles.items()
             if sum(map(len, parts))}  # fmt: skip
    n = sum(len(part) for part in found.bleed_roles["near"])
    nan = float("nan")
    more_lu = rmse.get("near", nan) - rmse.get("none", nan)
    fewer = right.get("none", nan) - right.get("near", nan)
    return [
        goal_figure("offset RMSE, channels with bleed over channels without", more_lu, "LU", n,
                    at_most=BLEED_LOSS_DB, goal="G7"),
        goal_figure("role accuracy, channels without bleed over channels with", fewer, "ratio", n,
                    at_most=BLEED_ROLE_LOSS, goal="G7"),
    ]  # fmt: skip


def _role_tables(found: Gathered, results: Results, folder: Path) -> list[Table]:
    counts = _counts(found)
    results.plots.append(
        plots.confusion_matrix(folder / "confusion_generated.png", counts, ROLES, "generated sessions")
    )
    return [by_class("generated sessions", counts)]


def _size_table(found: Gathered, results: Results, folder: Path) -> Table:
    sizes = np.array(found.n_channels)
    rows: list[tuple[Any, ...]] = []
    for most, over in SIZES:
        mine = (sizes <= most) & (sizes > over)
        rows.append((f"{over + 1} to {most}", int(mine.sum()),
                     *(_mean(np.array(found.mae[name])[mine]) for name in PARAMETERS)))  # fmt: skip
    trained = _mean(np.array(found.mae["offset_lu"])[sizes <= 16])
    for most, over in SIZES[2:]:
        mine = (sizes <= most) & (sizes > over)
        loss = _mean(np.array(found.mae["offset_lu"])[mine]) - trained
        results.figures.append(
            goal_figure(f"offset MAE, {over + 1} to {most} channels over up to 16", loss, "LU", int(mine.sum()),
                        at_most=SIZE_LOSS_DB, goal="G5")
        )  # fmt: skip
    known = [k for k, row in enumerate(rows) if row[1]]
    if known:
        series = {"offset MAE": [rows[k][2] for k in known]}
        at = [SIZES[k][0] for k in known]
        results.plots.append(plots.size_sweep(folder / "size_sweep.png", at, series, "LU", "offset over size"))
    return Table(title="By number of channels", columns=("channels", "sessions", *PARAMETERS), rows=rows)


def _baseline_table(found: Gathered, sessions: Sequence[Labelled], train: Sequence[Labelled]) -> Table:
    from .baselines.students import students_of

    students = students_of(train)
    mae: dict[str, list[float]] = {}
    for session in sessions:
        mask, truth = data_scores.judged(session), data_scores.truth_of(session).offset_lu[..., data_scores.NATURAL]
        for name, offsets in students.offsets_lu(session).items():
            error = np.abs(offsets - truth)[mask]
            mae.setdefault(name, []).append(float(error.mean()) if len(error) else np.nan)
    compared = [(name, values, paired(found.mae["offset_lu"], values)) for name, values in mae.items()]
    adjusted = holm([p.p_value for *_, p in compared])
    rows = [
        (name, _mean(values), p.mean_difference, p.low, p.high, p.cliffs_delta, f"{p.n_lower} of {p.n}", adjusted_p)
        for (name, values, p), adjusted_p in zip(compared, adjusted, strict=True)
    ]
    rows.insert(0, ("the model", _mean(found.mae["offset_lu"]), 0.0, 0.0, 0.0, 0.0, "", 1.0))
    columns = ("offset by", "MAE LU", "model minus it", "low", "high", "Cliff's delta", "model better", "Holm p")
    return Table(
        title="Baselines on the same sessions", columns=columns, rows=rows,
        note="B2, B5 and B6 are fitted on the train split; B5 and B6 are closed-form regressions.",
    )  # fmt: skip


def _ablation_table(label: str, full: Gathered, ablated: Gathered) -> Table:
    rows: list[tuple[Any, ...]] = []
    for name in PARAMETERS:
        p = paired(full.mae[name], ablated.mae[name])
        rows.append((f"{name} MAE", _mean(full.mae[name]), _mean(ablated.mae[name]), p.low, p.high, p.p_value))
    mine, other = _mean(full.rmse["offset_lu"]), _mean(ablated.rmse["offset_lu"])
    rows.append(("offset RMSE", mine, other, float("nan"), float("nan"), float("nan")))
    rows.append(("roles macro-F1", classes.macro_f1(_counts(full)), classes.macro_f1(_counts(ablated)), float("nan"),
                 float("nan"), float("nan")))  # fmt: skip
    return Table(
        title=f"Without: {label}", columns=("measure", "full", "ablated", "difference low", "high", "p"), rows=rows,
        note=f"The full model's offset RMSE is {100 * (1 - mine / other):.0f} % lower (G4, context: at least "
        f"{CONTEXT_GAIN_PERCENT:.0f} %).",
    )  # fmt: skip


def _draw(found: Gathered, results: Results, folder: Path) -> None:
    errors = np.concatenate(found.errors_lu)
    if len(errors):
        results.plots.append(plots.histogram(folder / "offset_error.png", errors, "LU", "offset error"))
    truth, guess, confidence = (np.concatenate(column) for column in zip(*found.role_rows, strict=True))
    if len(truth):
        bins = classes.reliability(confidence, truth == guess)
        results.plots.append(plots.calibration(folder / f"{slug('role calibration')}.png", bins, "role confidence"))


def _mean(values: Any) -> float:
    x = np.asarray(values, float)
    return float(np.nanmean(x)) if np.isfinite(x).any() else float("nan")
