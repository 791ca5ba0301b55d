"""Why a model says what it says: the last ticks are played again with one family of inputs neutral at a time.

What is missing then is the family's effect. Told is what a counterfactual bears out: with half of the family taken away
the answer must move the same way, both must stand out of what the answer does from tick to tick anyhow, and be large
enough to move anything. A tick plays one of these runs, so that no answer is late for them.
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
TOLD_TICKS = 8  # the last of them; an effect is its mean over these: one tick alone has the steps of int8 in it (P)
SURE = 1.75  # an effect is so many times as large as its own spread over these ticks, or is not told (P)
# Nor is one that would move nobody: half of what control lets a target wander, by ``TARGETS``; of a ratio near 3:1 (P).
LEAST = np.array([0.25, 0.03, *[0.2] * 4, 0.5, 0.1, 0.75])

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
        self._told = np.zeros((TOLD_TICKS, len(TARGETS)))
        self._effect = np.zeros((len(TARGETS), N))
        self._runs: list[tuple[int, float]] = []  # families yet to be taken away, and their share

    @property
    def is_busy(self) -> bool:
        """Whether an explanation is on its way."""
        return bool(self._past)

    def start(self, past: Sequence[Moment], channel: int, style: int) -> None:
        """Begin with the answer that ``past`` led to."""
        self._past, self._channel, self._style = list(past), channel, style
        self._told, self._effect[:] = self._told[:0], 0.0
        self._runs = [(n, 1.0) for n in range(N)]

    def step(self) -> Explanation | None:
        """Play one run; return the explanation after the last."""
        if not self._told.size:
            self._told = played(self._network, self._past, self._channel, self._style)
            return None
        n, share = self._runs.pop(0)
        without_it = played(self._network, self._past, self._channel, self._style, FAMILIES[n], share)
        effect = effect_of(self._told, without_it)
        if share == 1.0:
            self._effect[:, n] = np.where(np.abs(effect) >= LEAST, effect, 0.0)
            if self._effect[:, n].any():  # what tells nothing is not tried again
                self._runs.append((n, 0.5))
        else:
            self._effect[:, n] = np.where(effect * self._effect[:, n] > 0.0, self._effect[:, n], 0.0)
        if self._runs:
            return None
        self._past = []
        return Explanation(channel=self._channel, style=self._style, effect=self._effect.astype(np.float32))


def effect_of(told: NDArray[np.float64], without_it: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much ``told`` is above ``without_it`` in the mean; 0 where it is now above and now under."""
    difference = told - without_it
    mean = difference.mean(axis=0)
    return np.where(np.abs(mean) > SURE * difference.std(axis=0), mean, 0.0)


def played(
    network: Network, past: Sequence[Moment], ch: int, style: int, family: str | None = None, share: float = 0.0
) -> NDArray[np.float64]:
    """Return the last targets of ``ch``, ``(TOLD_TICKS, len(TARGETS))``, with ``share`` of a family away all along."""
    kept = network.states
    network.set_states(past[0].states)
    rows = []
    for moment in past:
        inputs = moment.inputs if family is None else without(moment.inputs, ch, family, share)
        rows.append(network.run(inputs)["y"][ch])
    network.set_states(kept)
    return targets_of(Decoder(network.spec.heads).channels(np.array(rows[-TOLD_TICKS:])), style)


def without(
    inputs: Mapping[str, NDArray[np.float32]], ch: int, family: str, share: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Return the inputs with ``share`` of a family of channel ``ch`` taken away."""
    fresh = dict(inputs)
    if family in COLUMNS:
        columns = COLUMNS[family]
        x = fresh["x"] = inputs["x"].copy()
        x[ch, columns] += share * (NEUTRAL[columns] - x[ch, columns])
    if family == "who else plays":
        mask = fresh["mask"] = inputs["mask"].copy()
        mask[np.arange(len(mask)) != ch] *= 1.0 - share
        fresh["inv_sqrt_n"] = np.full_like(inputs["inv_sqrt_n"], max(1.0, float(mask.sum())) ** -0.5)
    elif family == "genre and section":
        fresh["song"] = inputs["song"] * np.float32(1.0 - share)
    elif family == "role":
        prob = fresh["role_prob"] = inputs["role_prob"].copy()
        prob[ch] += share * (1.0 / prob.shape[1] - prob[ch])
    return fresh
