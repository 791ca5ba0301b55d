"""All that control has in mind, attribute by attribute: how it is written down, and how it is put back.

A walk over control's own objects finds every attribute, so that nobody can forget one. What is found is kept, unless a
table below says where else it lives. Restored is only what has the very form it has in a fresh control.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import astuple
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.generated.contract import ROLES
from firmware.observation import Loudness

from . import slots
from .envelope import refused
from .records import is_count, is_number
from .responses import BARK_HZ
from .rules.refine import OF_A_PASS
from .rules.ride import METER_TICKS

# Class and attribute. Another value of these makes another session, whose memories are of no use here.
SETTINGS = frozenset({
    "Control.channels", "Control.sample_rate_hz", "Ride.target_lufs", "AutomixGroups._asked_mode",
})  # fmt: skip
# Where what is not kept comes from.
_KEPT_APART = "in the state, or beside the memory"
_FROM_SETTINGS = "worked out from the settings"
_FROM_STATE = "worked out from the state"
ELSEWHERE = {
    **dict.fromkeys(
        ("MixerState.params", "MixerState.values", "MixerState.base", "MixerState.mode", "MixerState.is_locked",
         "MixerState.amount_percent", "MixerState.preamp_gain_db",
         "MixerState.n_changes", "DecisionLog.n_decisions", "DecisionLog._kept"),
        _KEPT_APART,
    ),
    "DecisionLog.sink": "where lines are written is the successor's own business",
    "Control._time_s": _KEPT_APART,
    "Control._published": "forgotten, so that the next snapshot is a full one",
    "Control._due": _FROM_SETTINGS,
    "Control._mix_gain": _FROM_STATE,
    **dict.fromkeys(
        ("Arbiter.asked", "Arbiter.wanted", "Arbiter.causes", "Arbiter.n_refused",
         "Arbiter._n_pending", "Arbiter._pending", "Arbiter._moves", "Arbiter._owner", "Arbiter._owner_until_s",
         "Arbiter.heading", "Arbiter.rate_per_s", "Arbiter._gliding", "Arbiter._checked_s", "View.time_s"),
        _KEPT_APART,
    ),
    "Arbiter.name_of": _FROM_SETTINGS,
    "Arbiter.why": _FROM_SETTINGS,
    "Learned.n_channels": _FROM_SETTINGS,
    "Learned.tick_s": _FROM_SETTINGS,
    "Learned.style": _FROM_SETTINGS,
    "Learned.is_named": _FROM_SETTINGS,
    "Learned.effect": "a model is asked again",
    "Learned.explained_tick": "a model is asked again",
    "ChannelRoles.told": _FROM_SETTINGS,
    "View.is_role_given": _FROM_SETTINGS,
    "Arbiter._gliding_slots": _FROM_STATE,
    "View.names": _FROM_SETTINGS,
    "View.is_stereo": _FROM_SETTINGS,
    "View.n_channels": _FROM_SETTINGS,
    "View.tick_s": _FROM_SETTINGS,
    "View._values": "views into the state",
    "View._asked": "views into the arbiter",
    "Listening.n_channels": _FROM_SETTINGS,
    "Listening.tick_s": _FROM_SETTINGS,
    "Turns._tick_s": _FROM_SETTINGS,
    "Classifier._is_stereo": _FROM_SETTINGS,
    "Unmask._mix_gain": _FROM_STATE,
    "Refinement._mix_gain": _FROM_STATE,
    **{f"Refinement.{attribute}": _KEPT_APART for attribute in OF_A_PASS},
    "Refinement._sections": _FROM_SETTINGS,
    "Refinement.limit_lu": _FROM_SETTINGS,
    "Ride._slot": _FROM_SETTINGS,
}  # fmt: skip
# Numbers that may be none, or infinite, before the first look.
MAY_BE_NO_NUMBER = frozenset({"Turns.noise_dbfs", "Turns.even_noise_dbfs", "Ride._meter_lufs", "Ride._asked_db"})


def _within(lowest: int, n_values: int) -> Callable[[Any, int], bool]:
    return lambda found, _n: not found.size or (found.min() >= lowest and found.max() < lowest + n_values)


def _is_role(found: Any) -> bool:
    return type(found) is tuple and len(found) == 2 and found[0] in ROLES and is_number(found[1])


# What the form alone cannot judge: whole numbers that index, lists of any length, what may be None.
CHECKS: dict[str, Callable[[Any, int], bool]] = {
    "ChannelRoles._given": lambda found, n: len(found) == n and all(f is None or _is_role(f) for f in found),
    "Classifier.roles": lambda found, n: len(found) == n and all(_is_role(f) for f in found),
    "Learned.roles": lambda found, n: len(found) == n and all(_is_role(f) for f in found),
    "Control._generation": lambda _found, _n: True,
    "View.roles": lambda found, n: len(found) == n and all(f in ROLES for f in found),
    "View._role_index": _within(0, len(ROLES)),
    "Unmask._victim": lambda found, n: _within(0, n)(found, n),
    "Unmask._band": _within(-1, len(BARK_HZ) + 1),
    "Refinement._known": lambda found, _n: all(type(f) is bytes for f in found),
    "Refinement._words": lambda found, _n: all(is_count(f) or f == -1 or type(f) is str for f in found),
    "Refinement.masker": lambda found, n: _within(0, n)(found, n),
    "Pan._register": _within(0, 4),
    "Pan._known": lambda found, n: found is None or (
        len(found) == 2 and is_count(found[0]) and len(found[1]) == n and all(is_count(f) for f in found[1])
    ),
    "Ride._gain_power": lambda found, n: len(found) <= METER_TICKS and all(is_number(f) and f > 0.0 for f in found),
    "Ride._gain_power_sum": lambda found, _n: found >= 0.0,
    "Ride._gains": lambda found, n: len(found) in (0, 2) and all(type(f) is bytes and len(f) == 4 * n for f in found),
    "Ride._sections": _within(0, len(slots.SECTION_KEYS)),
}  # fmt: skip


class Leaf(NamedTuple):
    """One attribute of one object."""

    path: str  # from the root, unique
    name: str  # class and attribute, for the tables
    owner: Any
    attribute: str

    @property
    def value(self) -> Any:
        """What it holds now."""
        return getattr(self.owner, self.attribute)


def _is_ours(value: Any) -> bool:
    return type(value).__module__.startswith("firmware.control") and not isinstance(value, tuple)


def leaves_of(root: Any) -> list[Leaf]:
    """Return every attribute of control's objects that is no object of control itself, always in the same order."""
    return list(_walk(type(root).__name__, root, set()))


