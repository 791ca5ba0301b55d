"""Control's side of the preamps: the desk that decides, and its mailbox to the process that holds the cards."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .control.control import Control
from .control.preamp_desk import PreampDesk
from .mixer_setup import MixerSetup
from .preamp_messages import Mailbox, Place, PreampWish, packed, status_of

TELL_S = 0.2  # between wishes; sooner when there is something new


class PreampSide:
    """What a control process does about preamps each tick; it never waits. A context manager.

    Parameters
    ----------
    main_card
        Key of the board's main card: strips name only the other ones.
    socket, peer
        Mailboxes of control and of the preamps' process.
    say
        Is given a line now and then.
    """

    def __init__(
        self, setup: MixerSetup, main_card: str, *, socket: Path, peer: Path, say: Callable[[str], None]
    ) -> None:
        self.desk = PreampDesk(_places_of(setup, main_card))
        self._box, self._peer, self._say = Mailbox(socket), peer, say
        self._told, self._told_s = PreampWish(boot=0, heard=0), -math.inf
        self._muted: frozenset[int] = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._box.__exit__(kind, error, trace)

    def tick(self, control: Control, time_s: float, params: NDArray[np.void] | None) -> NDArray[np.void] | None:
        """Return the snapshot to publish in place of ``params``, None if nothing has changed.

        What the tick before made of the news is told now: by then it is in the state that a successor would find.
        """
        self._tell(time_s)
        n_changes = control.state.n_changes
        for message in self._box.messages():
            if (status := status_of(message)) is not None:
                self.desk.hear(control, status)
        for line in self.desk.tick(control, time_s):
            self._say(line)
        if control.state.n_changes != n_changes or (params is None and self.desk.muted != self._muted):
            params = control.state.snapshot()
        self._muted = self.desk.muted
        return None if params is None else self.desk.cover(params)

    def _tell(self, time_s: float) -> None:
        wish = self.desk.wish
        if wish != self._told or time_s - self._told_s >= TELL_S:
            self._told, self._told_s = wish, time_s
            self._box.send(self._peer, packed(wish))

    def as_record(self) -> dict[str, Any]:
        """Return what a status page shows; empty where there are no preamps."""
        preamps = self.desk.as_record()
        return {"preamps": preamps} if preamps else {}


def _places_of(setup: MixerSetup, main_card: str) -> list[tuple[Place, ...]]:
    return [tuple((strip.card or main_card, channel + 1) for channel in strip.card_channels) for strip in setup.strips]
