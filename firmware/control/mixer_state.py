"""What the mixer is set to, and who may move it: values, modes, locks and amounts."""

from __future__ import annotations

import hashlib
import math
from copy import copy
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from dsp_kernels.contract.layout import PARAMS_DTYPE, default_params
from firmware.errors import EvenhandError

from . import slots
from .slots import SectionKey


class Mode(IntEnum):
    """Who moves a section: automation, automation after a tap, the engineer alone."""

    AUTO = 0
    ASSIST = 1
    MANUAL = 2


MAX_PREAMP_GAIN_DB = 100.0  # either way; a board file says no more
_AUTO = int(Mode.AUTO)  # looking an enum up costs more than the rest of a line that runs each tick


class MixerState:
    """One snapshot with its permissions. Every write is clamped by the contract; what is no number is refused.

    Parameters
    ----------
    amount_percent
        How much of what automation wants is done, 0 to 100; may be set per section later.
    """

    def __init__(self, amount_percent: float = 100.0) -> None:
        self.params = default_params()  # () of PARAMS_DTYPE, the same bytes as values
        self.values: NDArray[np.float32] = self.params.reshape(1).view(np.float32)
        self.base = self.values.copy()  # default, scene's or engineer's: what an amount of 0 % leaves
        n_sections = len(slots.SECTION_KEYS)
        self.mode = np.zeros(n_sections, np.int8)
        self.is_locked = np.zeros(n_sections, bool)
        self.amount_percent = np.full(n_sections, _percent(amount_percent), np.float32)
        # What the preamp of each strip amplified when its trim was last what it is; NaN: has none, or none was seen.
        self.preamp_gain_db = np.full(slots.COUNT["channel"], np.nan, np.float32)
        self.n_changes = 0  # grows with each write that changed something

    def copy(self) -> MixerState:
        """Return a state that stays as this one is now."""
        twin = copy(self)
        twin.params = self.snapshot()
        twin.values = twin.params.reshape(1).view(np.float32)
        twin.base, twin.mode = self.base.copy(), self.mode.copy()
        twin.is_locked, twin.amount_percent = self.is_locked.copy(), self.amount_percent.copy()
        twin.preamp_gain_db = self.preamp_gain_db.copy()
        return twin

    # ------------------------------------------------------------------------------------------------- values

    def get(self, scope: str, index: int, name: str) -> float:
        """Return the value of one parameter, ``index`` from 0."""
        return float(self.values[slots.slot(scope, index, name)])

    def column(self, name: str, n_channels: int) -> NDArray[np.float32]:
        """Return a live view, shape ``(n_channels,)``, of one channel parameter."""
        return slots.strided(self.values, "channel", name, n_channels)

    def snapshot(self) -> NDArray[np.void]:
        """Return a copy of ``params``; as plain floats, which is 50 times faster than field by field."""
        return np.ndarray((), PARAMS_DTYPE, buffer=self.values.copy())

    def clamped(self, slot: int, value: float) -> float:
        """Return ``value`` in the contract's range, whole where it must be.

        Raises
        ------
        EvenhandError
            When it is NaN.
        """
        if math.isnan(value):
            info = slots.INFO[slot]
            raise EvenhandError(
                f"{info.scope} {info.index + 1} {info.entry.name} = nan is not a number; kept {self.values[slot]:g}"
            )
        value = min(max(value, float(slots.MINIMUM[slot])), float(slots.MAXIMUM[slot]))
        return float(np.rint(value)) if slots.IS_DISCRETE[slot] else value

    def write(self, slot: int, value: float) -> float:
        """Set one slot; return what it was before."""
        before = float(self.values[slot])
        self.values[slot] = self.clamped(slot, value)
        self.n_changes += self.values[slot] != np.float32(before)
        return before

    def write_checked(self, where: NDArray[np.intp], values: NDArray[np.float32]) -> None:
        """Set slots to values that were clamped before: the way of the arbiter's glides."""
        self.values[where] = values
        self.n_changes += 1

    def set_base(self, slot: int, value: float) -> None:
        """Set a slot and what automation starts from: the engineer's hand, or a scene."""
        self.write(slot, value)
        self.base[slot] = self.values[slot]

    # -------------------------------------------------------------------------------------------- permissions

    def section(self, scope: str, index: int, section: str) -> int:
        """Return the id of a section, to index ``mode``, ``is_locked`` and ``amount_percent``.

        Raises
        ------
        EvenhandError
            When there is no such section; with near misses.
        """
        found = slots.SECTION_ID.get(SectionKey(scope, index, section))
        if found is None:
            if scope not in slots.COUNT:
                raise EvenhandError(f'no scope "{scope}"; the contract has {", ".join(slots.COUNT)}')
            if not 0 <= index < slots.COUNT[scope]:
                raise EvenhandError(f"no {scope} {index + 1}; there are 1 to {slots.COUNT[scope]}")
            known = sorted({k.section for k in slots.SECTION_KEYS if k.scope == scope})
            raise EvenhandError(f'{scope} has no section "{section}"{slots.near_misses(section, known)}')
        return found

    def set_mode(self, scope: str, index: int, section: str, mode: Mode) -> None:
        """Let automation move a section, propose, or keep off."""
        self.mode[self.section(scope, index, section)] = mode

    def set_locked(self, scope: str, index: int, section: str, is_locked: bool) -> None:
        """Lock a section against everybody but the engineer, safety included."""
        self.is_locked[self.section(scope, index, section)] = is_locked

    def set_amount(self, scope: str, index: int, section: str, amount_percent: float) -> None:
        """Scale what automation does in a section, between its base (0 %) and its wish (100 %)."""
        self.amount_percent[self.section(scope, index, section)] = _percent(amount_percent)

    def may_move(self, slot: int) -> bool:
        """Whether automation may write the slot without asking."""
        section = slots.SECTION[slot]
        return self.mode[section] == _AUTO and not self.is_locked[section]

    def blended(self, slot: int, wish: float) -> float:
        """Return where automation may take the slot: the wish, scaled by the section's amount around the base.

        A switch or choice follows from 50 % on.
        """
        amount = float(self.amount_percent[slots.SECTION[slot]]) / 100.0
        if amount >= 1.0:
            return wish
        base = float(self.base[slot])
        if slots.IS_DISCRETE[slot]:
            return wish if amount >= 0.5 else base
        if amount <= 0.0:
            return base
        if slots.IS_LOGARITHMIC[slot]:
            return base * (wish / base) ** amount
        return base + amount * (wish - base)

    def state_hash(self) -> str:
        """Return 16 hexadecimal digits that are equal where values and permissions are."""
        digest = hashlib.blake2b(digest_size=8)
        for part in (self.values + np.float32(0.0), self.mode, self.is_locked, self.amount_percent):  # no minus zero
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def _percent(value: float) -> float:
    if math.isnan(value) or not 0.0 <= value <= 100.0:
        raise EvenhandError(f"amount_percent = {value:g} is outside 0 to 100")
    return value
