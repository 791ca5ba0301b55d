"""Preamps through ALSA's mixer: gain, pad and phantom power, set by the box and turned by hands other than ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from board_configs.board import PreampSpec
from firmware.errors import EvenhandError

from .elements import Element

FIELDS = ("gain_db", "is_pad_on", "is_phantom_on")

Place = tuple[str, int]  # key of the card, capture channel from 1


@dataclass(frozen=True, kw_only=True)
class PreampState:
    """A preamp as its card says it is; None where it has no such control."""

    gain_db: float | None
    is_pad_on: bool | None
    is_phantom_on: bool | None


@dataclass(frozen=True, kw_only=True)
class PreampChange:
    """A preamp that is not as it was, or not as it was asked to be.

    ``by_hand`` names the fields that another hand changed, ``refused`` those that the card did not change.
    """

    card: str
    channel: int
    before: PreampState
    after: PreampState
    by_hand: tuple[str, ...]
    refused: tuple[str, ...]


class Preamps:
    """The preamps of a board. A context manager: the controls are open inside the ``with`` block.

    Nothing here mutes: whoever switches a pad or phantom power has made the channels silent before. A driver
    may hold up any call for as long as its bus does.

    Parameters
    ----------
    specs
        The preamps; those on cards without a control in ``ctls`` are left out.
    ctls
        ALSA control by key of the card, as ``BoardCard.ctl``.

    Raises
    ------
    EvenhandError
        When a control does not exist or cannot do what the board says.
    """

    def __init__(self, specs: Iterable[PreampSpec], ctls: Mapping[str, str]) -> None:
        self._elements: dict[tuple[str, str], Element] = {}
        self._specs: dict[Place, PreampSpec] = {}
        self._asked: dict[tuple[Place, str], object] = {}  # what the cards made of our wishes since the last step
        try:
            for spec in specs:
                if spec.card in ctls:
                    self._open(spec, ctls[spec.card])
            self._states = {place: self._read(place) for place in self._specs}
        except EvenhandError:
            self.close()
            raise

    def _open(self, spec: PreampSpec, ctl: str) -> None:
        for name in (spec.gain_control, spec.pad_control, spec.phantom_control):
            if name is not None and (spec.card, name) not in self._elements:
                self._elements[spec.card, name] = Element(ctl, name, is_volume=name == spec.gain_control)
        self._specs[spec.card, spec.channel] = spec

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the controls; they stay as they are."""
        for element in self._elements.values():
            element.close()
        self._elements.clear()

    @property
    def places(self) -> tuple[Place, ...]:
        """Card and channel of every preamp."""
        return tuple(self._specs)

    def state(self, card: str, channel: int) -> PreampState:
        """Return what the card last said about a preamp."""
        self._spec(card, channel)
        return self._states[card, channel]

    # -------------------------------------------------------------------------------------------------- changing

    def set_gain_db(self, card: str, channel: int, gain_db: float) -> float:
        """Turn the gain, inside the board's bounds, and return what the card made of it."""
        spec = self._spec(card, channel)
        element = self._control(spec, "gain_control")
        low_db, high_db = spec.min_gain_db, spec.max_gain_db
        if low_db is not None and high_db is not None:
            gain_db = min(max(gain_db, low_db), high_db)
        got_db = element.set_db(gain_db)
        self._asked[(card, channel), "gain_db"] = got_db
        return got_db

    def set_pad(self, card: str, channel: int, is_on: bool) -> None:
        """Switch the pad; it clicks."""
        self._switch(self._spec(card, channel), "pad_control", "is_pad_on", is_on)

    def set_phantom(self, card: str, channel: int, is_on: bool) -> None:
        """Switch phantom power, of all channels that share the switch; it thumps."""
        self._switch(self._spec(card, channel), "phantom_control", "is_phantom_on", is_on)

    def _switch(self, spec: PreampSpec, control: str, field: str, is_on: bool) -> None:
        element, name = self._control(spec, control), getattr(spec, control)
        if element.is_on() == is_on:
            return
        element.switch(is_on)
        for place, other in self._specs.items():
            if place[0] == spec.card and getattr(other, control) == name:
                self._asked[place, field] = is_on

    # -------------------------------------------------------------------------------------------------- noticing

    def step(self) -> tuple[PreampChange, ...]:
        """Hear what the cards have to say, and return what has changed.

        Raises
        ------
        EvenhandError
            When a card is gone; close this and open another when it is back.
        """
        for element in self._elements.values():
            element.refresh()
        changes = tuple(change for place in self._specs if (change := self._compare(place)))
        self._asked.clear()
        return changes

    def _compare(self, place: Place) -> PreampChange | None:
        before, after = self._states[place], self._read(place)
        self._states[place] = after
        changed = [f for f in FIELDS if getattr(after, f) != getattr(before, f)]
        asked = {f: self._asked[place, f] for f in FIELDS if (place, f) in self._asked}
        refused = tuple(f for f, wish in asked.items() if getattr(after, f) != wish and f not in changed)
        if not changed and not refused:
            return None
        by_hand = tuple(f for f in changed if f not in asked or asked[f] != getattr(after, f))
        card, channel = place
        return PreampChange(card=card, channel=channel, before=before, after=after, by_hand=by_hand, refused=refused)

    @property
    def file_descriptors(self) -> tuple[int, ...]:
        """What becomes readable when somebody turns a knob."""
        return tuple(fd for element in self._elements.values() for fd in element.file_descriptors)

    # --------------------------------------------------------------------------------------------------- inside

    def _spec(self, card: str, channel: int) -> PreampSpec:
        if (card, channel) not in self._specs:
            raise EvenhandError(f"channel {channel} of card {card} has no preamp that the box can set")
        return self._specs[card, channel]

    def _control(self, spec: PreampSpec, control: str) -> Element:
        name = getattr(spec, control)
        if name is None:
            what = control.removesuffix("_control")
            raise EvenhandError(f"channel {spec.channel} of card {spec.card} has no {what} that the box can set")
        return self._elements[spec.card, name]

    def _read(self, place: Place) -> PreampState:
        spec = self._specs[place]
        gain, pad, phantom = (
            None if name is None else self._elements[spec.card, name]
            for name in (spec.gain_control, spec.pad_control, spec.phantom_control)
        )
        return PreampState(
            gain_db=None if gain is None else gain.db(),
            is_pad_on=None if pad is None else pad.is_on(),
            is_phantom_on=None if phantom is None else phantom.is_on(),
        )
