"""What goes into the networks and what comes out: columns, scales, units. A run's net.toml says the same to the box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dsp_kernels.contract.generated.contract import GENRES, KEYS, ROLES, SCENE_KINDS, SECTIONS, STYLES
from dsp_kernels.contract.layout import MIX_INPUT_COLUMNS, MODEL_INPUT_COLUMNS, N_MIX_INPUT, N_MODEL_INPUT

__all__ = ["N_MIX_INPUT", "N_MODEL_INPUT"]

TICK_S = 0.02
N_PATCH_TICKS = 64
N_ROLES = len(ROLES)
N_SONG_INPUT = len(GENRES) + len(SECTIONS) + len(SCENE_KINDS) + len(STYLES)
N_STYLES = len(STYLES)


CHROMA = MIX_INPUT_COLUMNS["chroma"]
MEL_NOW, MEL_SLOW = MODEL_INPUT_COLUMNS["mel_now"], MODEL_INPUT_COLUMNS["mel_slow"]
IS_ACTIVE = MODEL_INPUT_COLUMNS["is_active"].start
LOUDNESS_VS_MEAN = MODEL_INPUT_COLUMNS["loudness_vs_mean"].start
LOUDNESS_RANK = MODEL_INPUT_COLUMNS["loudness_rank"].start
LEVEL_NOW = MODEL_INPUT_COLUMNS["level_now"].start
LEVEL_NOW_SCALE_DB = 30.0  # of the column: contract, [[model_input]] level_now
SLOW_LOUDNESS = MODEL_INPUT_COLUMNS["slow_loudness"].start
COUNT = MODEL_INPUT_COLUMNS["count"].start
HEARD = MODEL_INPUT_COLUMNS["heard"].start
# What a channel does, not what it sounds like: all that the mix network's judge is told of its inputs.
BEHAVIOUR = tuple(
    column
    for name in (
        "onset", "is_active", "level_now", "bleed_coherence", "has_bleed_source", "count", "heard", "is_stereo"
    )
    for column in range(MODEL_INPUT_COLUMNS[name].start, MODEL_INPUT_COLUMNS[name].stop)
)  # fmt: skip
N_PATCH_COLUMNS = IS_ACTIVE + 1  # the part of a channel's inputs that no other channel and no slow average has touched
HEARD_AT_LEAST = 0.0630852  # log2(1 + 0.3 s) / 6: the column says "heard" from 0.3 s of activity on


@dataclass(frozen=True, kw_only=True)
class Head:
    """Some columns of an output.

    Attributes
    ----------
    first, count
        Columns ``first .. first + count - 1``.
    scale, offset
        What the columns mean: ``value = scale * column + offset``, in ``unit``.
    """

    name: str
    first: int
    count: int
    scale: float
    offset: float
    unit: str

    @property
    def columns(self) -> slice:
        """The columns as a slice."""
        return slice(self.first, self.first + self.count)


def _heads(*rows: tuple[str, int, float, float, str]) -> dict[str, Head]:
    first, heads = 0, {}
    for name, count, scale, offset, unit in rows:
        heads[name] = Head(name=name, first=first, count=count, scale=scale, offset=offset, unit=unit)
        first += count
    return heads


# Every column of the mix network lies in [-1, 1], so that one int8 scale serves them all. Parameters are clipped
# there, logits beyond 8 say nothing more, and ln_sigma spans 0.0067 to 1 of the parameter's own scale.
LOGIT_SCALE = 8.0
LN_SIGMA_SCALE = 2.5
LN_SIGMA_OFFSET = -2.5
MIX_HEADS = _heads(
    ("offset_lu", N_STYLES, 15.0, 0.0, "lu"),
    ("pan_abs", N_STYLES, 1.0, 0.0, "ratio"),
    ("tone_db", 4, 6.0, 0.0, "db"),
    ("compressor_threshold_db", 1, 20.0, 0.0, "db"),
    ("compressor_log2_ratio", 1, 2.0, 0.0, "log2"),
    ("send_db", N_STYLES, 40.0, -40.0, "db"),
    ("ln_sigma", 5, LN_SIGMA_SCALE, LN_SIGMA_OFFSET, "ln of the head's scale"),
    ("importance", 1, LOGIT_SCALE, 0.0, "logit"),
    ("activity", 1, LOGIT_SCALE, 0.0, "logit"),
    ("bleed", 1, LOGIT_SCALE, 0.0, "logit"),
    ("role", N_ROLES, LOGIT_SCALE, 0.0, "logit"),
)
LN_SIGMA_START = 0.6  # column of a fresh network: sigma 0.37 of the scale, about the spread of the answers themselves
SIGMA_GROUPS = ("offset_lu", "pan_abs", "tone_db", "compressor", "send_db")
PARAMETERS = slice(0, 15)
SONG_HEADS = _heads(
    ("beat", 1, 1.0, 0.0, "logit"),
    ("downbeat", 1, 1.0, 0.0, "logit"),
    ("boundary", 1, 1.0, 0.0, "logit"),
    ("section", len(SECTIONS), 1.0, 0.0, "logit"),
    ("genre", len(GENRES), 1.0, 0.0, "logit"),
    ("scene", len(SCENE_KINDS), 1.0, 0.0, "logit"),
    ("key", len(KEYS), 1.0, 0.0, "logit"),
)
ROLE_HEADS = _heads(("role", N_ROLES, 1.0, 0.0, "logit"), ("voice_activity", 1, 1.0, 0.0, "logit"))
HEADS = {"role": ROLE_HEADS, "mix": MIX_HEADS, "song": SONG_HEADS}
N_OUTPUT = {net: sum(head.count for head in heads.values()) for net, heads in HEADS.items()}


def heads_as_table(net: str) -> list[dict[str, Any]]:
    """Return the heads of a network, ready for TOML or JSON."""
    return [
        {"name": h.name, "first": h.first, "count": h.count, "scale": h.scale, "offset": h.offset, "unit": h.unit}
        for h in HEADS[net].values()
    ]
