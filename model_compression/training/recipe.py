"""Recipes: everything that decides the weights, one TOML each, beside the table [data] of `evenhand-model data`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import ModelError

STAGES = ("role.student", "song.teacher", "song.student", "mix.teacher", "mix.student")
OPTIONAL = ("role.teacher", "role.stranger")
RECIPES = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How one network is trained.

    Attributes
    ----------
    size
        Fields of the network's size class.
    steps, batch, n_ticks
        Optimiser steps, samples each, and ticks (teacher of the mix: steps of the teacher) of one sample.
    learning_rate
        Peak; it warms up over 5 % and falls as a cosine to a hundredth.
    weight_decay
        By how much of themselves, times the learning rate, matrices shrink in a step.
    teacher_weight
        Share of the teacher's word in the loss; the labels keep the rest.
    report_every
        Steps between two lines of metrics, each with a checkpoint.
    """

    size: dict[str, Any]
    steps: int
    batch: int
    n_ticks: int = 1
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    teacher_weight: float = 0.0
    report_every: int = 200


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe; ``stages`` has all of ``STAGES``.

    There is a ``role.teacher`` only where the role student is to copy one, and a ``role.stranger`` where song and mix
    students are to learn from what is said of strangers; else they learn from what the role student says.
    """

    name: str
    text: str
    seed: int
    threads: int
    stages: dict[str, Stage]
    max_channels: int
    n_calibration_ticks: int
    cache_mb: int
    tune: Stage


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe of ours by name, or any file."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES / f"{name_or_path}.toml"
    try:
        text = path.read_text()
        table = tomllib.loads(text)
    except FileNotFoundError:
        offered = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise ModelError(f"{name_or_path}: no such recipe; there are {offered}, or name a .toml file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: not a recipe ({error}); compare it with recipes/small.toml") from None
    try:
        training = table["training"]
        stages = {
            f"{net}.{who}": _stage(table[net][who])
            for net, who in (name.split(".") for name in (*STAGES, *OPTIONAL))
            if who in table[net] or f"{net}.{who}" in STAGES
        }
        return Recipe(
            name=path.stem,
            text=text,
            seed=int(training["seed"]),
            threads=int(training["threads"]),
            stages=stages,
            max_channels=int(training["max_channels"]),
            n_calibration_ticks=int(table["quantise"]["n_ticks"]),
            cache_mb=int(training["cache_mb"]),
            tune=_stage(table["tune"]),
        )
    except KeyError as error:
        raise ModelError(f"{path}: {error} is missing; compare it with recipes/small.toml") from None
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: {error}; compare it with recipes/small.toml") from None


def _stage(table: dict[str, Any]) -> Stage:
    known = {field.name for field in fields(Stage)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]!r} (known: {', '.join(sorted(known))})")
    size = {k: tuple(v) if isinstance(v, list) else v for k, v in table["size"].items()}
    return Stage(**{**table, "size": size})
