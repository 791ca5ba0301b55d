"""Ways to ask a model about a generated session: as it is, with names, and with something taken away from it.

What is taken away is neutral in every input that holds it, so an ablation needs no other weights. It says what these
weights lose by it; weights that never had it would have learned to do with less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES
from dsp_kernels.contract.layout import MODEL_INPUT_COLUMNS, N_MODEL_INPUT

from ..nets.layout import HEARD, HEARD_AT_LEAST
from .model_child import Inputs
from .shards import Labelled

# Columns of the model input by what they are about; of the ten means, one belongs to bleed too.
FAMILIES = {
    "own level": ("level_now", "slow_loudness", "noise_room"),
    "own tone": ("mel_now", "mel_slow", "centroid", "rolloff", "flatness", "brightness", "roughness"),
    "own rhythm": ("flux", "crest", "attack", "decay", "onset", "syllabic"),
    "slow means": ("fast_means", "slow_means"),
    "who else plays": ("loudness_vs_mean", "loudness_rank", "count", "masked_at_equal_loudness"),
    "count": ("count",),
    "bleed": ("bleed_coherence", "bleed_delay", "has_bleed_source"),
}
BLEED_MEAN = 9
INT8_MAX = 127


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a session is put to a model.

    Attributes
    ----------
    asked
        Inputs of one question or of several.
    told
        One answer from those to the questions.
    has_roles
        Whether the answer says anything about roles.
    """

    label: str
    asked: Callable[[Labelled], list[Inputs]]
    told: Callable[[Sequence[Inputs]], Inputs] = lambda answers: answers[0]
    has_roles: bool = True


PLAIN = Way(label="no names", asked=lambda session: [session.inputs])
NAMED = Way(
    label="names given",
    asked=lambda session: [{**session.inputs, "roles_given": np.asarray(session["role"], np.int8)}],
)
ALL_CONTEXT = "all context"


def columns_of(names: Sequence[str]) -> NDArray[np.int64]:
    """Return the columns of some inputs of the model; those about bleed with its means."""
    found = [n for name in names for n in range(*MODEL_INPUT_COLUMNS[name].indices(N_MODEL_INPUT))]
    if "bleed_coherence" in names:
        found += [MODEL_INPUT_COLUMNS[means].start + BLEED_MEAN for means in ("fast_means", "slow_means")]
    return np.array(sorted(set(found)))


def neutral_of(sessions: Sequence[Labelled]) -> NDArray[np.int8]:
    """Return what each column says on average where a channel was heard, ``(104,)``."""
    total, n = np.zeros(N_MODEL_INPUT), 0
    for session in sessions:
        heard = session["x"][session["x"][:, :, HEARD] >= HEARD_AT_LEAST * INT8_MAX]
        total += heard.sum(axis=0, dtype=np.int64)
        n += len(heard)
    return np.rint(total / max(n, 1)).astype(np.int8)


def without_columns(session: Labelled, neutral: NDArray[np.int8], names: Sequence[str]) -> Inputs:
    """Return the inputs with those of some names neutral wherever a channel was heard."""
    x, columns = session["x"].copy(), columns_of(names)
    heard = x[:, :, HEARD] >= HEARD_AT_LEAST * INT8_MAX
    x[:, :, columns] = np.where(heard[:, :, None], neutral[columns], x[:, :, columns])
    return {"x": x, "m": session["m"]}


def alone(inputs: Inputs) -> list[Inputs]:
    """Return a question a channel, in which the mix network hears no other."""
    return [{**inputs, "x": inputs["x"][:, ch : ch + 1]} for ch in range(inputs["x"].shape[1])]


def side_by_side(answers: Sequence[Inputs]) -> Inputs:
    """Return answers about one channel each as one about all; what is said of the song is the first one's."""
    return {
        "y": np.concatenate([a["y"] for a in answers], axis=1),
        "z": answers[0]["z"],
        "role_prob": np.concatenate([a["role_prob"] for a in answers], axis=1),
    }


def ablations(neutral: NDArray[np.int8]) -> list[Way]:
    """Return every way that takes something away."""
    is_true = np.array(True)

    def lacking(names: Sequence[str], session: Labelled) -> list[Inputs]:
        return [without_columns(session, neutral, names)]

    def all_gone(session: Labelled) -> list[Inputs]:
        rest = without_columns(session, neutral, FAMILIES["who else plays"] + FAMILIES["bleed"])
        return alone({**rest, "has_no_song": is_true})

    def no_roles(session: Labelled) -> list[Inputs]:
        anything = np.full((session.n_channels, len(ROLES)), 1.0 / len(ROLES))
        return [{**session.inputs, "role_prob": anything}]

    return [
        Way(label=ALL_CONTEXT, asked=all_gone, told=side_by_side),
        Way(label="the pool over channels", asked=lambda s: alone(s.inputs), told=side_by_side),
        Way(label="memory", asked=lambda s: [{**s.inputs, "is_forgetful": is_true}]),
        Way(label="what is played", asked=lambda s: [{**s.inputs, "has_no_song": is_true}]),
        Way(label="role evidence", asked=no_roles, has_roles=False),
        *(Way(label=f"columns of {family}", asked=partial(lacking, names)) for family, names in FAMILIES.items()),
    ]
