"""What a run says about itself: ``card.md``, ``data_card.md``, and ``bundle.toml`` with the same for machines.

Nothing here is typed by hand that can be read: digests and settings come from the run, licences from the index of its
data set, figures from its evaluation.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .data.generate import data_digest
from .data.shards import INDEX, read_index
from .data_card import data_card, data_words, licences, markdown
from .errors import ModelError
from .evaluation.model_files import ModelFiles
from .evaluation.model_files import read as read_model
from .project_version import project_version
from .run_layout import read_file, read_toml
from .toml_text import toml_text
from .trained_on import FILE as TRAINED_ON
from .training.files import write_text

EVALUATION = "evaluation"  # folder of a run
NAME = "evenhand"
NETS = ("role", "song", "mix")
_PURPOSE = """\
A learned mixer for an Evenhand box. Every 20 ms it hears what the box measures of up to 32 channels and says what role
each has, what is played, who leads, and where level, position, tone, compressor and reverb of each should be, in three
styles. The box's rules decide; this model moves what they say by a bounded amount. Without it the rules stand alone.

It says nothing about who somebody is, keeps no sound, and is of no use for anything but mixing."""
_LIMITS = """\
- It learned from what a generator plays and speaks. Real players, rooms, languages and faults differ: figures on
  recordings are lower than those here, and only they say what to expect on a stage.
- The good mix that it aims at is the one that `data/targets.toml` describes for a role, genre and section: a craft rule
  with a stated spread, not the taste of one engineer.
- It knows 21 roles and eight genres. What fits none of them is taken for the nearest; a name given by hand wins.
- In the first seconds of a channel it knows little; the box lets it move a channel in full after 4 s of activity.
- Beats and keys of music without a steady pulse or a tonal centre are guesses, and their confidence says so."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a card is written from."""

    title: tuple[str, str]  # name, version
    identity: dict[str, Any]  # run.toml
    recipe: dict[str, Any]
    machines: dict[str, Any]  # trained_on.toml
    index: dict[str, Any]
    model: ModelFiles
    nets: dict[str, Any]  # tflite/net.toml
    evaluation: dict[str, Any]  # empty where nobody measured
    is_adapted: bool


def write_cards(run: Path, data: Path | None, *, name: str = NAME, version: str | None = None) -> None:
    """Write the cards and ``bundle.toml`` into a run that was quantised.

    Parameters
    ----------
    data
        Data set that the run was made from; None for ``out/data/RECIPE``.
    version
        None for the release, the recipe, and the first digits of what the run was made from.

    Raises
    ------
    ModelError
        When the data set or the evaluation is another than the run's.
    """
    facts = gathered(run, data, name, version)
    write_text(run / "data_card.md", data_card(facts.index))
    write_text(run / "card.md", model_card(facts))
    write_text(run / "bundle.toml", toml_text(tables(facts)))


def gathered(run: Path, data: Path | None, name: str, version: str | None) -> Facts:
    """Read what there is to say; see ``write_cards``."""
    identity, recipe = read_toml(run / "run.toml"), read_toml(run / "recipe.toml")
    recipe_name = str(recipe.get("data", {}).get("name", "own"))
    folder = data or Path("out") / "data" / recipe_name
    index = read_index(folder)
    if _sha256(read_file(folder / INDEX)) != identity.get("data"):
        raise ModelError(f"{run}: was not made from {folder}; name its data set with --data")
    made_from = _sha256("".join(str(identity[key]) for key in ("recipe", "data", "code")).encode())
    model = read_model(run)
    return Facts(
        title=(name, version or f"{project_version()}+{recipe_name}.{made_from[:8]}"),
        identity=identity, recipe=recipe, index=index, model=model, nets=read_toml(run / "tflite" / "net.toml"),
        machines=read_toml(run / TRAINED_ON) if (run / TRAINED_ON).exists() else {},
        evaluation=_evaluation(run, model.digest), is_adapted=(run / "mix.tune").exists(),
    )  # fmt: skip


def is_measured(run: Path, data: Path) -> bool:
    """Return whether the run holds an evaluation of its networks as they are, on this data set."""
    path = run / EVALUATION / "evaluation.json"
    if not path.exists():
        return False
    made_of = json.loads(read_file(path)).get("made_of", {})
    return bool(made_of == {"model": read_model(run).digest, "data": _sha256(read_file(data / INDEX))})


def _evaluation(run: Path, digest: str) -> dict[str, Any]:
    path = run / EVALUATION / "evaluation.json"
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(read_file(path))
    if found.get("made_of", {}).get("model") != digest:
        raise ModelError(f"{path}: is of other networks; run evenhand-model evaluate --out {run / EVALUATION} again")
    return found


