"""What the networks of a bundle take and give: the shapes that this firmware runs, and whether a bundle keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsp_kernels.contract.generated.contract import GENRES, KEYS, ROLES, SCENE_KINDS, SECTIONS, STYLES, TONE_REGIONS_HZ
from dsp_kernels.contract.layout import N_MIX_INPUT, N_MODEL_INPUT

PRECISIONS = ("int8", "f16")
PATCH_TICKS, PATCH_COLUMNS = 64, 72
N_STYLES = len(STYLES)
N_SONG_INPUT = len(GENRES) + len(SECTIONS) + len(SCENE_KINDS) + N_STYLES
BUCKETS = (8, 16, 32)  # channels that a mix network is run with; -1 in a shape stands for them
MAX_STATES, MAX_DELAY_TICKS, MAX_ELEMENTS = 16, 128, 1 << 20
MAX_SCALE = 100.0  # of a head; the largest in use is 40 dB

# Tensors by name, beside the states, which each network has as it likes.
INPUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "role": {"patch": (1, PATCH_TICKS, PATCH_COLUMNS)},
    "song": {"m": (1, N_MIX_INPUT), "role_sum": (1, len(ROLES))},
    "mix": {
        "x": (-1, N_MODEL_INPUT), "role_prob": (-1, len(ROLES)), "song": (1, N_SONG_INPUT), "mask": (-1, 1),
        "inv_sqrt_n": (1, 1),
    },
}  # fmt: skip
# Columns of the outputs by head, and how many; where they lie and what they mean stands in model.toml.
HEADS: dict[str, dict[str, int]] = {
    "role": {"role": len(ROLES), "voice_activity": 1},
    "song": {
        "beat": 1, "downbeat": 1, "boundary": 1, "section": len(SECTIONS), "genre": len(GENRES),
        "scene": len(SCENE_KINDS), "key": len(KEYS),
    },
    "mix": {
        "offset_lu": N_STYLES, "pan_abs": N_STYLES, "tone_db": len(TONE_REGIONS_HZ), "compressor_threshold_db": 1,
        "compressor_log2_ratio": 1, "send_db": N_STYLES, "ln_sigma": 5, "importance": 1, "activity": 1, "bleed": 1,
        "role": len(ROLES),
    },
}  # fmt: skip
OUTPUTS: dict[str, dict[str, tuple[int, ...]]] = {
    "role": {"role_logits": (1, sum(HEADS["role"].values()))},
    "song": {"z": (1, sum(HEADS["song"].values()))},
    "mix": {"y": (-1, sum(HEADS["mix"].values()))},
}


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """A tensor: our name, the name it has in the file, and its shape with -1 for the channels of a bucket."""

    name: str
    tensor: str
    shape: tuple[int, ...]

    def shape_for(self, n_channels: int) -> tuple[int, ...]:
        """Return the shape with ``n_channels`` channels."""
        return tuple(n_channels if n < 0 else n for n in self.shape)


@dataclass(frozen=True, kw_only=True)
class State:
    """A delay line: what ``output`` was ``delay_ticks`` ago is ``input`` now; zero in the beginning."""

    input: str
    output: str
    delay_ticks: int


@dataclass(frozen=True, kw_only=True)
class Head:
    """Columns of an output; they mean ``scale * column + offset``."""

    first: int
    count: int
    scale: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class NetSpec:
    """One network in one precision; ``n_channels`` is 0 where the file takes any bucket, or there are none."""

    name: str
    precision: str
    file: str
    n_channels: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[State, ...]
    heads: Mapping[str, Head]
    golden_error: float  # how far the golden outputs may be missed

    def tensor(self, name: str) -> TensorSpec:
        """Return one of its tensors."""
        return next(t for t in (*self.inputs, *self.outputs) if t.name == name)

    @property
    def goldens(self) -> dict[str, str]:
        """Return the files of the golden vectors by tensor: what goes in, and what came out of this very file."""
        size = f"_c{self.n_channels}" if self.n_channels else ""
        given = {name: f"golden_{self.name}{size}_{name}.f32" for name in INPUTS[self.name]}
        told = {name: f"golden_{self.name}{size}_{self.precision}_{name}.f32" for name in OUTPUTS[self.name]}
        return given | told


def net_of(table: Any) -> NetSpec:
    """Return the network that a ``[[net]]`` of ``model.toml`` describes.

    Raises
    ------
    ValueError
        With what is wrong about it.
    """
    if not isinstance(table, dict):
        raise ValueError("[[net]] is no table")
    name, precision, file = (_word(table, key) for key in ("name", "precision", "file"))
    if name not in INPUTS or precision not in PRECISIONS:
        raise ValueError(f"no network {name[:20]} in {precision[:20]}")
    n_channels = table.get("n_channels", 0)
    if n_channels not in ((0, *BUCKETS) if name == "mix" else (0,)) or isinstance(n_channels, bool):
        raise ValueError(f"{file}: n_channels = {str(n_channels)[:20]}")
    inputs, outputs = _tensors(table, "inputs"), _tensors(table, "outputs")
    states = _states(table, file, inputs, outputs)
    told, kept = {s.input for s in states}, {s.output for s in states}
    _check_tensors(file, INPUTS[name], {k: v for k, v in inputs.items() if k not in told})
    _check_tensors(file, OUTPUTS[name], {k: v for k, v in outputs.items() if k not in kept})
    error = table.get("golden_error")
    if not isinstance(error, float) or not 0.0 <= error <= 1.0:
        raise ValueError(f"{file}: golden_error is no number from 0 to 1")
    return NetSpec(
        name=name, precision=precision, file=file, n_channels=n_channels, inputs=tuple(inputs.values()),
        outputs=tuple(outputs.values()), states=states, heads=_heads(table, name), golden_error=error,
    )  # fmt: skip


def _states(
    table: Mapping[str, Any], file: str, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> tuple[State, ...]:
    rows = table.get("states", [])
    if not isinstance(rows, list) or len(rows) > MAX_STATES:
        raise ValueError(f"{file}: states are no short list")
    states = []
    for row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{file}: a state is a table")
        given, told, delay_ticks = _word(row, "input"), _word(row, "output"), row.get("delay_ticks")
        if given not in inputs or told not in outputs or inputs[given].shape != outputs[told].shape:
            raise ValueError(f"{file}: state {given[:20]} is no input and output of one shape")
        if type(delay_ticks) is not int or not 1 <= delay_ticks <= MAX_DELAY_TICKS:
            raise ValueError(f"{file}: state {given[:20]} has no delay from 1 to {MAX_DELAY_TICKS}")
        states.append(State(input=given, output=told, delay_ticks=delay_ticks))
    if len({s.input for s in states}) < len(states):
        raise ValueError(f"{file}: a state is there twice")
    return tuple(states)


def _heads(table: Mapping[str, Any], net: str) -> dict[str, Head]:
    rows = table.get("heads")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{net}: heads are no list of tables")
    counts = [(row.get("name"), row.get("count")) for row in rows]
    if counts != list(HEADS[net].items()):
        raise ValueError(f"{net}: has other heads than this firmware reads")
    heads, first = {}, 0
    for row in rows:
        scale, offset = row.get("scale"), row.get("offset")
        is_right = all(type(v) in (int, float) and abs(v) <= MAX_SCALE for v in (scale, offset)) and scale > 0.0
        if row.get("first") != first or not is_right:
            raise ValueError(f"{net}: head {row['name']} lies elsewhere, or its scale is none")
        heads[row["name"]] = Head(first=first, count=row["count"], scale=float(scale), offset=float(offset))
        first += row["count"]
    return heads


def _word(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= 200:
        raise ValueError(f"{key} is no word")
    return value


def _tensors(table: Mapping[str, Any], key: str) -> dict[str, TensorSpec]:
    rows = table.get(key)
    if not isinstance(rows, list) or not 1 <= len(rows) <= 2 * MAX_STATES:
        raise ValueError(f"{key} are no short list")
    found: dict[str, TensorSpec] = {}
    for row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{key}: a tensor is a table")
        name, shape = _word(row, "name"), row.get("shape")
        if not (isinstance(shape, list) and 1 <= len(shape) <= 4 and all(type(n) is int for n in shape)):
            raise ValueError(f"{key}: {name[:20]} has no shape")
        if name in found or any(n < 1 and n != -1 for n in shape) or -1 in shape[1:]:
            raise ValueError(f"{key}: {name[:20]} has no shape, or is there twice")
        if math.prod(abs(n) for n in shape) > MAX_ELEMENTS:
            raise ValueError(f"{key}: {name[:20]} is too large")
        found[name] = TensorSpec(name=name, tensor=_word(row, "tensor"), shape=tuple(shape))
    return found


def _check_tensors(file: str, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, TensorSpec]) -> None:
    shapes = {name: spec.shape for name, spec in found.items()}
    if shapes != dict(wanted):
        raise ValueError(f"{file}: has {_told(shapes)} where {_told(wanted)} belong")


def _told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in sorted(shapes.items()))[:200]
