"""Network B, the mix: what every channel wants to be, given all the others. Order-free, causal, any number of channels.

Each channel runs through the same weights; they hear of each other only through sums gated by a sigmoid, divided by the
true count. The count enters as its square root on both sides of the sum: in int8 that keeps few channels as exact as
many.

Two towers, one after the other. The listener hears everything and says what is there: tone, dynamics, activity, bleed,
role. The judge sets levels, places and sends, and says who matters. It hears no spectrum: it is told of roles, by the
role network and by the listener, of the song, and of what each channel does (``layout.BEHAVIOUR``), since with spectra
it learns by heart who leads in which session. What it makes of the listener's word teaches the listener nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .layers import Unit, delayed
from .layout import BEHAVIOUR, LN_SIGMA_START, MIX_HEADS, N_MODEL_INPUT, N_ROLES, N_SONG_INPUT

DELAYS_TICKS = (1, 2, 4, 8)  # together a memory of 16 ticks, 0.32 s; what is slower the inputs average exactly
N_WARM_TICKS = sum(DELAYS_TICKS)

# Who says which heads, from the first to the last of a part. A part is one product with one scale of weights, so its
# heads have weights of like size; XNNPACK joins at most five.
LISTENER, JUDGE = "listener", "judge"
Parts = tuple[tuple[str, str, str], ...]
PARTS: Parts = (
    (JUDGE, "offset_lu", "pan_abs"),
    (LISTENER, "tone_db", "compressor_log2_ratio"),
    (JUDGE, "send_db", "importance"),
    (LISTENER, "activity", "bleed"),
    (LISTENER, "role", "role"),
)
PARTS_WITHOUT_JUDGE: Parts = (
    (LISTENER, "offset_lu", "compressor_threshold_db"),
    (LISTENER, "compressor_log2_ratio", "send_db"),
    (LISTENER, "ln_sigma", "bleed"),
    (LISTENER, "role", "role"),
)
N_OPINIONS = 2  # the listener's last parts: what the judge is told of them


@dataclass(frozen=True, kw_only=True)
class MixSize:
    """Widths of the mix network and its blocks; without a ``judge`` the listener says all."""

    width: int = 64
    hidden: int = 112
    blocks: int = 2
    head: int = 96
    judge: int = 0
    judge_blocks: int = 1

    def __post_init__(self) -> None:
        if min(self.blocks, self.judge_blocks) < 1:
            raise ValueError("blocks and judge_blocks must be at least 1")


class Tower(tf.Module):
    """From what channels are to what each of them is said to want: blocks in which they hear of each other, then heads.

    Attributes
    ----------
    parts
        How many columns each part of what it says has.
    """

    def grow(
        self, rng: np.random.Generator, parts: Sequence[int], *, width: int, hidden: int, blocks: int, head: int
    ) -> None:
        """Make the units; those of the entry a tower makes itself, before."""
        self.parts, self._widths = tuple(parts), (width, hidden, head)
        self.gates = [Unit(rng, (width,), width, is_bounded=False) for _ in range(blocks)]
        self.values = [Unit(rng, (width,), width) for _ in range(blocks)]
        self.joins = [Unit(rng, (width, width), hidden) for _ in range(blocks)]
        self.leaves = [Unit(rng, (hidden,), width, is_bounded=False) for _ in range(blocks)]
        self.pre_head = Unit(rng, (width,), head)
        self.head = Unit(rng, (head,), sum(parts), is_bounded=False)

    def grown(self) -> list[Unit]:
        """Return what ``grow`` made, in the order of the signal."""
        blocks = zip(self.gates, self.values, self.joins, self.leaves, strict=True)
        return [*(unit for block in blocks for unit in block), self.pre_head, self.head]

    def say(self, h: Any, *, rows: Any, training: bool) -> list[Any]:
        """Return the parts for sequences ``h (batch, n_ticks, n_channels, width)``; ``rows`` is 0 for padding."""
        n = tf.reduce_sum(rows[:, :1, :, :], axis=2, keepdims=True)
        root = tf.math.rsqrt(tf.maximum(n, 1.0))
        for gate, value, join, leave in zip(self.gates, self.values, self.joins, self.leaves, strict=True):
            v = tf.sigmoid(gate(h)) * value(h, mask=rows, training=training) * (rows * root)
            pooled = tf.reduce_sum(v, axis=2, keepdims=True) * root
            h = h + leave(join(h, pooled, mask=rows, training=training))
        y = self.head(self.pre_head(h, mask=rows, training=training))
        return [y[..., columns] for columns in self._columns()]

    def saying(self) -> Callable[[Any, Any, Any], list[Any]]:
        """Return what ``say`` is in one tick, of ``h (C, width)``, ``mask`` and ``inv_sqrt_n``; in [-1, 1]."""
        *rest, pre_head, head = [unit.folded() for unit in self.grown()]
        blocks = [rest[first : first + 4] for first in range(0, len(rest), 4)]
        pre_head = pre_head.after(blocks[-1][3])
        parts = [head.part(columns) for columns in self._columns()]

        def said(h: Any, mask: Any, inv_sqrt_n: Any) -> list[Any]:
            share = mask * inv_sqrt_n
            for b, (gate, value, join, leave) in enumerate(blocks):
                v = tf.sigmoid(gate(h)) * value(h)
                # A SUM rounds by the number of rows on both runtimes; this product adds up in 32 bits.
                pooled = tf.matmul(share, v, transpose_a=True) * inv_sqrt_n
                joined = join(h, pooled)
                h = h + leave(joined) if b < len(blocks) - 1 else h
            last = pre_head(h, joined)
            return [tf.clip_by_value(part(last), -1.0, 1.0) for part in parts]

        return said

    def n_mac_grown(self, n_channels: int) -> int:
        """Multiplications of ``saying``."""
        width, hidden, head = self._widths
        total = n_channels + len(self.gates) * (2 * n_channels * width + width)
        for unit in self.grown():
            total += _n_mac(unit, n_channels, one_row=1 if unit in self.joins else None)
        return total + n_channels * hidden * (head - width)  # the last leave ships inside of what follows

    def _columns(self) -> list[slice]:
        ends = np.cumsum(self.parts).tolist()
        return [slice(end - n, end) for end, n in zip(ends, self.parts, strict=True)]


class Judge(Tower):
    """The second tower: as wide all through."""

    def __init__(self, width: int, blocks: int, told: Sequence[int], rng: np.random.Generator) -> None:
        super().__init__("judge")
        inputs = (len(BEHAVIOUR), N_ROLES, *told, N_SONG_INPUT)
        self.enter = Unit(rng, inputs, width, n_joined=len(inputs) - 1)
        self.grow(rng, _parts_of(JUDGE, PARTS), width=width, hidden=2 * width, blocks=blocks, head=width)


class MixNet(Tower):
    """The listener, and its judge. A call takes sequences; ``step`` is what ships."""

    def __init__(self, size: MixSize, rng: np.random.Generator) -> None:
        super().__init__("mix")
        self.size = size
        w = size.width
        self.who = PARTS if size.judge else PARTS_WITHOUT_JUDGE
        self.enter = Unit(rng, (N_MODEL_INPUT, N_ROLES, N_SONG_INPUT), w, n_joined=2)
        self.memory = [Unit(rng, (w, w), w, n_joined=2) for _ in DELAYS_TICKS]
        self.grow(rng, _parts_of(LISTENER, self.who), width=w, hidden=size.hidden, blocks=size.blocks, head=size.head)
        self.judge = Judge(size.judge, size.judge_blocks, self.parts[-N_OPINIONS:], rng) if size.judge else None
        sure = MIX_HEADS["ln_sigma"]
        first = _place(JUDGE if self.judge else LISTENER, self.who, sure.first)
        (self.judge or self).head.set_bias(slice(first, first + sure.count), LN_SIGMA_START)

    def units(self) -> list[Unit]:
        """All units, in the order of the signal."""
        judge = [self.judge.enter, *self.judge.grown()] if self.judge else []
        return [self.enter, *self.memory, *self.grown(), *judge]

    def __call__(self, x: Any, role_prob: Any, song: Any, mask: Any, training: bool = False) -> Any:
        """Run sequences.

        Parameters
        ----------
        x, role_prob
            ``(batch, n_ticks, n_channels, 104 and 21)``.
        song
            ``(batch, n_ticks, 20)``.
        mask
            ``(batch, n_channels)``, 1 for a channel, 0 for padding.

        Returns
        -------
        ``(batch, n_ticks, n_channels, 44)``, not clipped: training needs the slope beyond the range.
        """
        rows = tf.broadcast_to(mask[:, None, :, None], tf.concat([tf.shape(x)[:3], [1]], 0))
        song = song[:, :, None, :]
        h = self.enter(x, role_prob, song, mask=rows, training=training)
        for unit, n_ticks in zip(self.memory, DELAYS_TICKS, strict=True):
            h = h + unit(h, delayed(h, n_ticks), mask=rows, training=training)
        said = self.say(h, rows=rows, training=training)
        if self.judge is None:
            return self._in_order(said, [])
        told = [tf.stop_gradient(tf.clip_by_value(part, -1.0, 1.0)) for part in said[-N_OPINIONS:]]
        does = tf.gather(x, BEHAVIOUR, axis=-1)
        h = self.judge.enter(does, role_prob, *told, song, mask=rows, training=training)
        return self._in_order(said, self.judge.say(h, rows=rows, training=training))

    def step(self) -> Any:
        """Return the function of one tick, its weights folded into constants.

        It takes ``x (C, 104)``, ``role_prob (C, 21)``, ``song (1, 20)``, ``mask (C, 1)``, ``inv_sqrt_n (1, 1)`` =
        1 / sqrt(true count), and for each of ``DELAYS_TICKS`` a tensor ``tap_k (C, width)``: what ``new_k`` was that
        many
        ticks ago, zero in the beginning. It returns ``y (C, 44)`` in [-1, 1] and ``new_k (C, width)``.
        """
        enter, memory, listens = self.enter.folded(), [unit.folded() for unit in self.memory], self.saying()
        if self.judge is not None:
            judge_enter, judges = self.judge.enter.folded().spread(BEHAVIOUR, N_MODEL_INPUT), self.judge.saying()

        def tick(x: Any, role_prob: Any, song: Any, mask: Any, inv_sqrt_n: Any, **taps: Any) -> dict[str, Any]:
            h = enter(x, role_prob, song)
            out = {}
            for k, unit in enumerate(memory):
                out[f"new_{k}"] = h
                h = h + unit(h, taps[f"tap_{k}"])
            said, judged = listens(h, mask, inv_sqrt_n), []
            if self.judge is not None:
                judged = judges(judge_enter(x, role_prob, *said[-N_OPINIONS:], song), mask, inv_sqrt_n)
            out["y"] = self._in_order(said, judged)
            return out

        return tick

    def step_inputs(self) -> dict[str, tuple[int | None, int]]:
        """Names and shapes of what a step takes; None is the number of channels."""
        taps = {f"tap_{k}": (None, self.size.width) for k in range(len(DELAYS_TICKS))}
        return {
            "x": (None, N_MODEL_INPUT),
            "role_prob": (None, N_ROLES),
            "song": (1, N_SONG_INPUT),
            "mask": (None, 1),
            "inv_sqrt_n": (1, 1),
            **taps,
        }

    def delays_ticks(self) -> tuple[int, ...]:
        """Length of the delay line between ``new_k`` and ``tap_k``."""
        return DELAYS_TICKS

    def n_mac(self, n_channels: int) -> int:
        """Multiplications of one step."""
        total = self.n_mac_grown(n_channels) + _n_mac(self.enter, n_channels, one_row=-1)
        total += sum(_n_mac(unit, n_channels) for unit in self.memory)
        if self.judge is not None:
            not_told = n_channels * (N_MODEL_INPUT - len(BEHAVIOUR)) * self.size.judge  # it ships with zeros for those
            total += self.judge.n_mac_grown(n_channels) + _n_mac(self.judge.enter, n_channels, one_row=-1) + not_told
        return total

    def _in_order(self, said: list[Any], judged: list[Any]) -> Any:
        left = {LISTENER: iter(said), JUDGE: iter(judged)}
        return tf.concat([next(left[who]) for who, _, _ in self.who], axis=-1)


def _parts_of(tower: str, parts: Parts) -> list[int]:
    """Return how many columns each of a tower's parts has."""
    return [MIX_HEADS[last].columns.stop - MIX_HEADS[first].first for who, first, last in parts if who == tower]


def _place(tower: str, parts: Parts, column: int) -> int:
    """Return which of a tower's own columns a column of the output is."""
    columns = [range(MIX_HEADS[a].first, MIX_HEADS[b].columns.stop) for who, a, b in parts if who == tower]
    return [c for part in columns for c in part].index(column)


def _n_mac(unit: Unit, n_channels: int, one_row: int | None = None) -> int:
    """Multiplications of a unit; ``one_row`` is the input that all channels share, if any."""
    rows = [n_channels] * len(unit.kernels)
    if one_row is not None:
        rows[one_row] = 1
    return sum(int(np.prod(k.shape)) * r for k, r in zip(unit.kernels, rows, strict=True))
