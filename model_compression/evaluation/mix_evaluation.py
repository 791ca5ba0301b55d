"""Mixes of many generated sessions beside the good one: the model's settings, the baselines' and, of some, the box's.

All go through our console, but for the box's, and are compared by the four groups of ``automix_mape`` from the moment
on at which a mixer has heard enough.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import box
from .baselines import levels, perez_gonzalez
from .baselines.students import CLIP, Students
from .console import Setting, render
from .data_scores import SETTLE_S, decoded
from .measures import automix_mape
from .measures.loudness import at_loudness
from .mix_material import Material, generated, heard_loudness_lufs, settings_of, sides, true_settings
from .mix_scores import MATCH_LUFS
from .model_child import answers
from .model_files import read
from .results import Results, Table, goal_figure
from .statistics import holm, interval, paired
from .ways import NAMED, PLAIN

GROUPS = tuple(automix_mape.GROUPS)
MODEL, MODEL_NAMED = "model", "model, names given"
RULES, BOX = "box, rules", "box, model"
RIVALS = ("B1 equal LUFS", "B3 Perez-Gonzalez", CLIP)  # those that the goal names
N_GROUPS_AT_LEAST, P_LESS_THAN = 3, 0.05
CHUNK = 4  # sessions of one process: what is in memory at a time
Scores = dict[str, dict[str, float]]  # by system, by measure


@dataclass(frozen=True, kw_only=True)
class Job:
    """Some sessions of a comparison, for one process."""

    first: int
    last: int
    model: Path
    precision: str
    students: Students | None
    recipe: str
    seed: int
    voices: Path | None
    n_with_box: int
    keys: tuple[Path, ...] = ()


def evaluate(job: Job, results: Results, *, n: int, jobs: int, say: Callable[[str], None] = lambda _: None) -> None:
    """Compare the mixes of ``n`` sessions; ``job`` says how, whatever its own span is."""
    parts = [replace(job, first=k, last=min(k + CHUNK, n)) for k in range(0, n, CHUNK)]
    scores: list[Scores] = []
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for part, told in zip(parts, pool.map(scored, parts), strict=True):
            scores += told
            say(f"mixes: {part.last} of {n} sessions")
    report(scores, results)


def scored(job: Job) -> list[Scores]:
    """Return the scores of every system on every session of a job."""
    numbers = range(job.first, job.last)
    materials = [generated(job.recipe, number, seed=job.seed, voices=job.voices) for number in numbers]
    model = read(job.model)
    ways = (PLAIN, NAMED)
    inputs = [way.asked(material.labelled)[0] for way in ways for material in materials]
    told = list(answers(job.model, job.precision, inputs))
    found = []
    for k, (number, material) in enumerate(zip(numbers, materials, strict=True)):
        loudness = heard_loudness_lufs(material.labelled["x"])
        settings = baseline_settings(material, job.students)
        for way_number, label in enumerate((MODEL, MODEL_NAMED)):
            y = told[way_number * len(materials) + k]["y"]
            settings[label] = settings_of(decoded(y, model.heads("mix"), model.sigma_scale), loudness)
        found.append(scores_of(material, settings, _by_box(job, material) if number < job.n_with_box else {}))
    return found


def baseline_settings(material: Material, students: Students | None) -> dict[str, list[Setting]]:
    """Return the settings of the baselines; they hear a whole session before they set anything."""
    session = material.session
    settings = {
        "B1 equal LUFS": levels.equal_loudness(session),
        "B2 LUFS + role offsets": levels.role_offsets(session),
        "B3 Perez-Gonzalez": perez_gonzalez.settings(session),
    }
    if students is not None:
        offsets, positions = students.clip_answer(material.labelled["x"])
        settings[CLIP] = [
            Setting(gain_db=level.gain_db, pan=float(side * position) if position > 0.05 else 0.0)
            for level, position, side in zip(
                levels.equal_loudness(session, offsets), positions, sides(len(positions)), strict=True
            )
        ]
    return settings


def _by_box(job: Job, material: Material) -> dict[str, NDArray[np.float32]]:
    session = material.session
    names = [f"in {k}" for k in range(1, len(session.stems) + 1)]
    with box.session_folder(session.stems, names, session.sample_rate_hz) as folder:
        return {
            label: box.render(folder, model=model, keys=job.keys, has_strips=False).mix
            for label, model in ((RULES, "none"), (BOX, str(job.model)))
        }


def scores_of(material: Material, settings: dict[str, list[Setting]], mixes: dict[str, NDArray[np.float32]]) -> Scores:
    """Return what each system's mix misses of the good one: MAPE and fixed share by group, and each in its unit."""
    session = material.session
    rate_hz = session.sample_rate_hz
    target = automix_mape.target_of(
        _judged(render(session.stems, true_settings(material), rate_hz).mix, rate_hz), rate_hz
    )
    found: Scores = {}
    for name, chosen in settings.items():
        found[name] = _compared(target, render(session.stems, chosen, rate_hz).mix, rate_hz)
    for name, mix in mixes.items():
        found[name] = _compared(target, mix, rate_hz)
    return found


