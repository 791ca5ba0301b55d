"""Network C, the song: beat, downbeat, section, genre, scene and key from what the sum of the channels does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .layers import Unit, delayed
from .layout import N_MIX_INPUT, N_OUTPUT, N_ROLES

DELAYS_TICKS = (1, 2, 4, 8, 16, 32, 64)  # together a memory of 128 ticks, 2.56 s; longer spans the inputs compare
N_WARM_TICKS = sum(DELAYS_TICKS)


@dataclass(frozen=True, kw_only=True)
class SongSize:
    """Widths of the song network. ``is_causal`` false lets it look ahead as far as it looks back (teacher only)."""

    width: int = 48
    hidden: int = 72
    head: int = 64
    is_causal: bool = True


class SongNet(tf.Module):
    """See the module. A call takes sequences; ``step`` is what ships."""

    def __init__(self, size: SongSize, rng: np.random.Generator) -> None:
        super().__init__("song")
        self.size = size
        w = size.width
        taps = (w, w) if size.is_causal else (w, w, w)
        self.enter = Unit(rng, (N_MIX_INPUT, N_ROLES), w, n_joined=2)
        self.memory = [Unit(rng, taps, w, n_joined=len(taps)) for _ in DELAYS_TICKS]
        self.widen = Unit(rng, (w,), size.hidden)
        self.narrow = Unit(rng, (size.hidden,), w, is_bounded=False)
        self.pre_head = Unit(rng, (w,), size.head)
        self.head = Unit(rng, (size.head,), N_OUTPUT["song"], is_bounded=False)

    def units(self) -> list[Unit]:
        """All units, in the order of the signal."""
        return [self.enter, *self.memory, self.widen, self.narrow, self.pre_head, self.head]

    def __call__(self, m: Any, role_sum: Any, training: bool = False) -> Any:
        """``m (batch, n_ticks, 56)`` and ``role_sum (batch, n_ticks, 21)`` to ``(batch, n_ticks, 44)`` logits."""
        h = self.enter(m, role_sum, training=training)
        for unit, n_ticks in zip(self.memory, DELAYS_TICKS, strict=True):
            taps = [delayed(h, n_ticks)]
            if not self.size.is_causal:
                taps.append(_advanced(h, n_ticks))
            h = h + unit(h, *taps, training=training)
        h = h + self.narrow(self.widen(h, training=training))
        return self.head(self.pre_head(h, training=training))

    def step(self) -> Any:
        """Return the function of one tick, its weights folded into constants.

        It takes ``m (1, 56)``, ``role_sum (1, 21)`` and ``tap_k (1, width)``, and returns ``z (1, 44)`` and ``new_k``.
        """
        if not self.size.is_causal:
            raise ValueError("a network that looks ahead has no step")
        enter, *memory, widen, narrow, pre_head, head = [unit.folded() for unit in self.units()]

        def tick(m: Any, role_sum: Any, **taps: Any) -> dict[str, Any]:
            h = enter(m, role_sum)
            out = {}
            for k, unit in enumerate(memory):
                out[f"new_{k}"] = h
                h = h + unit(h, taps[f"tap_{k}"])
            h = h + narrow(widen(h))
            out["z"] = head(pre_head(h))
            return out

        return tick

    def step_inputs(self) -> dict[str, tuple[int | None, int]]:
        """Names and shapes of what a step takes."""
        taps = {f"tap_{k}": (1, self.size.width) for k in range(len(DELAYS_TICKS))}
        return {"m": (1, N_MIX_INPUT), "role_sum": (1, N_ROLES), **taps}

    def delays_ticks(self) -> tuple[int, ...]:
        """Length of the delay line between ``new_k`` and ``tap_k``."""
        return DELAYS_TICKS

    def n_mac(self, n_channels: int = 1) -> int:
        """Multiplications of one step; the number of channels does not matter."""
        return sum(unit.folded().n_mac for unit in self.units())


def _advanced(x: Any, n_ticks: int) -> Any:
    return tf.pad(x, [[0, 0], [0, n_ticks], [0, 0]])[:, n_ticks:]
