"""The preamps of a virtual card: a file for the ALSA plug-in ``evenhand``, and the hand that turns their knobs."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from board_configs.board import PreampSpec
from firmware.errors import EvenhandError

# The file, as ctl_evenhand.c reads it: magic, number of controls, how often the plug moved; then a record a control.
HEADER = struct.Struct("<8sii")
RECORD = struct.Struct("<44s7i")
MAGIC = b"EVENCTL1"
PLUGS_OFFSET = 12
VALUE_OFFSET = RECORD.size - 4
SWITCH, VOLUME = 0, 1
MAX_CONTROLS = 256


@dataclass(frozen=True, kw_only=True)
class VirtualControl:
    """An element of the virtual card. A volume has a step a dB, a switch two values."""

    name: str  # of the simple element, as "Mic 1 Gain"
    min_db: int | None = None  # None: a switch
    max_db: int | None = None
    value: int = 0  # in steps from the lowest
    is_locked: bool = False  # the card refuses to change it, as some do while they record


def controls_of(preamps: Iterable[PreampSpec]) -> tuple[VirtualControl, ...]:
    """Return the controls that a board's preamps ask for, each once."""
    controls: dict[str, VirtualControl] = {}
    for spec in preamps:
        if spec.gain_control is not None and spec.min_gain_db is not None and spec.max_gain_db is not None:
            controls[spec.gain_control] = VirtualControl(
                name=spec.gain_control, min_db=int(spec.min_gain_db), max_db=int(spec.max_gain_db)
            )
        for name in (spec.pad_control, spec.phantom_control):
            if name is not None:
                controls[name] = VirtualControl(name=name)
    return tuple(controls.values())


class VirtualControls:
    """The front panel of a virtual card, at ``path``. A context manager: the file goes with it."""

    def __init__(self, path: Path, controls: Iterable[VirtualControl]) -> None:
        self.path = path
        self._controls = {c.name: (index, c) for index, c in enumerate(controls)}
        if not 1 <= len(self._controls) <= MAX_CONTROLS:
            raise EvenhandError(f"{path}: {len(self._controls)} controls; a virtual card has 1 to {MAX_CONTROLS}")
        self._amplified: dict[str, int] = {}  # values that ``gains_db`` told
        self._n_plugs = 1  # odd: it is in
        records = [_record(c) for _index, c in self._controls.values()]
        path.write_bytes(HEADER.pack(MAGIC, len(records), self._n_plugs) + b"".join(records))
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        self.path.unlink(missing_ok=True)

    @property
    def ctl(self) -> str:
        """The ALSA name of the control where ``ctl.evenhand`` takes a file."""
        return f"evenhand:{self.path}"

    def get(self, name: str) -> int:
        """Return a control's value, in steps from the lowest."""
        return int.from_bytes(os.pread(self._fd, 4, self._offset(name)), "little", signed=True)

    def turn(self, name: str, value: int) -> None:
        """Turn a control as a hand at the card would."""
        _index, control = self._controls[name]
        if not 0 <= value <= _n_steps(control):
            raise ValueError(f"{name} = {value}; it has 0 to {_n_steps(control)}")
        os.pwrite(self._fd, value.to_bytes(4, "little", signed=True), self._offset(name))

    def gains_db(self, preamps: Iterable[PreampSpec]) -> Iterator[tuple[PreampSpec, float]]:
        """Yield those of ``preamps`` whose gain is not what it was when this was asked last; all of them at first."""
        values = os.pread(self._fd, HEADER.size + len(self._controls) * RECORD.size, 0)
        for spec in preamps:
            if spec.gain_control is None:
                continue
            offset = self._offset(spec.gain_control)
            value = int.from_bytes(values[offset : offset + 4], "little", signed=True)
            if self._amplified.get(spec.gain_control) != value:
                self._amplified[spec.gain_control] = value
                yield spec, (self._controls[spec.gain_control][1].min_db or 0) + value

    def plug(self, *, is_in: bool) -> None:
        """Pull the plug or put it back; handles that were open stay dead, as with a real card."""
        if is_in != bool(self._n_plugs % 2):
            self._n_plugs += 1
            os.pwrite(self._fd, self._n_plugs.to_bytes(4, "little"), PLUGS_OFFSET)

    def _offset(self, name: str) -> int:
        return HEADER.size + self._controls[name][0] * RECORD.size + VALUE_OFFSET


def _n_steps(control: VirtualControl) -> int:
    return 1 if control.min_db is None or control.max_db is None else control.max_db - control.min_db


def _record(control: VirtualControl) -> bytes:
    n_steps = _n_steps(control)
    is_switch = control.min_db is None or control.max_db is None
    # alsa-lib makes the simple element of what is left when it has taken these words away.
    name = f"{control.name} Capture {'Switch' if is_switch else 'Volume'}".encode()
    if len(name) >= 44:
        raise EvenhandError(f'control "{control.name}" has a name that is too long for ALSA')
    low_db, high_db = control.min_db or 0, control.max_db or 0
    return RECORD.pack(
        name, SWITCH if is_switch else VOLUME, 0, n_steps, 100 * low_db, 100 * high_db, control.is_locked, control.value
    )
