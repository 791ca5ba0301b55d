"""The delay lines around a network, as the box keeps them: all the state that a network has. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Feed = dict[str, NDArray[np.float32]]
Tick = Callable[[Feed], Feed]


class DelayLines:
    """What ``new_k`` was ``delays[k]`` ticks ago; zeros in the beginning."""

    def __init__(self, delays_ticks: tuple[int, ...], n_rows: int, width: int) -> None:
        self.rings = [np.zeros((d, n_rows, width), np.float32) for d in delays_ticks]
        self.tick = 0

    def taps(self) -> Feed:
        """Return inputs of this tick."""
        return {f"tap_{k}": ring[self.tick % len(ring)] for k, ring in enumerate(self.rings)}

    def push(self, outputs: Feed) -> None:
        """Take this tick's outputs and go on to the next."""
        for k, ring in enumerate(self.rings):
            ring[self.tick % len(ring)] = outputs[f"new_{k}"]
        self.tick += 1


def roll(tick: Tick, delays: DelayLines, inputs: Iterable[Feed]) -> Iterator[tuple[Feed, Feed]]:
    """Run ticks in a row; yields what went in and what came out."""
    for feed in inputs:
        full = {**feed, **{name: tap.copy() for name, tap in delays.taps().items()}}
        out = tick(full)
        delays.push(out)
        yield full, out
