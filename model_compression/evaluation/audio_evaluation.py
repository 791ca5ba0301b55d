"""The box, with and without a model, beside the baselines and published mixes, on sessions of audio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import box
from .baselines import catalogue
from .baselines.students import Students
from .mix_scores import HIGHER_IS_BETTER, LOWER_IS_BETTER, PLAIN, measure_reference, restlessness, score
from .results import Results, Table
from .sessions import Session
from .statistics import holm, paired

RESTLESSNESS = ("fader_variation_db_per_min", "fader_max_slew_db_per_s", "fader_reversed_percent")
COMPARED = (
    "fixed_loudness_percent", "fixed_spectral_percent", "fixed_panning_percent", "fixed_dynamic_percent", "af_loss",
    "mr_stft", "balance_lu", "order_tau", "masked_fraction",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to run the box: which model, and whether it may read the names of the channels."""

    label: str
    model: str
    has_names: bool


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Role that the box gave a channel whose name says nothing."""

    truth: str
    guess: str
    confidence: float
    label: str


def variants(model: str) -> list[Variant]:
    """Return the rules and, with a bundle, the model; each with given names and with names that say nothing."""
    models = [("rules", "none"), *([("model", model)] if model != "none" else [])]
    return [
        Variant(label=f"{word}, {'names given' if has_names else 'no names'}", model=bundle, has_names=has_names)
        for word, bundle in models
        for has_names in (True, False)
    ]


def evaluate(
    sessions: Iterable[Session],
    results: Results,
    *,
    model: str,
    keys: Sequence[Path] = (),
    preroll_s: float,
    students: Students | None = None,
    command: Sequence[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Heard]:
    """Measure every mix of every session, write tables into ``results`` and return the roles that were guessed.

    ``keys`` are files of public keys that the box is to trust besides its own; ``students`` are the learned baselines,
    where there is a data set to fit them on.
    """
    scores: dict[str, dict[str, dict[str, float]]] = {}
    heard: list[Heard] = []
    for session in sessions:
        say(f"{session.name}: {len(session.stems)} channels, {len(session.stems[0]) / session.sample_rate_hz:.0f} s")
        reference = measure_reference(session)
        scores[session.name] = {
            name: score(session, made.mix, list(made.strips), reference)
            for name, made in catalogue.mixes(session, students).items()
        }
        for variant in variants(model):
            rendered = mixed_by_box(session, variant, preroll_s, command, keys)
            scores[session.name][variant.label] = score(
                session, rendered.mix, list(rendered.strips), reference
            ) | restlessness(rendered.decisions, len(session.stems), rendered.said["duration_s"])
            if not variant.has_names:
                heard += _roles(session, rendered, variant.label)
        for name, other in session.others.items():
            scores[session.name][f"published: {name}"] = score(session, other, None, reference)
    results.tables += _tables(scores)
    return heard


def mixed_by_box(
    session: Session, variant: Variant, preroll_s: float, command: Sequence[str] | None, keys: Sequence[Path] = ()
) -> box.Rendered:
    """Render a session; with a pre-roll, the box hears the end of the song before its begin, which is cut off again."""
    n_before = round(preroll_s * session.sample_rate_hz)
    stems = [_with_preroll(stem, n_before) for stem in session.stems]
    names = session.names if variant.has_names else [f"in {k}" for k in range(1, len(stems) + 1)]
    with box.session_folder(stems, names, session.sample_rate_hz) as folder:
        rendered = box.render(folder, model=variant.model, keys=keys, command=command)
    return box.Rendered(
        mix=rendered.mix[n_before:],
        sample_rate_hz=rendered.sample_rate_hz,
        strips=[strip[n_before:] for strip in rendered.strips],
        said=rendered.said,
        decisions=rendered.decisions,
    )


def _with_preroll(stem: NDArray[np.float32], n_before: int) -> NDArray[np.float32]:
    if n_before == 0:
        return stem
    repeats = -(-n_before // len(stem))
    return np.concatenate([np.tile(stem, (repeats, 1))[-n_before:], stem])


def _roles(session: Session, rendered: box.Rendered, label: str) -> list[Heard]:
    return [
        Heard(truth=truth, guess=said["role"], confidence=float(said["role_confidence"]), label=label)
        for truth, said in zip(session.roles, rendered.said["channels"], strict=True)
    ]


def _tables(scores: dict[str, dict[str, dict[str, float]]]) -> list[Table]:
    systems = list(dict.fromkeys(system for of_session in scores.values() for system in of_session))
    measures = (*LOWER_IS_BETTER, *HIGHER_IS_BETTER, *PLAIN, *RESTLESSNESS)

    def values(system: str, measure: str, names: Iterable[str]) -> NDArray[np.float64]:
        return np.array([scores[name].get(system, {}).get(measure, np.nan) for name in names])

    def table(title: str, names: list[str], note: str = "") -> Table:
        here = [system for system in systems if any(system in scores[name] for name in names)]
        rows = []
        for measure in measures:
            columns = [values(system, measure, names) for system in here]
            if any(np.isfinite(column).any() for column in columns):
                rows.append((measure, *(_mean(column) for column in columns)))
        return Table(title=title, columns=("measure", *here), rows=rows, note=note)

    note = (
        "Mean over the sessions that have the measure. All mixes are brought to one loudness first. Lower is better "
        "but for order_tau; the last lines describe and have no better."
    )
    tables = [table(f"All {len(scores)} sessions", list(scores), note)]
    tables += [table(name, [name]) for name in scores]
    return [*tables, *_comparisons(scores, systems, values)]


def _mean(column: NDArray[np.float64]) -> float:
    return float(np.nanmean(column)) if np.isfinite(column).any() else float("nan")


def _comparisons(
    scores: dict[str, dict[str, dict[str, float]]],
    systems: list[str],
    values: Callable[[str, str, Iterable[str]], NDArray[np.float64]],
) -> list[Table]:
    ours = [system for system in systems if system.startswith(("rules", "model"))]
    tables = []
    for mine in ours:
        against = [s for s in systems if s != mine and not s.startswith("published")]
        rows, p_values = [], []
        for other in against:
            for measure in COMPARED:
                found = paired(values(mine, measure, scores), values(other, measure, scores))
                if found.n:
                    n_better = found.n_lower if measure in LOWER_IS_BETTER else found.n - found.n_lower
                    rows.append([other, measure, found.mean_difference, found.low, found.high, found.cliffs_delta,
                                 f"{n_better} of {found.n}"])  # fmt: skip
                    p_values.append(found.p_value)
        adjusted = holm(p_values)
        columns = ("against", "measure", "difference", "low", "high", "Cliff's delta", "better", "Holm p")
        tables.append(
            Table(
                title=f"{mine}, paired by session",
                columns=columns,
                rows=[(*row, p) for row, p in zip(rows, adjusted, strict=True)],
                note="Difference mine minus other with its 95 % BCa bootstrap interval; Wilcoxon signed rank. With n "
                "sessions no p is under 2^(1-n): few sessions can agree, but not convince.",
            )
        )
    return tables