def tables(facts: Facts) -> dict[str, Any]:
    """Return ``bundle.toml``: name, version, and what goes into the bundle as it is."""
    training: dict[str, Any] = {
        "recipe": str(facts.recipe.get("data", {}).get("name", "own")), "seed": int(facts.recipe["training"]["seed"]),
        "recipe_digest": facts.identity["recipe"], "data_digest": data_digest(facts.index),
        "code_digest": facts.identity["code"], "data_code_digest": str(facts.index.get("code_digest", "")),
        "trained_on": machine_words(facts.machines), "is_adapted": facts.is_adapted,
        "is_non_commercial": bool(facts.index.get("is_non_commercial", False)),
    }  # fmt: skip
    metrics = {figure["name"]: figure["value"] for figure in facts.evaluation.get("figures", [])
               if figure["value"] is not None}  # fmt: skip
    rows = [{key: str(one[key]) for key in ("name", "version", "licence")} for one in facts.index["ingredients"]]
    return {"name": facts.title[0], "version": facts.title[1], "training": training, "metrics": metrics,
            "ingredient": rows}  # fmt: skip


def model_card(facts: Facts) -> str:
    """Return ``card.md``."""
    nets = [
        (net, f"{table['n_parameters']:,}", f"{table['n_mac'] / 1e6:.2f}",
         *(f"{len(facts.model.files[file]) / 1000:.0f}" for file in table["files"].values()))
        for net, table in facts.nets.items() if isinstance(table, dict)
    ]  # fmt: skip
    precisions = next(list(table["files"]) for table in facts.nets.values() if isinstance(table, dict))
    asked = [(f"{net}.{who}", who, facts.recipe[net].get(who)) for net in NETS for who in ("teacher", "student")]
    steps = [(stage, settings["steps"]) for stage, _, settings in asked if settings]
    taught = ", ".join(stage.partition(".")[0] for stage, who, settings in asked if settings and who == "teacher")
    told = tables(facts)["training"]
    adapted = "Then its mix network was adapted to the sessions below.\n\n" if facts.is_adapted else ""
    return "\n\n".join([
        f"# {' '.join(facts.title)}", _PURPOSE,
        markdown(("network", "parameters", "MMAC a tick, 32 channels", *(f"{p} kB" for p in precisions)), nets),
        "## Data", data_words(facts.index), licences(facts.index),
        "## Training",
        adapted + f"Recipe `{told['recipe']}`, seed {told['seed']}: teachers ({taught}) on the labels, then three "
        "students on labels and on what a teacher of theirs says, then int8 and f16 through the conversion gate. "
        f"{told['trained_on']}.",
        markdown(("stage", "steps"), steps),
        markdown(("what", "SHA-256"), [(k.removesuffix("_digest"), f"`{told[k]}`") for k in
                                     ("recipe_digest", "data_digest", "code_digest", "data_code_digest")]),
        "## Measured", _figures(facts.evaluation),
        "## Limits", _LIMITS + _missed(facts.evaluation),
    ]) + "\n"  # fmt: skip


def machine_words(machines: dict[str, Any]) -> str:
    """Return on what a run was trained, in words."""
    told = dict.fromkeys(
        f"{'; '.join(m['accelerators']) or m['processor']}, {m['cores']} cores, TensorFlow {m['tensorflow']}, "
        f"Python {m['python']}"
        for m in machines.values()
    )
    return f"Trained on {'; then '.join(told)}" if told else "What trained it was not noted"


def _figures(evaluation: dict[str, Any]) -> str:
    if not evaluation:
        return "Not measured yet: `evenhand-model evaluate` measures."
    rows = [
        (f["name"], _number(f["value"]), f["unit"], f["n"],
         "" if f["low"] is None or f["high"] is None else f"{_number(f['low'])} to {_number(f['high'])}",
         f["goal"], {None: "", True: "yes", False: "no"}[f["is_met"]])
        for f in evaluation["figures"]
    ]  # fmt: skip
    return "On the `test` split, with networks and runtimes as the box has them.\n\n" + markdown(
        ("figure", "value", "unit", "n", "95 % interval", "goal", "met"), rows
    )


def _missed(evaluation: dict[str, Any]) -> str:
    missed = [figure["name"] for figure in evaluation.get("figures", []) if figure["is_met"] is False]
    return f"\n- Goals that it misses: {', '.join(missed)}." if missed else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
