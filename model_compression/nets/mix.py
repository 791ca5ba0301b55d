"""Network B, the mix: what every channel wants to be, given all the others. Order-free, causal, any number of channels.

Each channel runs through the same weights; they hear of each other only through sums gated by a sigmoid, divided by the
true count. The count enters as its square root on both sides of the sum: in int8 that keeps few channels as exact as
many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .layers import Unit, delayed
from .layout import LN_SIGMA_START, MIX_HEADS, N_MODEL_INPUT, N_OUTPUT, N_ROLES, N_SONG_INPUT

DELAYS_TICKS = (1, 2, 4, 8)  # together a memory of 16 ticks, 0.32 s; what is slower the inputs average exactly
N_WARM_TICKS = sum(DELAYS_TICKS)
# First and last of the heads that share a product, by the size of their weights; XNNPACK joins at most five.
PARTS = (
    ("offset_lu", "compressor_threshold_db"),
    ("compressor_log2_ratio", "send_db"),
    ("ln_sigma", "bleed"),
    ("role", "role"),
)


@dataclass(frozen=True, kw_only=True)
class MixSize:
    """Widths of the mix network."""

    width: int = 64
    hidden: int = 112
    blocks: int = 2
    head: int = 96


class MixNet(tf.Module):
    """See the module. A call takes sequences; ``step`` is what ships."""

    def __init__(self, size: MixSize, rng: np.random.Generator) -> None:
        super().__init__("mix")
        self.size = size
        w = size.width
        self.enter = Unit(rng, (N_MODEL_INPUT, N_ROLES, N_SONG_INPUT), w, n_joined=2)
        self.memory = [Unit(rng, (w, w), w, n_joined=2) for _ in DELAYS_TICKS]
        self.gates = [Unit(rng, (w,), w, is_bounded=False) for b in range(size.blocks)]
        self.values = [Unit(rng, (w,), w) for b in range(size.blocks)]
        self.joins = [Unit(rng, (w, w), size.hidden) for b in range(size.blocks)]
        self.leaves = [Unit(rng, (size.hidden,), w, is_bounded=False) for b in range(size.blocks)]
        self.pre_head = Unit(rng, (w,), size.head)
        self.head = Unit(rng, (size.head,), N_OUTPUT["mix"], is_bounded=False)
        self.head.set_bias(MIX_HEADS["ln_sigma"].columns, LN_SIGMA_START)

    def units(self) -> list[Unit]:
        """All units, in the order of the signal."""
        blocks = zip(self.gates, self.values, self.joins, self.leaves, strict=True)
        return [self.enter, *self.memory, *(u for block in blocks for u in block), self.pre_head, self.head]

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
        rows = mask[:, None, :, None]
        norm = tf.broadcast_to(rows, tf.concat([tf.shape(x)[:3], [1]], 0))
        root = tf.math.rsqrt(tf.maximum(tf.reduce_sum(mask, axis=1), 1.0))[:, None, None, None]
        h = self.enter(x, role_prob, song[:, :, None, :], mask=norm, training=training)
        for unit, n_ticks in zip(self.memory, DELAYS_TICKS, strict=True):
            h = h + unit(h, delayed(h, n_ticks), mask=norm, training=training)
        for gate, value, join, leave in zip(self.gates, self.values, self.joins, self.leaves, strict=True):
            v = tf.sigmoid(gate(h)) * value(h, mask=norm, training=training) * (rows * root)
            pooled = tf.reduce_sum(v, axis=2, keepdims=True) * root
            h = h + leave(join(h, pooled, mask=norm, training=training))
        return self.head(self.pre_head(h, mask=norm, training=training))

    def step(self) -> Any:
        """Return the function of one tick, its weights folded into constants.

        It takes ``x (C, 104)``, ``role_prob (C, 21)``, ``song (1, 20)``, ``mask (C, 1)``, ``inv_sqrt_n (1, 1)`` =
        1 / sqrt(true count), and for each of ``DELAYS_TICKS`` a tensor ``tap_k (C, width)``: what ``new_k`` was that
        many
        ticks ago, zero in the beginning. It returns ``y (C, 44)`` in [-1, 1] and ``new_k (C, width)``.
        """
        enter, *rest = [unit.folded() for unit in self.units()]
        n_memory, n_blocks = len(self.memory), self.size.blocks
        memory, blocks, (pre_head, head) = rest[:n_memory], rest[n_memory:-2], rest[-2:]
        pre_head = pre_head.after(blocks[-1])
        heads = [
            head.part(slice(MIX_HEADS[first].columns.start, MIX_HEADS[last].columns.stop)) for first, last in PARTS
        ]

        def tick(x: Any, role_prob: Any, song: Any, mask: Any, inv_sqrt_n: Any, **taps: Any) -> dict[str, Any]:
            share = mask * inv_sqrt_n
            h = enter(x, role_prob, song)
            out = {}
            for k, unit in enumerate(memory):
                out[f"new_{k}"] = h
                h = h + unit(h, taps[f"tap_{k}"])
            for b in range(n_blocks):
                gate, value, join, leave = blocks[4 * b : 4 * b + 4]
                v = tf.sigmoid(gate(h)) * value(h)
                # A SUM rounds by the number of rows on both runtimes; this product adds up in 32 bits.
                pooled = tf.matmul(share, v, transpose_a=True) * inv_sqrt_n
                joined = join(h, pooled)
                h = h + leave(joined) if b < n_blocks - 1 else h
            last = pre_head(h, joined)
            out["y"] = tf.concat([tf.clip_by_value(part(last), -1.0, 1.0) for part in heads], axis=1)
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
        w = self.size.width
        total = n_channels
        for unit in self.units():
            folded = unit.folded()
            rows = [n_channels] * len(folded.kernels)
            if unit is self.enter:
                rows[2] = 1
            if unit in self.joins:
                rows[1] = 1
            total += sum(k.size * r for k, r in zip(folded.kernels, rows, strict=True))
        total += n_channels * self.size.hidden * (self.size.head - w)  # the last leave ships inside of what follows
        return total + self.size.blocks * (2 * n_channels * w + w)
