"""Why a model says what it says: the last ticks are played again with one family of inputs neutral at a time.

What is missing then is the family's effect. Told is what a counterfactual bears out: with half of the family taken away
the answer must move the same way. A tick plays one of these runs, so that no answer is late for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.layout import MODEL_INPUT_COLUMNS, N_MODEL_INPUT

from .answer import FAMILIES, TARGETS, Explanation
from .decode import Decoder, targets_of
from .runtime import Network, States

N = len(FAMILIES)
PAST_TICKS = 16  # as far back as is played again: what a context of depthwise convolutions still feels (P)

# Columns of the model input by family; those that say how a channel stands to the others belong to them.
_OF_FAMILY = {
    "own level": ("level_now", "slow_loudness", "noise_room"),
    "own tone": ("mel_now", "mel_slow", "centroid", "rolloff", "flatness", "brightness", "roughness"),
    "own rhythm": ("flux", "crest", "attack", "decay", "onset", "syllabic", "is_active", "heard"),
    "who else plays": ("loudness_vs_mean", "loudness_rank", "count", "masked_at_equal_loudness"),
    "bleed": ("bleed_coherence", "bleed_delay", "has_bleed_source"),
}
# The ten of fast_means and slow_means: contract, [[model_input]].
_MEANS = (
    "own rhythm", "own tone", "own tone", "own tone", "own rhythm", "own rhythm", "own level", "own rhythm", "own tone",
    "bleed",
)  # fmt: skip
COLUMNS: dict[str, list[int]] = {
    family: [n for name in names for n in range(MODEL_INPUT_COLUMNS[name].start, MODEL_INPUT_COLUMNS[name].stop)]
    + [MODEL_INPUT_COLUMNS[m].start + n for m in ("fast_means", "slow_means") for n in range(10) if _MEANS[n] == family]
    for family, names in _OF_FAMILY.items()
}
NEUTRAL = np.zeros(N_MODEL_INPUT, np.float32)
NEUTRAL[[n for n in COLUMNS["bleed"] if n != MODEL_INPUT_COLUMNS["bleed_delay"].start]] = -1.0  # no bleed


class Moment(NamedTuple):
    """Inputs of the mix network at one tick, and its states before it."""

    inputs: dict[str, NDArray[np.float32]]
    states: States


class Explainer:
    """Explains one channel at a time, a run a tick; the network's states are put back after each."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._past: list[Moment] = []
        self._channel = self._style = 0
        self._runs: list[NDArray[np.float64]] = []

    @property
    def is_busy(self) -> bool:
        """Whether an explanation is on its way."""
        return bool(self._past)

    def start(self, past: Sequence[Moment], channel: int, style: int) -> None:
        """Begin with the answer that ``past`` led to."""
        self._past, self._channel, self._style, self._runs = list(past), channel, style, []

    def step(self) -> Explanation | None:
        """Play one run; return the explanation after the last."""
        n = len(self._runs)
        family, share = (None, 0.0) if n == 0 else (FAMILIES[(n - 1) % N], 1.0 if n <= N else 0.5)
        self._runs.append(played(self._network, self._past, self._channel, self._style, family, share))
        if len(self._runs) < 1 + 2 * N:
            return None
        told, without_all, without_half = self._runs[0], np.array(self._runs[1 : N + 1]), np.array(self._runs[N + 1 :])
        effect = told - without_all
        effect = np.where(effect * (told - without_half) > 0.0, effect, 0.0)
        self._past = []
        return Explanation(channel=self._channel, style=self._style, effect=effect.T.astype(np.float32))


def is_counterfactual(
    network: Network, past: Sequence[Moment], explanation: Explanation, target: str, family: str
) -> bool:
    """Whether taking half of ``family`` away moves ``target`` the way that the explanation says."""
    ch, style, row = explanation.channel, explanation.style, TARGETS.index(target)
    before = played(network, past, ch, style, None, 0.0)[row]
    after = played(network, past, ch, style, family, 0.5)[row]
    effect = float(explanation.effect[row, FAMILIES.index(family)])
    return bool((before - after) * effect > 0.0)


def played(
    network: Network, past: Sequence[Moment], ch: int, style: int, family: str | None, share: float
) -> NDArray[np.float64]:
    """Return the targets of channel ``ch`` after ``past``, with ``share`` of a family taken away all along."""
    kept = network.states
    network.set_states(past[0].states)
    for moment in past:
        inputs = moment.inputs if family is None else without(moment.inputs, ch, family, share)
        y = network.run(inputs)["y"]
    network.set_states(kept)
    return targets_of(Decoder(network.spec.heads).channels(y[ch : ch + 1])[0], style)


def without(
    inputs: Mapping[str, NDArray[np.float32]], ch: int, family: str, share: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Return the inputs with ``share`` of a family of channel ``ch`` taken away."""
    fresh = {name: value.copy() for name, value in inputs.items()}
    if family in COLUMNS:
        columns = COLUMNS[family]
        fresh["x"][ch, columns] += share * (NEUTRAL[columns] - fresh["x"][ch, columns])
    if family == "who else plays":
        others = np.arange(len(fresh["mask"])) != ch
        fresh["mask"][others] *= 1.0 - share
        fresh["inv_sqrt_n"][:] = 1.0 / max(1.0, float(fresh["mask"].sum())) ** 0.5
    elif family == "genre and section":
        fresh["song"] *= 1.0 - share
    elif family == "role":
        n_roles = fresh["role_prob"].shape[1]
        fresh["role_prob"][ch] += share * (1.0 / n_roles - fresh["role_prob"][ch])
    return fresh
