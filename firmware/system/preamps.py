"""Preamps through ALSA's mixer: gain, pad and phantom power, safely switched, and turned by hands other than ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from board_configs.board import PreampSpec
from firmware.errors import EvenhandError

from .elements import Element

# Longer than the ramp of the mixer's mute, 20 ms, and a period: the channel is silent before anything clicks.
MUTE_LEAD_MS = 40.0
PAD_SETTLE_MS = 100.0  # our choice: a relay bounces for a few ms, and the step of gain rings through the high-pass

FIELDS = ("gain_db", "is_pad_on", "is_phantom_on")

Place = tuple[str, int]  # key of the card, capture channel from 1
Mute = Callable[[tuple[Place, ...], float], None]  # mutes those channels for that many ms, beginning now


@dataclass(frozen=True, kw_only=True)
class PreampState:
    """A preamp as its card says it is; None where it has no such control."""

    gain_db: float | None
    is_pad_on: bool | None
    is_phantom_on: bool | None


@dataclass(frozen=True, kw_only=True)
class PreampChange:
    """A preamp that is not as it was, or not as it was asked to be.

    ``is_ours`` if it only did what it was asked; ``refused`` names the fields that the card did not change.
    """

    card: str
    channel: int
    before: PreampState
    after: PreampState
    is_ours: bool
    refused: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Switching:
    """A switch that waits until the channels are mute."""

    due_s: float
    field: str
    is_on: bool
    places: tuple[Place, ...]  # that share the switch


class Preamps:
    """The preamps of a board. A context manager: the controls are open inside the ``with`` block.

    Nothing here waits. Switching mutes the channel first and happens in a later ``step``.

    Parameters
    ----------
    specs
        The preamps; those on cards without a control in ``ctls`` are left out.
    ctls
        ALSA control by key of the card, as ``BoardCard.ctl``.
    mute
        Called with the channels that are about to click and for how many milliseconds.

    Raises
    ------
    EvenhandError
        When a control does not exist or cannot do what the board says.
    """

    def __init__(self, specs: Iterable[PreampSpec], ctls: Mapping[str, str], mute: Mute) -> None:
        self._mute = mute
        self._elements: dict[tuple[str, str], Element] = {}
        self._specs: dict[Place, PreampSpec] = {}
        self._waiting: dict[tuple[str, str], _Switching] = {}  # by card and control
        self._asked: dict[tuple[Place, str], object] = {}  # what the cards made of our wishes since the last step
        self.on_wish: Callable[[], None] = lambda: None  # called when ``next_due_s`` may have changed
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
        """Let go of the controls; they stay as they are. What was to be switched and is not yet is dropped."""
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

    def set_pad(self, card: str, channel: int, is_on: bool, now_s: float) -> None:
        """Mute the channel, and switch its pad in the ``step`` that comes ``MUTE_LEAD_MS`` after ``now_s``."""
        self._switch(self._spec(card, channel), "pad_control", "is_pad_on", is_on, now_s, PAD_SETTLE_MS)

    def set_phantom(self, card: str, channel: int, is_on: bool, now_s: float) -> None:
        """Likewise for phantom power; channels that share the switch are muted with it."""
        spec = self._spec(card, channel)
        self._switch(spec, "phantom_control", "is_phantom_on", is_on, now_s, spec.phantom_settle_ms)

    def _switch(self, spec: PreampSpec, control: str, field: str, is_on: bool, now_s: float, settle_ms: float) -> None:
        element, name = self._control(spec, control), getattr(spec, control)
        self._waiting.pop((spec.card, name), None)  # the newest wish counts
        if element.is_on() != is_on:
            places = tuple(p for p, s in self._specs.items() if s.card == spec.card and getattr(s, control) == name)
            self._mute(places, MUTE_LEAD_MS + settle_ms)
            self._waiting[spec.card, name] = _Switching(
                due_s=now_s + MUTE_LEAD_MS / 1000.0, field=field, is_on=is_on, places=places
            )
        self.on_wish()

    # -------------------------------------------------------------------------------------------------- noticing

    def step(self, now_s: float) -> tuple[PreampChange, ...]:
        """Switch what is due, hear what the cards have to say, and return what has changed.

        Raises
        ------
        EvenhandError
            When a card is gone; close this and open another when it is back.
        """
        for key, switching in [(k, s) for k, s in self._waiting.items() if s.due_s <= now_s]:
            del self._waiting[key]
            self._elements[key].switch(switching.is_on)
            self._asked.update(((place, switching.field), switching.is_on) for place in switching.places)
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
        is_ours = all(f in asked and asked[f] == getattr(after, f) for f in changed)
        card, channel = place
        return PreampChange(card=card, channel=channel, before=before, after=after, is_ours=is_ours, refused=refused)

    @property
    def file_descriptors(self) -> tuple[int, ...]:
        """What becomes readable when somebody turns a knob."""
        return tuple(fd for element in self._elements.values() for fd in element.file_descriptors)

    @property
    def next_due_s(self) -> float | None:
        """When the next switch waits to be turned."""
        return min((switching.due_s for switching in self._waiting.values()), default=None)

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