def _walk(path: str, owner: Any, seen: set[int]) -> Iterator[Leaf]:
    seen.add(id(owner))
    for attribute, value in sorted(vars(owner).items()):
        leaf = Leaf(f"{path}.{attribute}", f"{type(owner).__name__}.{attribute}", owner, attribute)
        parts = value if isinstance(value, tuple) and value and all(_is_ours(item) for item in value) else (value,)
        if leaf.name in ELSEWHERE or leaf.name in SETTINGS or not _is_ours(parts[0]):
            yield leaf
            continue
        for part in parts:
            if id(part) not in seen:
                yield from _walk(leaf.path if part is value else f"{leaf.path}.{type(part).__name__}", part, seen)


def settings_of(root: Any) -> str:
    """Return what must be the same for a memory to be of use."""
    return repr([(leaf.path, leaf.value) for leaf in leaves_of(root) if leaf.name in SETTINGS])


def memories_of(root: Any) -> list[Leaf]:
    """Return the attributes that are kept."""
    return [leaf for leaf in leaves_of(root) if leaf.name not in ELSEWHERE and leaf.name not in SETTINGS]


# ---------------------------------------------------------------------------------------------------------- write

_PLAIN = (bool, int, float, str, type(None))
_LISTS: dict[str, type] = {"list": list, "tuple": tuple, "deque": deque}


def written(leaf: Leaf, rows: list[bytes]) -> Any:
    """Return a leaf as JSON can hold it; what is an array goes to ``rows``.

    Raises
    ------
    TypeError
        For a type that nobody has said how to keep: extend this file, or say in ``ELSEWHERE`` where it lives.
    """
    value = leaf.value
    needs_check = isinstance(value, tuple(_LISTS.values())) or _is_indices(value) or value is None
    if needs_check and leaf.name not in CHECKS:
        raise TypeError(f"{leaf.name}: say in CHECKS of {__name__} what a {type(value).__name__} like it may hold")
    return _node(value, rows, leaf.name)


