"""Whether this machine can be the board that a file describes, asked before the engine tries and fails."""

from __future__ import annotations

import errno
import os
import platform
import threading
from collections.abc import Iterable
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


def refuse_missing_cores(board: Board) -> None:
    """Refuse a board whose threads go to cores that this machine has not, or does not give us.

    Raises
    ------
    EvenhandError
        That names the cores there are.
    """
    cores = board.cores
    wanted = {core for core in (cores.audio, cores.analysis, *cores.control) if core is not None}
    usable = usable_cores()
    if missing := sorted(wanted - usable):
        raise EvenhandError(
            f"{board.path.name}: cores names {_listed(missing)}, which this process may not use; "
            f"it may use {_listed(usable)}"
        )


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


def usable_cores() -> set[int]:
    """Return the cores that a thread of ours may ask for.

    More than ``sched_getaffinity`` tells: the kernel keeps everybody off an isolated core who does not ask for it.
    """
    usable: set[int] = set()

    def ask() -> None:  # in a thread of its own, as it ties itself to one core after the other
        for core in range(os.sysconf("SC_NPROCESSORS_CONF")):
            try:
                os.sched_setaffinity(0, {core})
            except OSError as error:
                if error.errno == errno.EINVAL:
                    continue
            usable.add(core)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    return usable


def _listed(cores: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
