"""The snapshot as one flat row of floats: a slot is the place of one parameter of one channel, group or bus."""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.entries import ParamEntry
from dsp_kernels.contract.generated.contract import PARAMS, SCOPES
from dsp_kernels.contract.layout import PARAMS_DTYPE, SCOPE_DTYPE
from firmware.errors import EvenhandError

ENTRIES: dict[tuple[str, str], ParamEntry] = {(p.scope, p.name): p for p in PARAMS}
COUNT = {s.name: s.count for s in SCOPES}
N_SLOTS = PARAMS_DTYPE.itemsize // 4


class SectionKey(NamedTuple):
    """A section of one strip: what has a mode, a lock and an amount. ``index`` counts from 0."""

    scope: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    section: str


def _field(dtype: np.dtype, name: str) -> tuple[np.dtype, int]:
    assert dtype.fields is not None
    found = dtype.fields[name]
    return found[0], found[1] // 4


_SCOPE_START = {s: _field(PARAMS_DTYPE, s)[1] for s in COUNT}
_SCOPE_STRIDE = {s: SCOPE_DTYPE[s].itemsize // 4 for s in COUNT}
_COLUMN = {(p.scope, p.name): _field(SCOPE_DTYPE[p.scope], p.name)[1] for p in PARAMS}


def section_of(name: str) -> str:
    """Return ``eq`` of ``eq.2.gain_db``."""
    return name.split(".", 1)[0]


SECTION_KEYS: tuple[SectionKey, ...] = tuple(
    dict.fromkeys(
        SectionKey(s.name, index, section_of(p.name))
        for s in SCOPES
        for index in range(s.count)
        for p in PARAMS
        if p.scope == s.name
    )
)
SECTION_ID = {key: n for n, key in enumerate(SECTION_KEYS)}


def slot(scope: str, index: int, name: str) -> int:
    """Return where a parameter lies.

    Raises
    ------
    EvenhandError
        When there is none of that scope, index or name; with near misses.
    """
    column = _COLUMN.get((scope, name))
    if column is None or not 0 <= index < COUNT[scope]:
        raise EvenhandError(_why_unknown(scope, index, name))
    return _SCOPE_START[scope] + index * _SCOPE_STRIDE[scope] + column


def _why_unknown(scope: str, index: int, name: str) -> str:
    if scope not in COUNT:
        return f'no scope "{scope}"; the contract has {", ".join(COUNT)}'
    if (scope, name) not in _COLUMN:
        return f'{scope} has no parameter "{name}"{near_misses(name, [n for s, n in _COLUMN if s == scope])}'
    return f"no {scope} {index + 1}; there are 1 to {COUNT[scope]}"


def near_misses(word: str, known: list[str]) -> str:
    """Return ``; near: a, b`` for an error line, or nothing when no known word is like it."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"; near: {', '.join(close)}" if close else ""


def strided(flat: NDArray[np.float32], scope: str, name: str, count: int) -> NDArray[np.float32]:
    """Return a view, shape ``(count,)``, of one parameter over the first ``count`` of a scope."""
    start, stride = slot(scope, 0, name), _SCOPE_STRIDE[scope]
    return flat[start : start + (count - 1) * stride + 1 : stride]


class SlotInfo(NamedTuple):
    """What a slot is called."""

    scope: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls
    entry: ParamEntry


INFO: list[SlotInfo] = [SlotInfo("", 0, PARAMS[0])] * N_SLOTS
MINIMUM = np.zeros(N_SLOTS, np.float32)
MAXIMUM = np.zeros(N_SLOTS, np.float32)
DEFAULT = np.zeros(N_SLOTS, np.float32)
SECTION = np.zeros(N_SLOTS, np.intp)  # into SECTION_KEYS
IS_DISCRETE = np.zeros(N_SLOTS, bool)
IS_TIMING = np.zeros(N_SLOTS, bool)  # attack, hold, release: no sound of its own, set at once
IS_LOGARITHMIC = np.zeros(N_SLOTS, bool)  # frequencies and times: half way is the geometric mean

for _p in PARAMS:
    for _index in range(COUNT[_p.scope]):
        _slot = slot(_p.scope, _index, _p.name)
        INFO[_slot] = SlotInfo(_p.scope, _index, _p)
        MINIMUM[_slot], MAXIMUM[_slot], DEFAULT[_slot] = _p.minimum, _p.maximum, _p.default
        SECTION[_slot] = SECTION_ID[SectionKey(_p.scope, _index, section_of(_p.name))]
        IS_DISCRETE[_slot] = _p.kind != "number"
        IS_TIMING[_slot] = _p.unit in ("ms", "s") and _p.ramp_ms == 0.0
        IS_LOGARITHMIC[_slot] = _p.kind == "number" and _p.unit in ("Hz", "ms", "s", "BPM") and _p.minimum > 0

SLOTS_OF_SECTION: list[NDArray[np.intp]] = [np.flatnonzero(n == SECTION) for n in range(len(SECTION_KEYS))]
