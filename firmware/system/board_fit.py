"""Whether this machine can be the board that a file describes: its processor, and the card it has today."""

from __future__ import annotations

import platform
from pathlib import Path

from board_configs.board import Board
from firmware.errors import EvenhandError

from .cards import VIRTUAL, find_board_cards, list_cards
from .offers import choose_format


def is_simulated(board: Board) -> bool:
    """Return whether a virtual card of ours takes the place of the board's."""
    return board.main_card.pcm == VIRTUAL


def refuse_foreign_machine(board: Board, machine: str = "") -> None:
    """Refuse a board with another kind of processor.

    Raises
    ------
    EvenhandError
        That names both.
    """
    machine = machine or platform.machine()
    if board.machine not in ("any", machine):
        raise EvenhandError(f"{board.path.name}: is for {board.machine}; this machine is {machine}")


def board_pcm(board: Board, root: Path = Path("/")) -> str:
    """Return the ALSA name under which the board's main card is found today, once it offers all that the board asks.

    Raises
    ------
    EvenhandError
        When the card is not there, in use, or offers something else; the message says what.
    """
    card = next(card for card in find_board_cards(board, list_cards(root)) if card.spec == board.main_card)
    choose_format(board, card)
    return card.pcm
