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
        Whether a part does. Asked at most ``max_tries`` times, about each part once.
    """
    left, n_parts = tuple(range(len(items))), 2
    known: dict[tuple[int, ...], bool] = {}
    while len(left) >= 2:
        for candidate in _candidates(left, n_parts):
            if candidate not in known:
                if len(known) >= max_tries:
                    return tuple(items[i] for i in left)
                known[candidate] = fails(tuple(items[i] for i in candidate))
            if known[candidate]:
                n_parts = 2 if len(candidate) <= -(-len(left) // n_parts) else max(n_parts - 1, 2)
                left = candidate
                break
        else:
            if n_parts >= len(left):
                break
            n_parts = min(2 * n_parts, len(left))
    return tuple(items[i] for i in left)


def _candidates(items: tuple[int, ...], n_parts: int) -> list[tuple[int, ...]]:
    """Return each of ``n_parts`` parts of about one size, then all but each; with two that is the same."""
    edges = [len(items) * i // n_parts for i in range(n_parts + 1)]
    spans = list(pairwise(edges))
    parts = [items[a:b] for a, b in spans]
    return parts if n_parts == 2 else parts + [items[:a] + items[b:] for a, b in spans]