def _is_indices(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "iu"


def _node(value: Any, rows: list[bytes], name: str) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        rows.append(value.tobytes())
        return {"array": [value.dtype.str, list(value.shape)]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind in _LISTS.values():
        return {kind.__name__: [_node(item, rows, name) for item in value]}
    if kind is dict and all(type(key) is str for key in value):
        return {"dict": {key: _node(item, rows, name) for key, item in value.items()}}
    if kind is Loudness:
        return {"loudness": list(astuple(value))}
    raise TypeError(f"{name}: nobody has said how {__name__} keeps a {kind.__name__}")


# ----------------------------------------------------------------------------------------------------------- read


class Rows:
    """The numbers of a keepsake, taken one row after the other."""

    def __init__(self, numbers: memoryview) -> None:
        self._left = numbers

    def take(self, dtype: np.dtype, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the next row, a copy."""
        n_bytes = dtype.itemsize * math.prod(shape)
        if n_bytes > len(self._left):
            raise ValueError("numbers are missing")
        row = np.frombuffer(self._left[:n_bytes], dtype).reshape(shape).copy()
        self._left = self._left[n_bytes:]
        return row

    def end(self) -> None:
        """Refuse what nobody asked for."""
        if len(self._left):
            raise ValueError("numbers are left over")


def read(leaf: Leaf, node: Any, rows: Rows, n_channels: int) -> Any:
    """Return what a leaf held.

    Raises
    ------
    KeepsakeError
        When it is not of the leaf's form.
    """
    try:
        value = _value(node, leaf.value, rows, leaf)
        if leaf.name in CHECKS and not CHECKS[leaf.name](value, n_channels):
            raise ValueError("out of bounds")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise refused(f"{leaf.path} is none ({error})") from None
    return value


def _value(node: Any, now: Any, rows: Rows, leaf: Leaf) -> Any:
    """Return the value of a node that must look like what the leaf holds now."""
    if not isinstance(node, dict):
        return _plain(node, now, leaf)
    ((kind, held),) = node.items()
    if kind == "array":
        return _array(held, now, rows, leaf)
    if kind == "bytes":
        return bytes.fromhex(held)
    if kind == "loudness" and isinstance(now, Loudness) and all(is_number(number) for number in held):
        return Loudness(**dict(zip(vars(now), held, strict=True)))
    if kind == "dict" and isinstance(now, dict) and held.keys() == now.keys():
        return {key: _value(held[key], now[key], rows, leaf) for key in held}
    if kind in _LISTS and leaf.name in CHECKS and isinstance(held, list):  # the check judges the items
        return _LISTS[kind](_value(item, None, rows, leaf) for item in held)
    raise ValueError(f"another form: {kind}")


def _plain(node: Any, now: Any, leaf: Leaf) -> Any:
    is_judged_by_check = leaf.name in CHECKS and not isinstance(now, int | float)
    if is_judged_by_check and isinstance(node, _PLAIN):
        return node
    if type(node) is not type(now) and not (isinstance(node, float) and isinstance(now, np.floating)):
        raise TypeError(f"{type(node).__name__}, not {type(now).__name__}")
    if isinstance(node, float) and not math.isfinite(node) and leaf.name not in MAY_BE_NO_NUMBER:
        raise ValueError("not a number")
    if type(node) is int and not (node == -1 or is_count(node)):
        raise ValueError("not a count")
    return node


def _array(held: Any, now: Any, rows: Rows, leaf: Leaf) -> Any:
    dtype_name, shape = held
    if not isinstance(now, np.ndarray | np.generic | float | int):
        raise TypeError("an array where there is none")
    now = np.asarray(now)
    if dtype_name != now.dtype.str or shape != list(now.shape):
        raise ValueError(f"{str(dtype_name)[:8]} {str(shape)[:40]}, not {now.dtype.str} {list(now.shape)}")
    row = rows.take(now.dtype, now.shape)
    if row.dtype == np.bool_ and (row.view(np.uint8) > 1).any():
        raise ValueError("neither true nor false")
    if row.dtype.kind == "f" and leaf.name not in MAY_BE_NO_NUMBER and not np.isfinite(row).all():
        raise ValueError("not a number")
    return row if row.shape else row[()]
