"""Which physical models are played as instruments, and how far their knobs may turn: ``modelled_instruments.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Knob:
    """A control of the toolkit, 0 to 128, and where it may stand."""

    name: str
    control: int
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Modelled:
    """A model as an instrument.

    Attributes
    ----------
    model
        Class of the toolkit, or ``Course``.
    kind
        What the composer writes for.
    range
        Lowest and highest MIDI pitch at which it is in tune.
    amplitude
        What the softest and the loudest note ask of the model.
    harder_per_octave, reference_pitch
        High notes of brass want more: how many times two for each octave over a MIDI pitch of the model's own.
    size
        Fewest and most semitones that it is built lower than the toolkit has it.
    tail_s
        How long it sounds after a note has ended.
    has_slurs
        Whether notes that touch are played in one breath or stroke.
    is_tuned
        Whether it is tuned by ear; bars sound where they are asked to.
    is_set_late
        Whether a note undoes what its controls said.
    settles_s
        When a note has come to its pitch.
    n_players
        Fewest and most that play the same.
    vibrato
        Control of its depth, which is nought while it is tuned.
    body
        Of a ``Course``: lowest and highest resonance in Hz, and its share beside the pick; empty where there is none.
    """

    name: str
    model: str
    kind: str
    range: tuple[int, int]
    knobs: tuple[Knob, ...] = ()
    amplitude: tuple[float, float] = (0.3, 1.0)
    harder_per_octave: float = 0.0
    reference_pitch: float = 70.0
    size: tuple[float, float] = (0.0, 0.0)
    tail_s: float = 0.3
    has_slurs: bool = False
    is_tuned: bool = True
    is_set_late: bool = False
    settles_s: float = 0.12
    n_players: tuple[int, int] = (1, 1)
    vibrato: int | None = None
    body: tuple[float, ...] = ()


@cache
def modelled() -> tuple[Modelled, ...]:
    """Every instrument of the table; whether the toolkit is here is not asked."""
    table = tomllib.loads((Path(__file__).parent / "modelled_instruments.toml").read_text())
    found = []
    for name, entry in table.items():
        knobs = tuple(
            Knob(name=knob, control=control, low=low, high=high)
            for knob, (control, low, high) in entry.pop("knobs", {}).items()
        )
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        found.append(Modelled(name=f"stk.{name}", knobs=knobs, **given))
    return tuple(found)
