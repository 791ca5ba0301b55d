"""From what was measured on generated sessions to figures, each with its interval over sessions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data_scores import PARAMETERS
from .gathered import Gathered
from .measures import classes
from .results import Figure, goal_figure
from .statistics import interval, interval_of_sums

GOALS_G3 = {"offset_lu": 0.8, "pan_abs": 0.04, "tone_db": 1.2, "compressor_db": 1.5, "send_db": 2.0}
UNITS = {"offset_lu": "LU", "pan_abs": "ratio", "tone_db": "dB", "compressor_db": "dB", "send_db": "dB"}
PRECISION_GAP_DB = 0.1
BLEED_LOSS_DB, BLEED_ROLE_LOSS, BLEED_AUC = 0.4, 0.03, 0.95
SONG_GOALS = {"beat_f": 0.9, "boundary_hr3": 0.7}
COVERS = (87.0, 93.0)
DETECTIONS = {  # name, at least, goal
    "activity": ("activity ROC-AUC", None, ""),
    "voice": ("voice activity ROC-AUC, channels of talkers", 0.98, "G12"),
    "bleed": ("bleed ROC-AUC", BLEED_AUC, "G7"),
}


def figures_of(found: Gathered, precision: str) -> list[Figure]:
    """Return what one model in one precision reached when nobody named a channel."""
    parts = (parameter_figures(found, precision), _class_figures(found), _song_figures(found), _bleed_figures(found))
    return [figure for part in parts for figure in part]


def parameter_figures(found: Gathered, what: str) -> list[Figure]:
    """Return errors of the settings and how well their own spread was told; ``what`` says of which answers."""
    figures = []
    for name in PARAMETERS:
        low, high = interval(found.mae[name])
        figures.append(
            goal_figure(f"{name} MAE, {what}", mean(found.mae[name]), UNITS[name], found.n,
                        at_most=GOALS_G3[name], goal="G3", low=low, high=high)
        )  # fmt: skip
    rows = np.array(found.squares, float)
    low, high = interval_of_sums(rows, rmse)
    figures.append(Figure(name=f"offset RMSE, {what}", value=rmse_of(found), unit="LU", n=found.n, low=low, high=high))
    for name, values in found.mae.items():
        if name.startswith("offset_lu_style"):
            low, high = interval(values)
            figures.append(Figure(name=f"{name} MAE, {what}", value=mean(values), unit="LU", n=len(values),
                                  low=low, high=high))  # fmt: skip
    for name, shares in found.coverage.items():
        percent = 100.0 * np.asarray(shares, np.float64)
        low, high = interval(percent)
        figures.append(
            Figure(name=f"90 % interval of {name} covers, {what}", value=mean(percent), unit="%", n=len(percent),
                   goal=f"G15 {COVERS[0]:g} to {COVERS[1]:g}", low=low, high=high,
                   is_met=COVERS[0] <= mean(percent) <= COVERS[1])
        )  # fmt: skip
    return figures


def rmse(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean square from sums of squares and counts, ``(..., 2)``."""
    return np.asarray(np.sqrt(sums[..., 0] / sums[..., 1]))


def rmse_of(found: Gathered) -> float:
    """Return the root mean square of the offset's errors over all judged seconds and channels."""
    squares, n = np.sum(found.squares, axis=0)
    return float(np.sqrt(squares / n)) if n else float("nan")


def precision_figures(coarse: Gathered, fine: Gathered) -> list[Figure]:
    """Return what int8 loses against f16, session by session."""
    figures = []
    for name in PARAMETERS:
        gap = np.array(coarse.mae[name]) - np.array(fine.mae[name])
        low, high = interval(gap)
        is_goal = name == "offset_lu"
        figures.append(
            goal_figure(f"{name} MAE, int8 over f16", mean(gap), UNITS[name], coarse.n, low=low, high=high,
                        at_most=PRECISION_GAP_DB if is_goal else None, goal="G3" if is_goal else "")
        )  # fmt: skip
    n_roles = fine.role_counts.shape[-1]
    both = np.concatenate([counts.reshape(len(counts), -1) for counts in (fine.role_counts, coarse.role_counts)], 1)

    def gap_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = (part.reshape(*part.shape[:-1], n_roles, n_roles) for part in np.split(sums, 2, axis=-1))
        return np.asarray(macro_f1(first) - macro_f1(second))

    low, high = interval_of_sums(both, gap_of)
    figures.append(
        goal_figure("role macro-F1, f16 over int8", float(gap_of(both.sum(axis=0).astype(float))), "ratio", fine.n,
                    at_most=0.01, low=low, high=high)
    )  # fmt: skip
    return figures


