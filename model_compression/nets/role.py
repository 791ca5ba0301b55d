"""Network A, the role: what one channel is, from 1.28 s of its inputs. The box asks it channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from .layers import DEPTHWISE, Conv, Unit
from .layout import MEL_NOW, MEL_SLOW, N_OUTPUT, N_PATCH_COLUMNS, N_PATCH_TICKS

N_STRIDE_TICKS = 4  # of the branch that reads what is not a picture


@dataclass(frozen=True, kw_only=True)
class RoleSize:
    """Widths: ``picture`` of the convolutions over time and mel, ``track`` of those over time, ``hidden`` at last.

    Attributes
    ----------
    track
        Empty for a network that hears the spectrum of each tick and nothing else: the slow spectrum, centroid, crest
        and the like tell the instruments of a data set apart, and mislead about others.
    is_dense
        Full convolutions in place of depthwise ones.
    """

    picture: tuple[int, ...] = (24, 48, 64, 96)
    track: tuple[int, ...] = (32, 48)
    hidden: int = 96
    is_dense: bool = False


class RoleNet(tf.Module):
    """See the module. A call takes batches of patches; ``step`` is what ships."""

    def __init__(self, size: RoleSize, rng: np.random.Generator) -> None:
        super().__init__("role")
        self.size = size
        first, *others = size.picture
        self.picture = [Conv(rng, 1, first, (3, 3), (2, 2))]
        n_in = first
        for k, width in enumerate(others, 1):
            if size.is_dense:
                self.picture.append(Conv(rng, n_in, width, (3, 3), (2, 2)))
            else:
                self.picture.append(Conv(rng, n_in, DEPTHWISE, (3, 3), (2, 2)))
                self.picture.append(Conv(rng, n_in, width, (1, 1)))
                if k < len(others):
                    self.picture.append(Conv(rng, width, DEPTHWISE, (3, 3)))
                    self.picture.append(Conv(rng, width, width, (1, 1)))
            n_in = width
        n_others = N_PATCH_COLUMNS - MEL_SLOW.start
        n_bands = -(-MEL_NOW.stop // 2 ** len(size.picture))
        stride = (N_STRIDE_TICKS, 1)
        self.track = [
            Conv(rng, n, width, stride, stride)
            for k, (n, width) in enumerate(zip((n_others, *size.track), size.track, strict=False))
        ]
        ends: tuple[int, ...] = (n_bands * n_in,)
        if size.track:
            ends += (N_PATCH_TICKS // N_STRIDE_TICKS ** len(size.track) * size.track[-1], n_others)
        self.join = Unit(rng, ends, size.hidden)
        self.head = Unit(rng, (size.hidden,), N_OUTPUT["role"], is_bounded=False)

    def __call__(self, patch: Any, training: bool = False) -> Any:
        """``(batch, 64, 72)`` to ``(batch, 22)``: logits of the 21 roles and of voice activity in the last tick."""
        picture = [lambda x, c=c: c(x, training=training) for c in self.picture]
        track = [lambda x, c=c: c(x, training=training) for c in self.track]
        return self.head(self.join(*_views(patch, picture, track), training=training))

    def step(self) -> Any:
        """Return the function of one ``patch (1, 64, 72)``, weights folded into constants; it gives ``role_logits``."""
        picture, track = [c.folded() for c in self.picture], [c.folded() for c in self.track]
        join, head = self.join.folded(), self.head.folded()

        def one(patch: Any) -> dict[str, Any]:
            return {"role_logits": head(join(*_views(patch, picture, track)))}

        return one

    def step_inputs(self) -> dict[str, tuple[int | None, ...]]:
        """Names and shapes of what a step takes."""
        return {"patch": (1, N_PATCH_TICKS, N_PATCH_COLUMNS)}

    def delays_ticks(self) -> tuple[int, ...]:
        """No state."""
        return ()

    def n_mac(self, n_channels: int = 1) -> int:
        """Multiplications of one patch."""
        total, shape = 0, (N_PATCH_TICKS, MEL_NOW.stop)
        for conv in self.picture:
            shape = (-(-shape[0] // conv.strides[0]), -(-shape[1] // conv.strides[1]))
            total += shape[0] * shape[1] * int(np.prod(conv.kernel.shape))
        n_ticks = N_PATCH_TICKS
        for conv in self.track:
            n_ticks //= N_STRIDE_TICKS
            total += n_ticks * int(np.prod(conv.kernel.shape))
        return total + self.join.folded().n_mac + self.head.folded().n_mac


def _views(patch: Any, picture: list[Any], track: list[Any]) -> tuple[Any, ...]:
    """Return what the end hears: the picture averaged over time; with a track the others over time, and the newest."""
    n = patch.shape[0] or tf.shape(patch)[0]
    image = patch[:, :, MEL_NOW, None]
    for conv in picture:
        image = conv(image)
    pooled = tf.reduce_mean(image, axis=1)
    seen = tf.reshape(pooled, (n, pooled.shape[1] * pooled.shape[2]))
    if not track:
        return (seen,)
    others = patch[:, :, MEL_SLOW.start :]
    for_time = others[:, :, None, :]
    for conv in track:
        for_time = conv(for_time)
    return seen, tf.reshape(for_time, (n, for_time.shape[1] * for_time.shape[3])), others[:, -1]
