"""Makes a list that fails short: delta debugging, ddmin of Zeller and Hildebrandt, IEEE TSE 28(2), 2002."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


def shrink(items: Sequence[T], fails: Callable[[tuple[T, ...]], bool], *, max_tries: int = 200) -> tuple[T, ...]:
    """Return a short part of ``items``, in order, that still fails.

    After few enough tries none of what is left can be taken away alone.

    Parameters
    ----------
    items
        Fails as it is; not tried again.
    fails
        Whether a part does. Asked at most ``max_tries`` times.
    """
    left, n_parts, n_tries = tuple(items), 2, 0
    while len(left) >= 2:
        for candidate in _candidates(left, n_parts):
            if n_tries >= max_tries:
                return left
            n_tries += 1
            if fails(candidate):
                n_parts = 2 if len(candidate) <= -(-len(left) // n_parts) else max(n_parts - 1, 2)
                left = candidate
                break
        else:
            if n_parts >= len(left):
                return left
            n_parts = min(2 * n_parts, len(left))
    return left


def _candidates(items: tuple[T, ...], n_parts: int) -> list[tuple[T, ...]]:
    """Return each of ``n_parts`` parts of about one size, then all but each; with two that is the same."""
    edges = [len(items) * i // n_parts for i in range(n_parts + 1)]
    spans = list(pairwise(edges))
    parts = [items[a:b] for a, b in spans]
    return parts if n_parts == 2 else parts + [items[:a] + items[b:] for a, b in spans]