def macro_f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the macro F1 of counts ``(..., n, n)``."""
    f1 = classes.f1_by_class(counts)
    known = np.isfinite(f1)
    return np.asarray(np.where(known, f1, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1))


def role_interval(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the interval of the macro F1 over items with counts ``(n_items, n, n)``."""
    n = counts.shape[-1]
    return interval_of_sums(
        counts.reshape(len(counts), -1), lambda sums: macro_f1(sums.reshape(*sums.shape[:-1], n, n))
    )


def _class_figures(found: Gathered) -> list[Figure]:
    truth, guess, confidence = (np.concatenate(column) for column in zip(*found.role_rows, strict=True))
    counts, n = found.role_counts, len(truth)
    low, high = role_interval(counts)
    figures = [
        goal_figure("roles macro-F1", classes.macro_f1(counts.sum(axis=0)), "ratio", n, at_least=0.85, goal="G12",
                    low=low, high=high),
        Figure(name="roles accuracy", value=classes.accuracy(counts.sum(axis=0)), unit="ratio", n=n),
        Figure(name="role confidence calibration error", value=classes.calibration_error(confidence, truth == guess),
               unit="ratio", n=n),
    ]  # fmt: skip
    hits = [(int((t & (s > 0)).sum()), int(t.sum() + (s > 0).sum())) for t, s in found.detections["activity"]]
    low, high = interval_of_sums(np.array(hits), _f1_of_hits)
    value = float(_f1_of_hits(np.sum(hits, axis=0).astype(float)))
    figures.append(goal_figure("activity F1", value, "ratio", found.n, at_least=0.95, goal="G12", low=low, high=high))
    return [*figures, *(_auc_figure(name, pairs) for name, pairs in found.detections.items())]


def _f1_of_hits(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.where(sums[..., 1] > 0, 2 * sums[..., 0] / np.maximum(sums[..., 1], 1), 1.0))


def _auc_figure(name: str, pairs: list[tuple[Any, Any]]) -> Figure:
    title, at_least, goal = DETECTIONS[name]
    said = [pair for pair in pairs if len(pair[0])]
    low, high = interval_of_sums(classes.binned_scores(said), classes.auc_of_bins)
    value = classes.roc_auc(*(np.concatenate(column) for column in zip(*said, strict=True))) if said else float("nan")
    return goal_figure(title, value, "ratio", len(said), at_least=at_least, goal=goal, low=low, high=high)


def _song_figures(found: Gathered) -> list[Figure]:
    figures = []
    for name, values in found.song.items():
        known = [value for value in values if np.isfinite(value)]
        low, high = interval(known)
        figures.append(
            goal_figure(name, mean(values), "ratio", len(known), at_least=SONG_GOALS.get(name),
                        goal="G12" if name in SONG_GOALS else "", low=low, high=high)
        )  # fmt: skip
    return figures


def _bleed_figures(found: Gathered) -> list[Figure]:
    if not found.bleed_squares:
        return []
    squares, roles = np.array(found.bleed_squares, float), np.array(found.bleed_roles, float)
    n = int(roles[:, 1].sum())
    more, fewer = (_share_gap(rows, root) for rows, root in ((squares, True), (roles, False)))
    return [
        goal_figure("offset RMSE, channels with bleed over channels without", more[0], "LU", n,
                    at_most=BLEED_LOSS_DB, goal="G7", low=more[1], high=more[2]),
        goal_figure("role accuracy, channels with bleed over channels without", fewer[0], "ratio", n,
                    at_least=-BLEED_ROLE_LOSS, goal="G7", low=fewer[1], high=fewer[2]),
    ]  # fmt: skip


def _share_gap(rows: NDArray[np.float64], is_root: bool) -> tuple[float, float, float]:
    """Return the first share of rows ``(n, 4)`` minus the second, and its interval."""

    def gap(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            near, none = sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]
        return np.asarray(np.sqrt(near) - np.sqrt(none) if is_root else near - none)

    return float(gap(rows.sum(axis=0))), *interval_of_sums(rows, gap)


def invariance_figures(changes: dict[str, float]) -> list[Figure]:
    """Return what an order and silent channels change."""
    return [
        goal_figure("output change by a permutation", changes["permutation"], "of full scale", 4, at_most=0.0,
                    goal="G6"),
        goal_figure("offset change by 16 silent channels", changes["silent_lu"], "LU", 4, at_most=0.1, goal="G6"),
    ]  # fmt: skip


def mean(values: Any) -> float:
    """Return the mean of what is known."""
    x = np.asarray(values, float)
    return float(np.nanmean(x)) if np.isfinite(x).any() else float("nan")
