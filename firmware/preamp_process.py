"""The preamps' process: holds the controls of the board's cards, does what control asks, and tells what others turned.

A process of its own because a driver may hold up a control for seconds: a USB card that does not answer is waited for
in the kernel. Meanwhile control and engine go on, and digital gain does it all.
"""

from __future__ import annotations

import argparse
import select
import sys
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from board_configs.board import Board, BoardError, PreampSpec, load_board

from .errors import EvenhandError
from .preamp_messages import FIELDS, MAX_HANDS, Hand, Mailbox, PreampStatus, PreampWish, Reading, packed, wish_of
from .system.cards import find_board_cards, list_cards
from .system.notify import Notifier
from .system.preamps import PreampChange, Preamps
from .system.process import Stop, serve

TELL_S = 0.25
RETRY_S = 2.0  # between looks for controls that are not there
NAMES = {"gain_db": "gain", "is_pad_on": "pad", "is_phantom_on": "phantom power"}


class PreampProcess:
    """Serves the preamps of a board to a control process.

    Parameters
    ----------
    ctls
        ALSA control by key of the card; None finds the board's cards.
    """

    def __init__(self, board: Board, box: Mailbox, control: Path, ctls: Mapping[str, str] | None = None) -> None:
        self._board, self._box, self._control, self._ctls = board, box, control, ctls
        self._boot = time.monotonic_ns()
        self._done, self._n_hands = 0, 0
        self._hands: deque[Hand] = deque(maxlen=MAX_HANDS)
        self._wants = {
            (spec.card, spec.channel, field): wish
            for spec in board.preamps
            for field, wish in (("is_pad_on", spec.is_pad_on), ("is_phantom_on", spec.is_phantom_on))
            if wish is not None
        }
        self._trouble = ""

    def run(self, stop: Stop, notifier: Notifier) -> None:
        """Serve until ``stop`` is set; cards that go are looked for until they are back."""
        notifier.tell("READY=1")
        while not stop.is_set():
            try:
                with Preamps(self._board.preamps, self._found()) as preamps:
                    if self._trouble:
                        _say("the preamps are back")
                        self._trouble = ""
                    while not stop.is_set():
                        self._serve(preamps)
                        notifier.tell("WATCHDOG=1")
            except EvenhandError as error:
                self._lose(str(error))
                self._tell(None)
                notifier.tell("WATCHDOG=1")
                stop.wait(RETRY_S)

    def _found(self) -> Mapping[str, str]:
        if self._ctls is not None:
            return self._ctls
        cards = find_board_cards(self._board, list_cards())
        return {card.spec.key: card.ctl for card in cards if card.ctl is not None}

    def _lose(self, why: str) -> None:
        if not self._trouble:
            _say(f"{why}; digital gain does it all")
        self._trouble = why

    # ------------------------------------------------------------------------------------------------ serving

    def _serve(self, preamps: Preamps) -> None:
        box = self._box.fileno()
        readable, _, _ = select.select([box, *preamps.file_descriptors], [], [], TELL_S)
        for message in self._box.messages() if box in readable else ():
            if (wish := wish_of(message)) is not None:
                self._do(preamps, wish)
        for change in preamps.step():
            self._note(change)
        self._tell(preamps)

    def _do(self, preamps: Preamps, wish: PreampWish) -> None:
        if wish.boot == self._boot:
            while self._hands and self._hands[0].number <= wish.heard:
                self._hands.popleft()
        if wish.number <= self._done:
            return
        for setting in wish.settings:
            place = setting.card, setting.channel
            try:
                if setting.field == "gain_db":
                    preamps.set_gain_db(*place, setting.value)
                elif setting.field == "is_pad_on":
                    preamps.set_pad(*place, setting.value > 0.5)
                else:
                    preamps.set_phantom(*place, setting.value > 0.5)
            except EvenhandError as error:
                _say(str(error))
            self._wants.pop((*place, setting.field), None)
        self._done = wish.number

    def _note(self, change: PreampChange) -> None:
        place = change.card, change.channel
        for field in change.by_hand:
            self._n_hands += 1
            before, after = float(getattr(change.before, field)), float(getattr(change.after, field))
            self._hands.append(
                Hand(number=self._n_hands, card=place[0], channel=place[1], field=field, before=before, after=after)
            )
            self._wants.pop((*place, field), None)
        for field in change.refused:
            _say(f"channel {change.channel} of card {change.card}: the card does not change its {NAMES[field]}")

    def _tell(self, preamps: Preamps | None) -> None:
        readings = tuple(self._reading(preamps, spec) for spec in self._board.preamps) if preamps else ()
        known = tuple(reading for reading in readings if reading is not None)
        status = PreampStatus(boot=self._boot, done=self._done, readings=known, hands=tuple(self._hands))
        self._box.send(self._control, packed(status))

    def _reading(self, preamps: Preamps, spec: PreampSpec) -> Reading | None:
        if (spec.card, spec.channel) not in preamps.places:
            return None
        state = preamps.state(spec.card, spec.channel)
        wants = [self._wants.get((spec.card, spec.channel, field)) for field in FIELDS]
        return Reading(
            card=spec.card, channel=spec.channel, gain_db=state.gain_db, min_gain_db=spec.min_gain_db,
            max_gain_db=spec.max_gain_db, is_pad_on=state.is_pad_on, is_phantom_on=state.is_phantom_on,
            phantom_switch=spec.phantom_control, phantom_settle_ms=spec.phantom_settle_ms, wants_pad=wants[1],
            wants_phantom=wants[2],
        )  # fmt: skip


def _say(text: str) -> None:
    print(f"preamps: {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m firmware.preamp_process", description=__doc__)
    parser.add_argument("--board", required=True, help="name or file of the board")
    parser.add_argument("--socket", type=Path, required=True, help="socket of this process")
    parser.add_argument("--control", type=Path, required=True, help="socket of the control process")
    parser.add_argument("--ctl", help="ALSA name of the main card's control instead of the board's")
    return parser


def _run(options: argparse.Namespace, stop: Stop) -> None:
    try:
        board = load_board(options.board)
    except BoardError as error:
        raise EvenhandError(str(error)) from None
    with Mailbox(options.socket) as box:
        ctls = {board.main_card.key: options.ctl} if options.ctl else None
        PreampProcess(board, box, options.control, ctls).run(stop, Notifier())


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; return 0, or 1 when the start was refused."""
    return serve(_arguments(), argv, _run)


if __name__ == "__main__":
    sys.exit(main())