def _judged(mix: NDArray[np.floating], rate_hz: float) -> NDArray[np.float64]:
    return at_loudness(mix[round(SETTLE_S * rate_hz) :], rate_hz, MATCH_LUFS)


def _compared(target: automix_mape.Target, mix: NDArray[np.floating], rate_hz: float) -> dict[str, float]:
    errors = automix_mape.compare(target, _judged(mix, rate_hz), rate_hz)
    parity, fixed = (automix_mape.group_means(errors, field) for field in ("mape_percent", "fixed_percent"))
    return {
        **{f"{group} MAPE %": value for group, value in parity.items()},
        **{f"{group} fixed %": value for group, value in fixed.items()},
        **{f"{name} {error.unit}": error.absolute for members in errors.values() for name, error in members.items()},
    }


def report(scores: Sequence[Scores], results: Results) -> None:
    """Add the tables and the figures that the goal asks for."""
    systems = list(dict.fromkeys(system for of_session in scores for system in of_session))
    measures = list(dict.fromkeys(m for of_session in scores for of_system in of_session.values() for m in of_system))
    results.tables.append(
        Table(
            title=f"Mixes of {len(scores)} generated sessions beside the good one",
            columns=("measure", *systems),
            rows=[(m, *(_mean(column(scores, system, m)) for system in systems)) for m in measures],
            note="Lower is better. MAPE is the field's parity mode, fixed % the same error as a share of a stated "
            f"scale; the other rows are in their own units. The box mixed {len(_known(scores, RULES))} of them.",
        )
    )
    for mine in (MODEL, MODEL_NAMED, BOX):
        rivals = [s for s in systems if s not in (mine, MODEL, MODEL_NAMED, BOX)]
        if mine in systems:
            results.tables.append(_comparison(scores, mine, rivals))
    for mine in (MODEL, MODEL_NAMED):
        results.figures += list(_goal_figures(scores, mine, [r for r in RIVALS if r in systems]))
    if BOX in systems:
        results.figures += list(_box_figures(scores))


def column(scores: Sequence[Scores], system: str, measure: str) -> NDArray[np.float64]:
    """Return a measure of a system over sessions; ``nan`` where it did not mix."""
    return np.array([of_session.get(system, {}).get(measure, np.nan) for of_session in scores])


def _known(scores: Sequence[Scores], system: str) -> list[Scores]:
    return [of_session for of_session in scores if system in of_session]


def _comparison(scores: Sequence[Scores], mine: str, rivals: Sequence[str]) -> Table:
    rows: list[list[Any]] = []
    for rival in rivals:
        found = [
            (m, paired(column(scores, mine, m), column(scores, rival, m)))
            for kind in ("MAPE", "fixed")
            for m in (f"{group} {kind} %" for group in GROUPS)
        ]
        # Holm over the groups, of each kind for itself: two ways to tell the same error are no two chances.
        adjusted = [p for k in (0, len(GROUPS)) for p in holm([f.p_value for _, f in found[k : k + len(GROUPS)]])]
        rows += [
            [rival, m, f.mean_difference, f.low, f.high, f.cliffs_delta, f"{f.n_lower} of {f.n}", p]
            for (m, f), p in zip(found, adjusted, strict=True)
            if f.n
        ]
    return Table(
        title=f"{mine}, against each other mix",
        columns=("against", "measure", "difference", "low", "high", "Cliff's delta", "better", "Holm p"),
        rows=[tuple(row) for row in rows],
        note="Mine minus other with its BCa interval over sessions; Wilcoxon signed rank, Holm over the four groups.",
    )


def _goal_figures(scores: Sequence[Scores], mine: str, rivals: Sequence[str]) -> Iterator[Any]:
    for kind in ("MAPE", "fixed"):
        for rival in rivals:
            found = [paired(*(column(scores, s, f"{group} {kind} %") for s in (mine, rival))) for group in GROUPS]
            adjusted = holm([f.p_value for f in found])
            n_better = sum(f.mean_difference < 0 and p < P_LESS_THAN for f, p in zip(found, adjusted, strict=True))
            yield goal_figure(
                f"groups of {kind} in which {mine} beats {rival}", float(n_better), "of 4", max(f.n for f in found),
                at_least=N_GROUPS_AT_LEAST if kind == "MAPE" else None, goal="G8" if kind == "MAPE" else "",
            )  # fmt: skip


def _box_figures(scores: Sequence[Scores]) -> Iterator[Any]:
    for group in GROUPS:
        gap = column(scores, BOX, f"{group} MAPE %") - column(scores, RULES, f"{group} MAPE %")
        low, high = interval(gap)
        yield goal_figure(
            f"{group} MAPE of the box, model minus rules",
            _mean(gap),
            "%",
            int(np.isfinite(gap).sum()),
            low=low,
            high=high,
        )


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
